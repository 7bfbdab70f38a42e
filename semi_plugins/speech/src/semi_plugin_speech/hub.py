"""Models of the Hugging Face hub, or in a folder: found, filled and told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from semi.artifacts import load_tensors, rebuilding
from semi.errors import ArtifactError, InputError
from transformers.utils.hub import cached_file

T = TypeVar("T")
WEIGHTS = "model.safetensors"


def found(source: str, what: str, load: Callable[[str, str], T], do: str) -> tuple[T, Path]:
    """What `load` makes of a name and a revision, usually its configuration, and the file with the weights.

    Args:
        source: id on the hub, "id@revision", or a folder that `save_pretrained` wrote.
        what: the kind of model, for messages.
        load: e.g. `lambda name, revision: WhisperConfig.from_pretrained(name, revision=revision)`.
        do: what else to use, for messages.

    Raises:
        InputError: there is no such model, or the hub cannot be reached.
    """
    name, _, revision = source.partition("@")
    try:
        loaded = load(name, revision or "main")
        return loaded, Path(str(cached_file(name, WEIGHTS, revision=revision or "main")))
    except (OSError, ValueError) as error:  # what transformers raises for a missing file, no network, a wrong id
        raise InputError(
            f"the model {name!r} cannot be loaded",
            got=(str(error) or type(error).__name__).splitlines()[0],
            expected=f"{what} on the hub, or a folder that `save_pretrained` wrote",
            do=do,
        ) from error


def filled(build: Callable[[], Any], weights: Path, prefixes: Sequence[str] = ("",)) -> Any:
    """A model with the weights of a file, ready to be used; `from_pretrained` would draw a progress bar on stderr.

    Args:
        build: makes the model, whose first weights are drawn and do not matter.
        weights: a safetensors file; what the model does not have is passed over.
        prefixes: what may stand before the model's names in the file of a larger one; the first that does counts.

    Raises:
        ArtifactError: weights are missing, or do not fit.
    """
    with rebuilding(weights, "model"), torch.random.fork_rng(devices=[]):
        model = build()
    # Older files name the two factors of a weight as torch did before 2.0.
    renamed = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    stored, tensors = load_tensors(weights), {}
    prefix = next((start for start in prefixes if any(name.startswith(start) for name in stored)), "")
    for name, tensor in stored.items():
        path, _, last = name.removeprefix(prefix).rpartition(".")
        tensors[f"{path}.{renamed.get(last, last)}".removeprefix(".")] = tensor
    wanted = model.state_dict()
    if missing := sorted(set(wanted) - set(tensors)):
        raise ArtifactError(f"{weights} lacks weights", got=f"no {missing[0]}", expected=f"{len(wanted)} tensors")
    with rebuilding(weights, "model"):
        model.load_state_dict({name: tensors[name].to(tensor.dtype) for name, tensor in wanted.items()})
    return model.train(False).requires_grad_(False)


def digest(model: torch.nn.Module) -> str:
    """Of configuration and weights: another model under the same name is another encoder."""
    config: Any = model.config
    settings = sorted((key, str(value)) for key, value in config.to_diff_dict().items() if key[0] != "_")
    hashed = hashlib.sha256(str(settings).encode())
    for name, tensor in sorted(model.state_dict().items()):
        hashed.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return hashed.hexdigest()[:16]
