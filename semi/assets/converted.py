"""Published weights in PyTorch's own format, kept as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semi.artifacts.files import config_hash, output_error, sha256_of
from semi.artifacts.tensors import save_tensors
from semi.assets.cache import cache_dir
from semi.errors import ArtifactError

if TYPE_CHECKING:
    from torch import Tensor


def as_safetensors(pt_file: str | Path, *, entry: str | None = None) -> Path:
    """The tensors of a .pt file as a safetensors file, converted once and kept in the cache by the hash of the content.

    Only tensors are read from the .pt file; nothing in it is executed.

    Args:
        pt_file: usually one of an asset, `ASSET.path("package/model.pt")`.
        entry: what holds the tensors in a file that holds more, e.g. "state_dict"; None: the file holds nothing else.

    Returns:
        The file to give to `semi.artifacts.load_module` or `load_tensors`.

    Raises:
        ArtifactError: no such file, a damaged one, or one without named, finite tensors where they should be.
        OutputError: the cache cannot be written to.
    """
    pt_file = _present(pt_file)
    key = config_hash([sha256_of(pt_file), entry])[:16]
    converted = cache_dir() / "weights" / f"{pt_file.stem}-{key}.safetensors"
    if not converted.is_file():
        tensors = read_tensors(pt_file, entry=entry)
        try:
            converted.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(converted, error) from error
        save_tensors(converted, tensors)
    return converted


def read_tensors(pt_file: str | Path, *, entry: str | None = None) -> Mapping[str, Tensor]:
    """The tensors of a .pt file by name; arguments and errors as for `as_safetensors`."""
    import torch

    pt_file = _present(pt_file)
    try:
        content: Any = torch.load(pt_file, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted unpickler raises whatever a damaged stream leads it into
        raise ArtifactError(
            f"{pt_file} cannot be read as a checkpoint of tensors",
            got=(str(error) or type(error).__name__).splitlines()[0],
            expected="a whole .pt file of tensors, numbers and text",
            do="fetch or copy it again",
        ) from error
    state = content.get(entry) if entry is not None and isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        held = f"entries {sorted(map(str, content))[:5]}" if isinstance(content, Mapping) else type(content).__name__
        raise ArtifactError(
            f"{pt_file} does not hold named tensors" + (f" in its entry {entry!r}" if entry else ""),
            got=held,
            expected="tensors by name",
            do="name the entry that holds them" if entry else "save the model's state_dict() alone with torch.save",
        )
    return state


def _present(pt_file: str | Path) -> Path:
    if not Path(pt_file).is_file():
        raise ArtifactError(f"there is no checkpoint {pt_file}", do="check the path")
    return Path(pt_file)
