"""A model's safetensors files, read row by row: headers are checked first and nothing is loaded whole or mapped."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from semi.artifacts import read_json
from semi.errors import ArtifactError
from semi.merge.header import FLOATS, TensorInfo, read_header

HEAD = "lm_head.weight"
"""The output matrix; a model whose configuration ties it to the input embeddings does not store it."""

_PIECE = 1 << 20
"""Bytes of one read, all that reading needs beside its result; a multiple of every data type's size."""


class Checkpoint:
    """Tensors of one or more safetensors files by key. Reads are positional, so threads may share a checkpoint.

    Attributes:
        files: that were opened.
        keys: names without the prefix, sorted.
        tied: the model says that its output matrix is its input embeddings, and stores none.
    """

    def __init__(self, files: Sequence[Path], prefix: str = "", *, tie_word_embeddings: bool = False) -> None:
        """Open files and read their headers.

        Args:
            files: safetensors files of one model.
            prefix: taken off the keys that begin with it; other keys stay as they are.
            tie_word_embeddings: what the model's configuration says.

        Raises:
            ArtifactError: a file is missing, truncated or inconsistent, or two tensors have one name.
        """
        self.files = tuple(files)
        self._handles: dict[Path, int] = {}
        self._infos: dict[str, TensorInfo] = {}
        try:
            for file in files:
                self._handles[file] = _open(file)
                for info in read_header(self._handles[file], file, prefix):
                    self._add(info)
        except BaseException:
            self.close()
            raise
        self.keys: tuple[str, ...] = tuple(sorted(self._infos))
        self.tied = tie_word_embeddings and HEAD not in self._infos

    @classmethod
    def open(cls, folder: str | Path, prefix: str = "") -> Self:
        """Open a folder: its model.safetensors, the shards of its index, or its only .safetensors file.

        Args:
            folder: as transformers writes it.
            prefix: taken off the keys that begin with it (`llm_prefix` of a merge).

        Raises:
            ArtifactError: no such files, or as the constructor; the index and its shards disagree.
        """
        folder = Path(folder)
        tie = _tie_word_embeddings(folder)
        whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
        if whole.exists() or not index.exists():
            return cls([whole if whole.exists() else _only_file(folder)], prefix, tie_word_embeddings=tie)
        shards = _weight_map(index)
        checkpoint = cls([folder / name for name in sorted(set(shards.values()))], prefix, tie_word_embeddings=tie)
        try:
            _require_same(index, shards, {info.stored: info.file.name for info in checkpoint._infos.values()})
        except ArtifactError:
            checkpoint.close()
            raise
        return checkpoint

    def info(self, key: str) -> TensorInfo:
        """Where a tensor lies and what it looks like.

        Raises:
            ArtifactError: there is no such key.
        """
        if key not in self._infos:
            raise ArtifactError(f"there is no tensor {key!r}", expected=f"one of {len(self.keys)} keys")
        return self._infos[key]

    def read(self, key: str, start_row: int = 0, stop_row: int | None = None, *, out: Tensor | None = None) -> Tensor:
        """Rows start_row to stop_row (None: the last) of a tensor seen as (shape[0], -1), in float32.

        Args:
            key: the tensor.
            start_row: first row.
            stop_row: the row after the last one.
            out: contiguous float32 (rows, columns) to fill; None: a new one.

        Returns:
            (rows, columns); one column for a tensor of one dimension.

        Raises:
            ArtifactError: the key is unknown, its data type is not read here, or the file has become shorter.
        """
        info = self.info(key)
        if info.dtype not in FLOATS:
            raise ArtifactError(
                f"{info.file}: tensor {info.stored!r} cannot be merged",
                got=info.dtype,
                expected=", ".join(FLOATS),
                do="convert the model to one of these, or keep the tensor as it is (`keep`, `exclude_exact`)",
            )
        stop_row = info.rows if stop_row is None else stop_row
        if not 0 <= start_row <= stop_row <= info.rows:
            raise ArtifactError(
                f"{info.file}: tensor {info.stored!r} has no such rows",
                got=f"{start_row} to {stop_row}",
                expected=f"rows among 0 to {info.rows}",
            )
        dtype = FLOATS[info.dtype]
        out = torch.empty(stop_row - start_row, info.columns) if out is None else out
        row = info.columns * dtype.itemsize
        values, at = out.view(-1), 0
        # Converted piece by piece: a whole block in another type would cost half as much memory again.
        for piece in self._pieces(info, start_row * row, stop_row * row):
            part = torch.frombuffer(piece, dtype=dtype)
            values[at : at + len(part)] = part
            at += len(part)
        return out

    def raw(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """A tensor's bytes as they lie in the file, whatever its data type, in pieces of at most 1 MB.

        Args:
            key: the tensor.
            start: first byte.
            stop: the byte after the last one; None: the tensor's end.

        Raises:
            ArtifactError: the key is unknown, there are no such bytes, or the file has become shorter.
        """
        info = self.info(key)
        stop = info.nbytes if stop is None else stop
        if not 0 <= start <= stop <= info.nbytes:
            raise ArtifactError(
                f"{info.file}: tensor {info.stored!r} has no such bytes",
                got=f"{start} to {stop}",
                expected=f"bytes among 0 to {info.nbytes}",
            )
        return map(bytes, self._pieces(info, start, stop))

    def close(self) -> None:
        """Close the files; nothing can be read any more."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add(self, info: TensorInfo) -> None:
        other = self._infos.setdefault(info.key, info)
        if other is not info:
            raise ArtifactError(
                f"two tensors are named {info.key!r}",
                got=f"{other.stored} in {other.file}; {info.stored} in {info.file}",
                expected="each tensor once",
                do="save the model again, or choose an llm_prefix that keeps the names apart",
            )

    def _pieces(self, info: TensorInfo, start: int, stop: int) -> Iterator[bytearray]:
        """Bytes start to stop of a tensor, `_PIECE` at a time."""
        handle = self._handles.get(info.file)
        if handle is None:
            raise ArtifactError(f"{info.file} is closed", do="read within the checkpoint's `with` block")
        for at in range(start, stop, _PIECE):
            piece, count = bytearray(), min(_PIECE, stop - at)
            while len(piece) < count:
                piece += _pread(handle, info, at + len(piece), count - len(piece))
            yield piece


def _pread(handle: int, info: TensorInfo, start: int, count: int) -> bytes:
    """At least one of a tensor's bytes, from the start-th on."""
    try:
        got = os.pread(handle, count, info.offset + start)
    except OSError as error:
        raise ArtifactError(f"{info.file} cannot be read", got=error.strerror) from error
    if not got:
        raise ArtifactError(
            f"{info.file} has become shorter while it was read: tensor {info.stored!r} is cut",
            got=f"{start:,} bytes",
            expected=f"{info.nbytes:,} bytes",
            do="start again from whole files",
        )
    return got


def _open(file: Path) -> int:
    try:
        return os.open(file, os.O_RDONLY)
    except OSError as error:
        raise ArtifactError(f"{file} cannot be read", got=error.strerror, do="check the folder's name") from error


def _only_file(folder: Path) -> Path:
    found = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if (folder / "adapter_config.json").exists():
        raise ArtifactError(f"{folder} holds a LoRA adapter, not a model", do="say `adapter: lora` for it")
    if len(found) != 1:
        raise ArtifactError(
            f"{folder} holds no model",
            got=", ".join(file.name for file in found) or "no .safetensors file",
            expected="model.safetensors, model.safetensors.index.json with its shards, or one .safetensors file",
            do="check the name; save a model of other formats with save_pretrained(..., safe_serialization=True)",
        )
    return found[0]


def _tie_word_embeddings(folder: Path) -> bool:
    """What config.json says; in a multimodal model's, the part about its language model."""
    if not (folder / "config.json").exists():
        return False
    config = read_settings(folder / "config.json")
    parts: list[Any] = [config, config.get("text_config")] if isinstance(config, dict) else []
    said = [part["tie_word_embeddings"] for part in parts if isinstance(part, dict) and "tie_word_embeddings" in part]
    return bool(said and said[-1])


def _weight_map(index: Path) -> Mapping[str, str]:
    content = read_settings(index)
    shards = content.get("weight_map") if isinstance(content, dict) else None
    # A shard lies beside its index: a path could lead anywhere.
    if not isinstance(shards, dict) or not all(isinstance(f, str) and f == Path(f).name for f in shards.values()):
        raise ArtifactError(
            f"{index} is not an index of shards", expected="`weight_map`: tensor name to file name", do="fetch it again"
        )
    missing = sorted({name for name in shards.values() if not (index.parent / name).exists()})
    if missing or not shards:
        raise ArtifactError(f"{index} names files that are missing", got=", ".join(missing) or "none", do="fetch them")
    return shards


def _require_same(index: Path, named: Mapping[str, str], found: Mapping[str, str]) -> None:
    problems = [
        f"{key} is not in {file}" if key not in found else f"{key} is in {found[key]}, not in {file}"
        for key, file in sorted(named.items())
        if found.get(key) != file
    ]
    problems += [f"{key} of {found[key]} is not in the index" for key in sorted(found.keys() - named.keys())]
    if problems:
        raise ArtifactError(f"{index} and its shards disagree", got=first_ten(problems), do="fetch the folder again")


def read_settings(path: Path) -> Any:
    """The content of a JSON file of a user's model.

    Raises:
        ArtifactError: the file is missing, unreadable or not JSON.
    """
    try:
        return read_json(path)
    except ArtifactError as error:  # it takes the file for one of semi's
        raise ArtifactError(error.what, got=error.got, do="fetch or save the model again") from error


def first_ten(problems: Sequence[str]) -> str:
    """The first ten problems, and how many more there are."""
    more = [f"and {len(problems) - 10:,} more"] if len(problems) > 10 else []
    return "; ".join([*problems[:10], *more])
