"""What lies in a model's folder beside the weights that are merged: copied as it is, or said to be left out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from semi.merge.checkpoint import Checkpoint, first_ten
from semi.merge.matching import Model
from semi.weights import CACHED

TENSORS = ".safetensors"
_INDEX = ".safetensors.index.json"
_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf")
_OTHER_INDEX = ".index.json"
_OURS = re.compile(r"(adapter_)?model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
"""What an export writes itself, or what transformers would read on top of it."""
_ADAPTER = "adapter_config.json"
"""Would make transformers look for an adapter's weights."""
_SAME_AGAIN = re.compile(r"consolidated.*\.safetensors")
"""The same weights under the names of another program."""


@dataclass
class Beside:
    """The files of a folder that are not read, by their names below it; hidden ones are passed over.

    Attributes:
        copied: configuration, tokenizer and the like, and safetensors whose tensors the model lacks otherwise: encoders
            and connectors.
        tensors: how many tensors each of these safetensors holds.
        left: parameters that are not copied, and why, in words.
        problems: what can neither be copied nor left out.
    """

    copied: dict[str, Path] = field(default_factory=dict)
    tensors: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __or__(self, other: Beside) -> Beside:
        """Both folders' files, the other's where they have the same name."""
        copied, tensors = self.copied | other.copied, self.tensors | other.tensors
        return Beside(copied, tensors, self.left + other.left, self.problems + other.problems)


def look_beside(folder: Path, model: Model, read: Collection[Path]) -> Beside:
    """Give each file of a folder its place.

    Args:
        folder: a model's.
        model: the same, open.
        read: the files that are.

    Raises:
        ArtifactError: a safetensors file is damaged.
    """
    found, known = Beside(), {model.info(key).stored for key in model.keys}
    unread, indices = [], []
    for name, path in _files(folder):
        if path in read:
            continue
        if name.name.endswith(TENSORS):
            _place(found, name, path, known)
        elif name.name.endswith(_INDEX):
            indices.append((name, path))
        elif name.name.endswith(_OTHER_WEIGHTS):
            unread.append(str(name))
        elif not (name.name.endswith(_OTHER_INDEX) or str(name) in (_ADAPTER, *CACHED)):
            found.copied[str(name)] = path
    sharded = {PurePosixPath(name).parent for name in found.tensors}
    found.copied |= {str(n): path for n, path in indices if n.parent in sharded and not _OURS.fullmatch(str(n))}
    if unread:
        found.left.append(f"not copied, for only safetensors are: {first_ten(unread)}")
    return found


def _files(folder: Path) -> Iterator[tuple[PurePosixPath, Path]]:
    for path in sorted(folder.rglob("*")):
        name = PurePosixPath(path.relative_to(folder).as_posix())
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield name, path


def _place(found: Beside, name: PurePosixPath, path: Path, known: set[str]) -> None:
    """A safetensors file: of tensors of its own, or of those that the model has already."""
    with Checkpoint([path]) as file:
        again = sorted(known.intersection(file.keys))
        count = len(file.keys)
    inside = len(name.parts) > 1
    if not inside and _SAME_AGAIN.fullmatch(str(name)):
        found.left.append(f"not copied, for it has the same weights in another form: {name}")
    elif again and inside:  # such as the checkpoints of a training
        found.left.append(f"not copied, for it has tensors of the model again: {name}")
    elif again:
        found.problems.append(f"{name} has tensors of the model again, {again[0]} first")
    elif _OURS.fullmatch(str(name)):
        found.problems.append(f"{name} would be taken for an export's own weights")
    else:
        found.copied[str(name)] = path
        found.tensors[str(name)] = count
