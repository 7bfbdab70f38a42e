"""Pairs to JSONL, and the hash of a support set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semi.artifacts.files import sha256_of, write_bytes
from semi.errors import PairsError
from semi.pairs import Pair


def write_pairs(path: str | Path, pairs: Sequence[Pair]) -> None:
    """Write pairs as JSONL that `read_pairs` reads; the same pairs give the same bytes.

    Samples that are text, numbers, lists, objects or arrays stand inline; a path is written relative to the file where
    it lies below its folder, else in full.

    Raises:
        PairsError: a sample is of another type, or holds NaN or infinity.
        OutputError: the file could not be written.
    """
    path = Path(path).absolute()
    lines = [pair_line(pair, number, path.parent) for number, pair in enumerate(pairs, start=1)]
    write_bytes(path, "".join(lines).encode())


def pairs_sha256(pairs: Sequence[Pair]) -> str:
    """A hash of everything in the pairs, the content of files that samples name included.

    Raises:
        PairsError: a sample is neither text, numbers, bytes, an array nor a path, nor lists or objects of those; or a
            file that it names cannot be read.
    """
    digest = hashlib.sha256()
    for number, pair in enumerate(pairs, start=1):
        fields = [pair.sample, pair.caption, pair.instruction, dict(pair.attributes)]
        try:
            text = json.dumps(fields, sort_keys=True, default=_content)
        except TypeError as error:
            raise _of_another_type(number, pair) from error
        except OSError as error:
            raise PairsError(
                f"the file of sample {number} cannot be read", got=error, do="bring it back, or leave the pair out"
            ) from error
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def pair_line(pair: Pair, number: int, folder: Path) -> str:
    """The line of pair `number` in a JSONL file of `folder` (absolute); errors as of `write_pairs`."""

    def inline(value: Any) -> Any:
        if isinstance(value, Path):
            value = value.absolute()
            return (value.relative_to(folder) if value.is_relative_to(folder) else value).as_posix()
        if hasattr(value, "tolist"):  # an array or a number of numpy
            return value.tolist()
        raise TypeError

    record = {"sample": pair.sample, "caption": pair.caption}
    if pair.instruction is not None:
        record["instruction"] = pair.instruction
    if pair.attributes:
        record["attributes"] = dict(pair.attributes)
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False, default=inline) + "\n"
    except TypeError as error:
        raise _of_another_type(number, pair) from error
    except ValueError as error:
        raise PairsError(f"sample {number} holds NaN or infinity", expected="finite numbers") from error


def _content(value: Any) -> Any:
    if isinstance(value, Path):
        return {"file": sha256_of(value)}
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):  # an array or a number of numpy
        return {"array": hashlib.sha256(value.tobytes()).hexdigest(), "dtype": str(value.dtype), "shape": value.shape}
    raise TypeError


def _of_another_type(number: int, pair: Pair) -> PairsError:
    return PairsError(
        f"sample {number} cannot be kept in a file",
        got=type(pair.sample).__name__,
        expected="text, numbers, lists, arrays or a path",
        do="let the modality's `parse` return one of these",
    )
