"""What `semi merge run` writes, read block by block: `NAME.mmer/`.

`merge.json` says what there is. The shared vector v of a tensor is stored "dense" (float32 in the tensor's shape), or
"sparse": `key#support`, a bit an entry, and `key#values`, float32, where the bit is set. A mask has a bit for each
entry of that support, in reading order, or is stored nowhere where all of them are set ("ones"); the ternary code has
in `key#sign` a bit more for each set one, 1 for minus. Bits of a block are filled up to a byte.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semi.artifacts import read_json, read_manifest, rebuilding
from semi.errors import ArtifactError, InputError
from semi.merge import bits
from semi.merge.checkpoint import Checkpoint
from semi.merge.codes import Code
from semi.merge.inventory import Block, Kind, blocks_of

KIND = "merge"
FORMAT = 1
MERGE = "merge.json"
FILES = "files"
"""The folder with a folder for each model: its configuration, tokenizer and the like."""
SUPPORT, VALUES, SIGN, ROWS = "#support", "#values", "#sign", "#rows"
"""Endings of the names of a tensor's parts."""

VectorCodec = Literal["dense", "sparse"]
MaskCodec = Literal["none", "bits", "ones"]


@dataclass(frozen=True)
class MergedModel:
    """One of the models.

    Attributes:
        name: the modality.
        path: where it was, as the configuration had it.
        adapter: "lora", or "none" for a full model.
        lambda_: of its mask.
        files: sha256 of what was read, by file name.
        names: its own names of the base's tensors, where they differ from the base's.
        kept: names of the tensors that are copied from it.
    """

    name: str
    path: str
    adapter: Literal["none", "lora"]
    lambda_: float
    files: Mapping[str, str]
    names: Mapping[str, str]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class MergedTensor:
    """One of the base's tensors.

    Attributes:
        key: its name in the base.
        kind: as in `semi.merge.inventory.Entry`.
        shape: in the base.
        dtype: in the base, as safetensors writes it.
        codec: of the shared vector; None for an exact tensor, which has none.
        masks: codec of each model's mask, by its name.
    """

    key: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    codec: VectorCodec | None
    masks: Mapping[str, MaskCodec]


@dataclass(frozen=True)
class MergedBase:
    """The base: as the configuration named it, sha256 of its files, and whether its output matrix is tied."""

    id: str
    files: Mapping[str, str]
    tied: bool


