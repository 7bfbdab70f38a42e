"""Models of transformers from a folder or a hub (extra `hub`), read as tensors alone: no code, no pickle, no output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from semi.artifacts import load_tensors, sha256_of
from semi.assets import as_safetensors
from semi.errors import ArtifactError, InputError, SemiError

if TYPE_CHECKING:
    import torch

CONFIG, WEIGHTS, OLDER = "config.json", "model.safetensors", "pytorch_model.bin"
Model = TypeVar("Model", bound="torch.nn.Module")


def require_hub(what: str, extra: str) -> None:
    """Raise an InputError that says what to install where transformers or huggingface_hub is missing."""
    try:
        import huggingface_hub  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise InputError(f"{what} needs transformers and huggingface_hub", got=error, do=extra) from error


def load_pretrained(source: str, what: str, do: str, build: Callable[[Path], Model]) -> tuple[Model, str]:
    """The model of a folder or hub id with its weights, and the beginning of their hash.

    Of weights that `transformers` saved before it used safetensors, only tensors are read.

    Args:
        source: a folder with `config.json` and `model.safetensors` or `pytorch_model.bin`, or a hub id.
        what: the model in words, for messages: "a CLIP model".
        do: what to do where the hub does not give it.
        build: the untrained model of a configuration file. Tensors that it does not know are passed over.

    Raises:
        InputError: the hub has no such model or cannot be reached.
        ArtifactError: the folder lacks a file, or its tensors are not those of the model.
    """
    config, weights = _in_folder(Path(source), what) if Path(source).is_dir() else _in_hub(source, do)
    refused = f"{weights} does not hold {what} that can be loaded"
    try:
        model = build(config)
        tensors = load_tensors(weights if weights.name == WEIGHTS else as_safetensors(weights))
        wanted = model.state_dict()
        if missing := [name for name in wanted if name not in tensors]:
            raise ArtifactError(refused, got=f"no tensor {missing[0]}", expected=f"{len(wanted)} tensors")
        model.load_state_dict({name: tensors[name] for name in wanted})
    except SemiError:
        raise
    except Exception as error:  # damaged JSON, another architecture: each library has its own errors
        raise ArtifactError(refused, got=brief(error), expected=f"{what} of transformers") from error
    return model, sha256_of(weights)[:12]


def from_hub(source: str, file: str, do: str) -> Path:
    """A file of a hub id.

    Raises:
        InputError: the hub has no such file or cannot be reached.
    """
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(source, file))
    except Exception as error:  # not found, no network, an invalid name: one error class each
        raise InputError(
            f"the encoder {source} is neither a folder, a file nor a model that the hub gives", got=brief(error), do=do
        ) from error


def brief(error: Any) -> str:
    """The first line of what an error says."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _in_folder(folder: Path, what: str) -> tuple[Path, Path]:
    weights = next((folder / name for name in (WEIGHTS, OLDER) if (folder / name).is_file()), folder / WEIGHTS)
    for file in (folder / CONFIG, weights):
        if not file.is_file():
            expected = f"{CONFIG} and {WEIGHTS} or {OLDER}"
            raise ArtifactError(f"{folder} does not hold {what}", got=f"no {file.name}", expected=expected)
    return folder / CONFIG, weights


def _in_hub(source: str, do: str) -> tuple[Path, Path]:
    config = from_hub(source, CONFIG, do)
    try:
        return config, from_hub(source, WEIGHTS, do)
    except InputError:
        return config, from_hub(source, OLDER, do)
