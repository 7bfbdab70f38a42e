"""Where the blocks of a merge go: vector, masks and row scales, in the form that `semi.merge.artifact` reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semi.merge import bits
from semi.merge.codes import Code
from semi.merge.config import MergeConfig
from semi.merge.description import ABSMAX, KINDS, SIGN, SUPPORT, VALUES, MaskCodec, VectorCodec
from semi.merge.lossy import FORMS, absmax
from semi.merge.writer import TensorFile

_SHARED = "shared"


class Sink:
    """Writes codes into `folder`, block by block and tensor by tensor; use it in a `with` block.

    Args:
        folder: of the artifact.
        config: of the merge.
        records: what `record` gave in an earlier, interrupted run, in order.
    """

    def __init__(self, folder: Path, config: MergeConfig, records: Sequence[Mapping[str, Any]] = ()) -> None:
        self._models = [model.name for model in config.models]
        self._config, self._form = config, FORMS[config.merge.tau]
        stems: dict[str, int | None] = {_SHARED: config.io.shard}
        if config.rule != "none":
            stems |= {f"masks-{name}": config.io.shard for name in self._models}
        if config.scale != "none":
            stems |= {f"scales-{name}": None for name in self._models}
        self._files: dict[str, TensorFile] = {}
        with ExitStack() as stack:
            for stem, most in stems.items():
                file = stack.enter_context(TensorFile(folder, stem, most))
                file.resume([record[stem] for record in records])
                self._files[stem] = file
            self._open = stack.pop_all()
        self._begin()

    def add(self, key: str, code: Code, scales: Tensor | None) -> None:
        """The next block of a tensor: its code, and row scales (N, rows) or None.

        Args:
            key: the tensor.
            code: its vector is what comes back when it is stored (`semi.merge.lossy.rounded`).
            scales: float32.

        Raises:
            OutputError: the disk is full or the place cannot be written to.
        """
        support = code.shared.numpy() != 0
        values = bits.select(self._form.elements(code.shared.view(-1)), support.reshape(-1))
        self._counts.append((support.size, values.size))
        self._files[_SHARED].append(key + SUPPORT, bits.pack(support.reshape(-1)))
        self._files[_SHARED].append(key + VALUES, self._form.pack(values))
        if self._form.tau == "nf4":
            self._files[_SHARED].append(key + ABSMAX, absmax(code.shared.view(-1)).view(torch.uint8).numpy().data)
        for i, name in enumerate(self._models):
            if code.masks is not None and self._config.budget is not None:
                self._add_rows(name, key, code.masks[i].numpy(), support)
            elif code.masks is not None:
                self._add_mask(name, key, bits.select(code.masks[i].numpy().reshape(-1), support.reshape(-1)))
            if scales is not None:
                self._files[f"scales-{name}"].append(key, scales[i].numpy().tobytes())

    def end(self, key: str, shape: tuple[int, ...]) -> tuple[VectorCodec, dict[str, MaskCodec]]:
        """A tensor is complete: the codecs of its vector and of the models' masks."""
        codec = self._end_vector(key, shape)
        masks: dict[str, MaskCodec] = {name: self._end_mask(name, key) for name in self._models}
        if self._config.scale == "row":
            for name in self._models:
                self._files[f"scales-{name}"].end(key, "F32", (shape[0],))
        self._begin()
        return codec, masks

    def record(self) -> dict[str, Any]:
        """For a journal, after `end`."""
        return {stem: file.record() for stem, file in self._files.items()}

    @property
    def pending(self) -> int:
        """Bytes that a power cut could take."""
        return sum(file.pending for file in self._files.values())

    def sync(self) -> None:
        """Make what was recorded outlast a power cut."""
        for file in self._files.values():
            if file.pending:
                file.sync()

    def finish(self, scales: Tensor | None) -> list[str]:
        """Write the files; after an interruption it goes on. Their names.

        Args:
            scales: factors of the models, float32 (N,), where `scale` is "model".

        Raises:
            OutputError: as `add`.
        """
        if scales is not None:
            for name, factor in zip(self._models, scales, strict=True):
                self._files[f"scales-{name}"].append("", factor.numpy().tobytes())
                self._files[f"scales-{name}"].end("", "F32", ())
        return [name for file in self._files.values() for name in file.finish()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _begin(self) -> None:
        self._counts: list[tuple[int, int]] = []  # entries, and those that are not zero, of each block
        self._whole = dict.fromkeys(self._models, True)

    def _add_mask(self, name: str, key: str, mask: NDArray[Any]) -> None:
        """A model's mask at the supported entries, bool or int8 (n,)."""
        file = self._files[f"masks-{name}"]
        chosen = mask != 0
        self._whole[name] &= bool(chosen.all())
        file.append(key, bits.pack(chosen))
        if self._config.rule == "ternary":
            file.append(key + SIGN, bits.pack(bits.select(mask, chosen) < 0))

    def _add_rows(self, name: str, key: str, mask: NDArray[np.bool_], support: NDArray[np.bool_]) -> None:
        """A model's mask, bool (rows, columns): the bits of those rows in which some entries are set and some not."""
        file = self._files[f"masks-{name}"]
        chosen, there = mask.sum(1), support.sum(1)
        ones = chosen == there
        mixed = (chosen > 0) & ~ones
        self._whole[name] &= bool(ones.all())
        file.append(key + KINDS, bits.pack(mixed) + bits.pack(ones))
        file.append(key, bits.pack(mask[mixed][support[mixed]]))

    def _end_vector(self, key: str, shape: tuple[int, ...]) -> VectorCodec:
        file = self._files[_SHARED]
        support, values = key + SUPPORT, key + VALUES
        entries, kept = (sum(counts) for counts in zip((0, 0), *self._counts, strict=True))
        whole = sum(self._form.nbytes(count) for count, _ in self._counts)
        if self._form.tau == "nf4":
            file.end(key + ABSMAX, "BF16", (file.length(key + ABSMAX) // 2,))
            shape = (whole,)
        if kept < entries and file.length(support) + file.length(values) < whole:
            file.end(support, "U8", (file.length(support),))
            file.end(values, self._form.dtype, (file.length(values),) if self._form.tau == "nf4" else (kept,))
            return "sparse"
        if kept < entries:
            for vector in self._dense(key):
                file.append(key, self._form.pack(vector))
            file.drop(values)
            file.end(key, self._form.dtype, shape)
        else:  # without zeros, the values are the vector
            file.end(values, self._form.dtype, shape, stored=key)
        file.drop(support)
        return "dense"

    def _dense(self, key: str) -> Iterator[NDArray[np.generic]]:
        """The blocks of a vector that was written as support and values: elements (n,)."""
        file = self._files[_SHARED]
        values = file.segments(key + VALUES)
        for (entries, kept), support in zip(self._counts, file.segments(key + SUPPORT), strict=True):
            vector = np.full(entries, self._form.zero, dtype=self._form.element)
            if kept:
                vector[bits.unpack(support, entries)] = self._form.unpack(next(values), kept)
            yield vector

    def _end_mask(self, name: str, key: str) -> MaskCodec:
        if self._config.rule == "none":
            return "none"
        file = self._files[f"masks-{name}"]
        if self._config.rule == "ternary":
            file.end(key + SIGN, "U8", (file.length(key + SIGN),))
        by_rows = self._config.budget is not None
        if self._whole[name]:
            file.drop(key)
            file.drop(key + KINDS)
            return "ones"
        file.end(key, "U8", (file.length(key),))
        if by_rows:
            file.end(key + KINDS, "U8", (file.length(key + KINDS),))
        return "rows" if by_rows else "bits"
