"""From what a client sends to a sample: numbers, or a file in an empty folder. No path and no address of a client's."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from semi.errors import InputError, SemiError
from semi.modality import Modality
from semi.serve.limits import Limits
from semi.serve.refusal import Refusal
from semi.serve.schema import Packed, RawFile, Values, Words

SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
DEEPEST = 4
"""Axes of an array."""
REFERRING = (b"#EXTM3U", b"ffconcat", b"<VRTDataset", b"<GDAL_WMS", b"<MPD")
"""How files begin that name other files or addresses, which libraries for films and maps would open."""

NO_PATH = "a path or an address is no sample; send the file itself"


@dataclass(frozen=True, eq=False)
class Sample:
    """What a client sent, checked as far as that needs no modality."""

    content: np.ndarray | bytes | str
    suffix: str = ""
    """Of a file."""
    declared: tuple[tuple[str, Any], ...] = ()
    """Rate and units, if any."""

    def read(self, modality: Modality, folder: Path) -> Any:
        """The raw sample, by the modality's own reader.

        Args:
            folder: empty, and there until the sample has been encoded.

        Raises:
            PairsError: it is no sample of the modality.
            InputError: it is text, and the modality takes that for the name of a file.
        """
        key: str = "data"
        value: Any = self.content
        if isinstance(self.content, bytes):
            key, value = "file", folder / f"sample{self.suffix}"
            value.write_bytes(self.content)
        # with a rate or units as in pairs files that declare them
        try:
            return modality.parse({key: value, **dict(self.declared)} if self.declared else value, folder=folder)
        except SemiError as error:
            if isinstance(value, str) and str(folder) in str(error):  # it was taken for the name of a file there
                raise InputError(NO_PATH) from error
            raise


def unpack(data: Values | Packed | RawFile | Words, limits: Limits) -> Sample:
    """The sample of a content part.

    Raises:
        Refusal: its numbers, bytes or text are none, or too many.
    """
    if isinstance(data, Words):
        return Sample(_no_path(data.text))
    declared = tuple((name, value) for name in ("rate", "units") if (value := getattr(data, name)) is not None)
    if isinstance(data, RawFile):
        return Sample(_file(data.file), _suffix(data.name), declared)
    array = _packed(data, limits) if isinstance(data, Packed) else _array(data.values)
    if array.size > limits.numbers:
        raise Refusal(400, "sample_too_large", f"a sample has {array.size} numbers; {limits.numbers} are allowed")
    return Sample(array, declared=declared)


def _array(values: list[Any]) -> np.ndarray:
    try:
        array = np.array(values)
    except (ValueError, RecursionError, OverflowError):
        raise Refusal(400, "invalid_value", "values are lists of different lengths", "values") from None
    # text would become numbers, and bool is an int to Python
    if array.dtype.kind not in "iuf" or array.size == 0 or array.ndim > DEEPEST:
        raise Refusal(400, "invalid_value", f"values are no numbers in 1 to {DEEPEST} axes", "values")
    return _finite(array.astype(np.float64), "values")


def _packed(data: Packed, limits: Limits) -> np.ndarray:
    if (size := prod(data.shape)) > limits.numbers:
        raise Refusal(400, "sample_too_large", f"a sample has {size} numbers; {limits.numbers} are allowed", "shape")
    content = _bytes(data.float32, "float32")
    if len(content) != 4 * size:
        message = f"{len(content)} bytes are no float32 array of shape {data.shape}, which has {4 * size}"
        raise Refusal(400, "invalid_value", message, "float32")
    return _finite(np.frombuffer(content, "<f4").reshape(data.shape).astype(np.float32), "float32")


def _finite(array: np.ndarray, param: str) -> np.ndarray:
    if not np.isfinite(array).all():
        raise Refusal(400, "invalid_value", "the sample holds NaN or infinity", param)
    return array


def _file(text: str) -> bytes:
    content = _bytes(text, "file")
    if content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(REFERRING):
        raise Refusal(400, "invalid_value", "a file that names other files or addresses is not read", "file")
    return content


def _bytes(text: str, param: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, "invalid_value", f"{param} is no base64", param) from None


def _suffix(name: str) -> str:
    suffix = Path(name).suffix
    if not SUFFIX.fullmatch(suffix):
        raise Refusal(400, "invalid_value", "the file's name has no suffix that says what it is", "name")
    return suffix.lower()


def _no_path(text: str) -> str:
    """The text, unless a modality that takes paths too could find a file by it.

    It is read in an empty folder, so that no relative path leads anywhere.
    """
    text = text.strip()  # as modalities do
    path = Path(text)
    if not text or text[0] in "{~" or "\0" in text or path.anchor or ".." in path.parts:  # {: JSON may hold a path
        raise Refusal(400, "invalid_value", NO_PATH, "text")
    return text
