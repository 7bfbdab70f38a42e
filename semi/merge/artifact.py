"""What `semi merge run` writes, read block by block: `NAME.mmer/`.

`merge.json` says what there is. The shared vector v of a tensor is stored "dense" (float32 in the tensor's shape), or
"sparse": `key#support`, a bit an entry, and `key#values`, float32, where the bit is set. Where `tau` is "bf16", these
are bfloat16; where it is "nf4", numbers of levels, two a byte, the first in its low half, and `key#absmax` has a scale,
bfloat16, for every 64 entries of a block. A mask has a bit for each nonzero entry of v, in reading order, or is stored
nowhere where all of them are set ("ones"). Within a budget it has bits for some rows only ("rows"): `key#kinds` says of
each block's rows first which have bits, then in which of the others all are set. The ternary code has in `key#sign` a
bit more for each set one, 1 for minus. Bits and levels of a block are filled up to a byte. A model that was added later
may have a residual, what it gets beside its part of v: `key#support` and `key#values`, float32 or bfloat16.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from semi.artifacts import read_json, read_manifest, rebuilding
from semi.errors import ArtifactError, InputError
from semi.merge.beside import TENSORS
from semi.merge.checkpoint import Checkpoint
from semi.merge.codes import Code
from semi.merge.decoding import MaskReader, read_levels, read_sparse
from semi.merge.description import ABSMAX, KINDS, SIGN, SUPPORT, VALUES, MergedBase, MergedModel, MergedTensor
from semi.merge.inventory import Block, Kind, blocks_of
from semi.merge.methods import Tau

KIND = "merge"
FORMAT = 1
MERGE = "merge.json"
FILES = "files"
"""The folder with a folder for each model: its configuration, tokenizer and the like."""


class Artifact:
    """A merge on disk. Reads are positional, so threads may share it; use it in a `with` block, or `close` it.

    Attributes:
        folder: where it lies.
        manifest: of the folder; its "info" holds the configuration and the certificate.
        method, rule, scale, tau: see `semi.merge.config`.
        search: how lambdas were found (`semi.merge.search`), or None.
        base: the base.
        models: by name, in the order of the configuration, those that were added later last.
        removed: names of models that the shared vector was made of, and that are there no more.
        entries: the base's tensors by key, sorted.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        """`Artifact.open` checks what this takes for granted."""
        self.folder, self.manifest = folder, manifest
        self.method, self.rule, self.scale = (str(content[name]) for name in ("method", "rule", "scale"))
        self.tau: Tau = content["tau"]
        self.search: Mapping[str, Any] | None = content.get("search")
        self.base = MergedBase(**content["base"])
        self.models = {
            entry["name"]: MergedModel.parse(entry, content["kept"][entry["name"]]) for entry in content["models"]
        }
        self.removed = tuple(content.get("removed", ()))
        self.entries = {key: MergedTensor.parse(key, entry) for key, entry in sorted(content["entries"].items())}
        self._block = int(content["block"])
        self._files: dict[str, Checkpoint] = {}
        names = [name for name in manifest["files"] if name.endswith(".safetensors") and "/" not in name]
        try:
            self._shared = self._open(names, "shared", numbered=True)
            self._masks = {name: self._open(names, f"masks-{name}", numbered=True) for name in self.models}
            self._scales = {name: self._open(names, f"scales-{name}", numbered=False) for name in self.models}
            self._exact = {name: self._open(names, f"exact-{name}", numbered=False) for name in self.models}
            self._kept = {name: self._open(names, f"kept-{name}", numbered=True) for name in self.models}
            self._residuals = {name: self._open(names, f"residual-{name}", numbered=True) for name in self.models}
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

    @property
    def merged(self) -> int:
        """How many of the models, the first ones, are among those that the shared vector was made of."""
        return sum(model.added is None for model in self.models.values())

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
        if self.tau == "nf4":
            yield from read_levels(self._shared, entry, self.blocks(key))
        elif entry.codec == "sparse":
            yield from read_sparse(self._shared, entry, self.blocks(key))
        else:
            for block in self.blocks(key):
                yield block, self._shared.read(key, block.start, block.stop)

    def residual(self, model: str, key: str) -> Iterator[tuple[Block, Tensor]] | None:
        """What a model gets beside its part of the shared vector, block by block as `shared`; None if that is nothing.

        Raises:
            InputError: there is no such tensor or model, or the tensor is exact.
            ArtifactError: a file has become shorter.
        """
        if self._model(model).name not in self._merged(key).residuals:
            return None
        return read_sparse(self._residuals[model], self._merged(key), self.blocks(key))

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
        signed = self.rule == "ternary"
        readers = [MaskReader(self._masks[name], key, entry.masks[name], signed=signed) for name in names]
        for block, shared in self.shared(key):
            if self.rule == "none":
                yield block, Code(shared, None)
                continue
            support = shared.numpy() != 0
            masks = torch.zeros((len(names), *shared.shape), dtype=torch.int8 if signed else torch.bool)
            for reader, mask in zip(readers, masks, strict=True):
                mask.numpy()[support] = reader.next(support)
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

    def beside(self, model: str) -> dict[str, int]:
        """Those of `files` that hold tensors, encoders and connectors, by their names in the model's folder: how many.

        Raises:
            InputError: there is no such model.
            ArtifactError: a file is damaged.
        """
        own, found = self.folder / FILES / self._model(model).name, {}
        for path in self.files(model):
            if path.name.endswith(TENSORS):
                with Checkpoint([path]) as file:
                    found[path.relative_to(own).as_posix()] = len(file.keys)
        return found

    def stored_name(self, model: str, key: str) -> str:
        """What the model calls a tensor of the base."""
        return self._model(model).names.get(key, key)

    def computed_files(self) -> list[str]:
        """The files that a language model is computed from, by their names below the folder: all but the encoders."""
        return [
            name
            for name in self.manifest["files"]
            if not (name.startswith("kept-") or (name.startswith(f"{FILES}/") and name.endswith(TENSORS)))
        ]

    def files_of(self, model: str) -> list[str]:
        """The files that a model comes back from, by their names below the folder: its own, and what all share.

        Raises:
            InputError: there is no such model.
        """
        shared = [path.name for path in self._shared.files]
        return [MERGE, *shared, *self.own_files(model)]

    def own_files(self, model: str) -> list[str]:
        """The files that hold nothing but what is a model's own, by their names below the folder."""
        parts = (self._masks, self._scales, self._exact, self._kept, self._residuals)
        names = [path.name for part in parts for path in part[self._model(model).name].files]
        return names + [path.relative_to(self.folder).as_posix() for path in self.files(model)]

    def summary(self) -> dict[str, Any]:
        """What it holds, for JSON.

        Returns:
            "method", "rule", "scale", "tau", "bits" (the budget of masks, or None), "base" (id), "models", "added" and
            "removed" (names), "tensors" {kind or codec: count}, "kept" {model: count} and "beside" {model: {file:
            count}} (tensors outside the base, in the model's own weights and in files beside them), "bytes" {part:
            bytes on disk}, "search" (how lambdas were found, or None), "certificate", "lossless" (the same figures
            without what storing loses, or None).
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
            "tau": self.tau,
            "bits": self.manifest["info"]["configuration"]["mask"].get("bits"),
            "base": self.base.id,
            "models": list(self.models),
            "added": [name for name, model in self.models.items() if model.added],
            "removed": list(self.removed),
            "tensors": dict(tensors),
            "kept": {name: len(model.kept) for name, model in self.models.items()},
            "beside": {name: self.beside(name) for name in self.models},
            "bytes": dict(sizes),
            "search": self.search,
            "certificate": self.manifest["info"]["certificate"],
            "lossless": self.manifest["info"].get("lossless"),
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
            needed += [(self._shared, entry.key + ABSMAX)] if self.tau == "nf4" else []
            for name, codec in entry.masks.items():
                needed += [(self._masks[name], entry.key)] if codec in ("bits", "rows") else []
                needed += [(self._masks[name], entry.key + KINDS)] if codec == "rows" else []
                needed += [(self._masks[name], entry.key + SIGN)] if self.rule == "ternary" else []
            needed += [
                (self._residuals[name], entry.key + part) for name in entry.residuals for part in (SUPPORT, VALUES)
            ]
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
