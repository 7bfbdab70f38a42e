"""Whisper's encoder out of a model file of CTranslate2, without that package.

The layout of version 6 (little-endian): version, name of the kind of model, revision, number of variables; of each its
name, rank, dimensions, type and bytes. Text is its length with a closing zero, then the letters.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from semi.artifacts import config_hash, rebuilding, save_tensors, sha256_of
from semi.assets import cache_dir
from semi.errors import ArtifactError

if TYPE_CHECKING:
    from torch import Tensor

TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
}
HIGHEST_VERSION = 6


def encoder_as_safetensors(parts: Sequence[Path]) -> Path:
    """The encoder's tensors, under the names of transformers, converted once and kept in the cache.

    Args:
        parts: the pieces of model.bin, in order.

    Raises:
        ArtifactError: together they are no whole model of Whisper.
        OutputError: the cache cannot be written to.
    """
    key = config_hash([sha256_of(part) for part in parts])[:16]
    converted = cache_dir() / "weights" / f"whisper-encoder-{key}.safetensors"
    if not converted.is_file():
        with rebuilding(parts[0], "model of CTranslate2"):
            tensors = encoder_tensors(dict(read_variables(b"".join(part.read_bytes() for part in parts))))
        converted.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(converted, tensors)
    return converted


def read_variables(content: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of each variable.

    Raises:
        ArtifactError: not such a file, or cut off.
    """
    try:
        at = 0

        def number(kind: str) -> int:
            nonlocal at
            (value,) = struct.unpack_from(f"<{kind}", content, at)
            at += struct.calcsize(kind)
            return int(value)

        def text() -> str:
            nonlocal at
            size = number("H")
            at += size
            return content[at - size : at].rstrip(b"\0").decode()

        version, kind = number("I"), text()
        if not 5 <= version <= HIGHEST_VERSION or kind != "WhisperSpec":
            raise ValueError(f"version {version} of {kind!r}")
        number("I")  # revision
        for _ in range(number("I")):
            name = text()
            shape = [number("I") for _ in range(number("B"))]
            dtype, size = TYPES[number("B")], number("I")
            values = np.frombuffer(content, dtype, size // dtype.itemsize, at)
            at += size
            yield name, values.reshape(shape)
    except (struct.error, ValueError, KeyError) as error:
        raise ArtifactError(
            "the file is not a whole Whisper model of CTranslate2", got=error, do="fetch it again"
        ) from error


def encoder_tensors(variables: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The encoder's variables as the state of a transformers.WhisperEncoder, float32.

    Queries, keys and values, stacked there, come apart. Keys have no bias in Whisper.
    """
    import torch

    found: dict[str, np.ndarray] = {
        "conv1.weight": variables["encoder/conv1/weight"],
        "conv1.bias": variables["encoder/conv1/bias"],
        "conv2.weight": variables["encoder/conv2/weight"],
        "conv2.bias": variables["encoder/conv2/bias"],
        "embed_positions.weight": variables["encoder/position_encodings/encodings"],
    }
    norms = {"layer_norm": "encoder/layer_norm"}
    layer = 0
    while (there := f"encoder/layer_{layer}") + "/ffn/linear_0/weight" in variables:
        here = f"layers.{layer}"
        norms[f"{here}.self_attn_layer_norm"] = f"{there}/self_attention/layer_norm"
        norms[f"{here}.final_layer_norm"] = f"{there}/ffn/layer_norm"
        linears = {
            "self_attn.out_proj": "self_attention/linear_1",
            "fc1": "ffn/linear_0",
            "fc2": "ffn/linear_1",
        }
        for name, other in linears.items():
            for part in ("weight", "bias"):
                found[f"{here}.{name}.{part}"] = variables[f"{there}/{other}/{part}"]
        for part in ("weight", "bias"):
            stacked = variables[f"{there}/self_attention/linear_0/{part}"]
            for name, values in zip("qkv", np.split(stacked, 3), strict=True):
                if (name, part) != ("k", "bias"):
                    found[f"{here}.self_attn.{name}_proj.{part}"] = values
        layer += 1
    for name, other in norms.items():
        found[f"{name}.weight"], found[f"{name}.bias"] = variables[f"{other}/gamma"], variables[f"{other}/beta"]
    return {name: torch.from_numpy(values.astype(np.float32)) for name, values in found.items()}
