"""What of an encoder can become ONNX, and how a plugin says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from semi.errors import InputError
from semi.modality import Encoder

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


@dataclass(frozen=True)
class Network:
    """All of an encoder that comes after one array, which is prepared from a sample outside of ONNX."""

    module: nn.Module
    """An array of `shape` -> (d_enc,) or (t, d_enc) float32, as torch.export can trace it."""
    prepare: Callable[[Any], np.ndarray]
    """A parsed sample -> the array, just as `encode` makes it."""
    shape: tuple[int | str, ...]
    """Of the array; a name stands for an axis of any length from 2 on."""
    dtype: str
    """Of the array: float32 or uint8."""
    meaning: str
    """What the array holds, with units, for whoever feeds the runner."""


def network_of(encoder: Encoder) -> Network:
    """The network of an encoder.

    Raises:
        InputError: it has none that can be exported.
    """
    build = getattr(encoder, "network", None)
    if build is None:
        raise InputError(
            f"the encoder {encoder.id} cannot be exported",
            got="no method network()",
            expected="an encoder whose network PyTorch can trace, such as imu/riann or image/efficientnet-lite0",
            do="export what comes after it, and feed the runner its embeddings: --from embedding",
        )
    network: Network = build()
    return network


def embedding_network(width: int) -> Network:
    """The identity, for embeddings (t, width) that are made elsewhere; t is 1 for encoders that give one vector."""
    import numpy as np
    from torch import nn

    def prepare(embedding: Any) -> np.ndarray:
        return np.asarray(embedding, np.float32).reshape(-1, width)

    return Network(nn.Identity(), prepare, ("t", width), "float32", "the encoder's embedding")