class Artifact:
    """A merge on disk. Reads are positional, so threads may share it; use it in a `with` block, or `close` it.

    Attributes:
        folder: where it lies.
        manifest: of the folder; its "info" holds the configuration and the certificate.
        method, rule, scale: see `semi.merge.config`.
        base: the base.
        models: by name, in the order of the configuration.
        entries: the base's tensors by key, sorted.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        """`Artifact.open` checks what this takes for granted."""
        self.folder, self.manifest = folder, manifest
        self.method, self.rule, self.scale = (str(content[name]) for name in ("method", "rule", "scale"))
        self.base = MergedBase(**content["base"])
        self.models = {entry["name"]: _model(entry, content["kept"][entry["name"]]) for entry in content["models"]}
        self.entries = {key: _tensor(key, entry) for key, entry in sorted(content["entries"].items())}
        self._block = int(content["block"])
        self._files: dict[str, Checkpoint] = {}
        names = [name for name in manifest["files"] if name.endswith(".safetensors") and "/" not in name]
        try:
            self._shared = self._open(names, "shared", numbered=True)
            self._masks = {name: self._open(names, f"masks-{name}", numbered=True) for name in self.models}
            self._scales = {name: self._open(names, f"scales-{name}", numbered=False) for name in self.models}
            self._exact = {name: self._open(names, f"exact-{name}", numbered=False) for name in self.models}
            self._kept = {name: self._open(names, f"kept-{name}", numbered=True) for name in self.models}
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a complete merge. Sizes of its files are checked, and their headers; hashes are not.

        Raises:
            ArtifactError: the folder is missing, incomplete, of another kind or format, or a file does not fit.
        """
        folder = Path(folder)
        manifest = read_manifest(folder, KIND, hashes=False)
        content = read_json(folder / MERGE)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ArtifactError(
                f"{folder / MERGE} has another format",
                got=content.get("format") if isinstance(content, dict) else type(content).__name__,
                expected=FORMAT,
                do="use the version of semi that made it (see `versions` in its manifest), or merge again",
            )
        with rebuilding(folder / MERGE, KIND):
            artifact = cls(folder, manifest, content)
        try:
            artifact._require_complete()
        except BaseException:
            artifact.close()
            raise
        return artifact

    def of(self, *kinds: Kind) -> Iterator[MergedTensor]:
        """The entries of these kinds, by key."""
        return (entry for entry in self.entries.values() if entry.kind in kinds)

    def blocks(self, key: str) -> Iterator[Block]:
        """The blocks of a merged tensor, as they were merged.

        Raises:
            InputError: there is no such tensor, or it is exact.
        """
        return blocks_of(key, self._merged(key).shape, self._block)

    def shared(self, key: str) -> Iterator[tuple[Block, Tensor]]:
        """The shared vector of a merged tensor, block by block: float32 (rows, columns).

        Raises:
            InputError: there is no such tensor, or it is exact.
            ArtifactError: a file has become shorter.
        """
        entry = self._merged(key)
        support, values = 0, 0  # bytes and values of the blocks before this one
        for block in self.blocks(key):
            rows = block.stop - block.start
            if entry.codec == "dense":
                yield block, self._shared.read(key, block.start, block.stop)
                continue
            count = rows * math.prod(entry.shape[1:])
            flags = self._bits(self._shared, key + SUPPORT, support, count)
            stop = values + int(flags.sum())
            vector = np.zeros(count, dtype=np.float32)
            vector[flags] = self._shared.read(key + VALUES, values, stop).view(-1).numpy()
            support, values = support + bits.nbytes(count), stop
            yield block, torch.from_numpy(vector).view(rows, -1)

    def code(self, key: str, models: Sequence[str] | None = None) -> Iterator[tuple[Block, Code]]:
        """The code of a merged tensor, block by block: shared (rows, columns), masks (N, rows, columns) or None.

        Args:
            key: the tensor.
            models: whose masks; None: all, in the order of `models`.

        Raises:
            InputError: there is no such tensor or model, or the tensor is exact.
            ArtifactError: a file has become shorter.
        """
        entry = self._merged(key)
        names = [self._model(name).name for name in (self.models if models is None else models)]
        at = dict.fromkeys(names, (0, 0))  # bytes of the mask and of the signs in the blocks before this one
        for block, shared in self.shared(key):
            if self.rule == "none":
                yield block, Code(shared, None)
                continue
            support = shared.numpy() != 0
            count = int(support.sum())
            masks = torch.zeros((len(names), *shared.shape), dtype=torch.int8 if self.rule == "ternary" else torch.bool)
            for name, mask in zip(names, masks, strict=True):
                own, at[name] = self._mask(entry, name, count, at[name])
                mask.numpy()[support] = own
            yield block, Code(shared, masks)

    def scales(self, model: str, key: str) -> Tensor | None:
        """The factor of each row of a merged tensor for a model, float32 (rows,); None where there are none.

        Raises:
            InputError: there is no such tensor or model, or the tensor is exact.
        """
        rows, name = self._merged(key).shape[0], self._model(model).name
        if self.scale == "none":
            return None
        if self.scale == "model":
            return self._scales[name].read("").view(-1).expand(rows)
        return self._scales[name].read(key).view(-1)

    def exact(self, model: str) -> Checkpoint:
        """The model's own tensors by the base's keys, and `key#rows`, what it has below the base's rows of a tensor.

        A tensor that an adapter leaves alone is not there: it is the base's. Open as long as the artifact is.

        Raises:
            InputError: there is no such model.
        """
        return self._exact[self._model(model).name]

    def kept(self, model: str) -> Checkpoint:
        """The model's tensors that the base lacks, under the names that they have there. Open as `exact` is.

        Raises:
            InputError: there is no such model.
        """
        return self._kept[self._model(model).name]

    def files(self, model: str) -> list[Path]:
        """The model's other files: configuration, tokenizer, chat template; below `folder / "files" / model`."""
        start = f"{FILES}/{self._model(model).name}/"
        return [self.folder / name for name in sorted(self.manifest["files"]) if name.startswith(start)]

    def stored_name(self, model: str, key: str) -> str:
        """What the model calls a tensor of the base."""
        return self._model(model).names.get(key, key)

    def summary(self) -> dict[str, Any]:
        """What it holds, for JSON.

        Returns:
            "method", "rule", "scale", "base" (id), "models" (names), "tensors" {kind or codec: count}, "bytes" {part:
            bytes on disk}, "certificate".
        """
        tensors = Counter(
            entry.kind if entry.codec is None else f"{entry.kind}, {entry.codec}" for entry in self.entries.values()
        )
        sizes: Counter[str] = Counter()
        for name, file in self.manifest["files"].items():
            sizes[re.split(r"[-/.]", name)[0]] += file["bytes"]
        return {
            "method": self.method,
            "rule": self.rule,
            "scale": self.scale,
            "base": self.base.id,
            "models": list(self.models),
            "tensors": dict(tensors),
            "bytes": dict(sizes),
            "certificate": self.manifest["info"]["certificate"],
        }

    def close(self) -> None:
        """Close the files; nothing can be read any more."""
        while self._files:
            self._files.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, names: Sequence[str], stem: str, *, numbered: bool) -> Checkpoint:
        pattern = re.escape(stem) + (r"-\d{5}" if numbered else "") + r"\.safetensors"
        found = [self.folder / name for name in sorted(names) if re.fullmatch(pattern, name)]
        self._files[stem] = Checkpoint(found)
        return self._files[stem]

    def _mask(
        self, entry: MergedTensor, model: str, count: int, at: tuple[int, int]
    ) -> tuple[NDArray[Any], tuple[int, int]]:
        """A model's mask for the `count` supported entries of the next block: (count,), and where it ends."""
        mask, sign = at
        if entry.masks[model] == "ones":
            own: NDArray[Any] = np.ones(count, dtype=np.bool_)
        else:
            own = self._bits(self._masks[model], entry.key, mask, count)
            mask += bits.nbytes(count)
        if self.rule != "ternary":
            return own, (mask, sign)
        kept = int(own.sum())
        minus = self._bits(self._masks[model], entry.key + SIGN, sign, kept)
        signed = np.zeros(count, dtype=np.int8)
        signed[own] = 1 - 2 * minus.astype(np.int8)
        return signed, (mask, sign + bits.nbytes(kept))

    def _bits(self, file: Checkpoint, name: str, start: int, count: int) -> NDArray[np.bool_]:
        return bits.unpack(b"".join(file.raw(name, start, start + bits.nbytes(count))), count)

    def _merged(self, key: str) -> MergedTensor:
        entry = self.entries.get(key)
        if entry is None or entry.codec is None:
            found = "no tensor of that name" if entry is None else "an exact tensor"
            raise InputError(f"{self.folder} has no merged tensor {key!r}", got=found, do="see `entries`")
        return entry

    def _model(self, name: str) -> MergedModel:
        if name not in self.models:
            raise InputError(
                f"{self.folder} holds no such model", got=name, expected=f"one of {', '.join(self.models)}"
            )
        return self.models[name]

    def _require_complete(self) -> None:
        """Every tensor that merge.json speaks of is in the files."""
        needed: list[tuple[Checkpoint, str]] = []
        for entry in self.of("merged", "rows"):
            parts = ("",) if entry.codec == "dense" else (SUPPORT, VALUES)
            needed += [(self._shared, entry.key + part) for part in parts]
            for name, codec in entry.masks.items():
                needed += [(self._masks[name], entry.key)] if codec == "bits" else []
                needed += [(self._masks[name], entry.key + SIGN)] if self.rule == "ternary" else []
            if self.scale == "row":
                needed += [(scales, entry.key) for scales in self._scales.values()]
        if self.scale == "model":
            needed += [(scales, "") for scales in self._scales.values()]
        needed += [
            (self._exact[model.name], entry.key)
            for model in self.models.values()
            if model.adapter == "none"
            for entry in self.of("exact")
        ]
        needed += [(self._kept[model.name], name) for model in self.models.values() for name in model.kept]
        known = {id(file): set(file.keys) for file, _ in needed}
        missing = [name for file, name in needed if name not in known[id(file)]]
        if missing:
            raise ArtifactError(
                f"{self.folder} lacks tensors that its {MERGE} speaks of",
                got=f"{len(missing):,}, the first is {missing[0]!r}",
                do="copy or make the folder again",
            )


def _model(entry: Mapping[str, Any], kept: Sequence[str]) -> MergedModel:
    known = {name: entry[name] for name in ("name", "path", "adapter", "files", "names")}
    return MergedModel(**known, lambda_=float(entry["lambda"]), kept=tuple(kept))


def _tensor(key: str, entry: Mapping[str, Any]) -> MergedTensor:
    shape = tuple(int(size) for size in entry["shape"])
    return MergedTensor(key, entry["kind"], shape, entry["dtype"], entry.get("codec"), entry.get("masks", {}))
