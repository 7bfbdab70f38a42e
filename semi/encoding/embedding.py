"""What an encoder gives for samples, batch by batch, held to what it promised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from semi.brief import brief
from semi.errors import InputError, PairsError, PluginError
from semi.modality import Encoder

if TYPE_CHECKING:
    import numpy as np

# Large enough to keep the encoder busy, small enough for memory and a smooth progress bar.
_BATCH = 32


def embed(encoder: Encoder, samples: Sequence[Any]) -> np.ndarray:
    """Embeddings (n, d_enc) or (n, t, d_enc), float32, of parsed samples, in memory.

    Raises:
        PairsError: there are no samples, or an embedding holds NaN or infinity (the sample is named).
        PluginError: the encoder returned another shape than it promised.
    """
    if not samples:
        raise PairsError("there is nothing to encode", got="no samples")
    return joined(encoder, list(batches(encoder, samples, 0)))


def batches(encoder: Encoder, samples: Sequence[Any], start: int) -> Iterator[np.ndarray]:
    """Embeddings of samples number start + 1, start + 2, ..., a batch at a time; errors as of `embed`."""
    import numpy as np

    for offset in range(0, len(samples), _BATCH):
        batch = samples[offset : offset + _BATCH]
        encoded = np.asarray(_encoded(encoder, batch, start + offset))
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinity, and refused below
            embeddings = encoded.astype(np.float32, copy=False)
        if embeddings.ndim not in (2, 3) or len(embeddings) != len(batch) or embeddings.shape[-1] != encoder.width:
            raise _wrong_shape(encoder, got=embeddings.shape, n=len(batch))
        finite = np.isfinite(embeddings).reshape(len(batch), -1).all(axis=1)
        if not finite.all():
            bad = int(np.argmin(finite))
            raise PairsError(
                f"the embedding of sample {start + offset + bad + 1} holds NaN or infinity",
                got=f"sample {brief(batch[bad])}",
                expected="finite numbers",
                do=f"leave the sample out, or report it to the author of encoder {encoder.id}",
            )
        yield embeddings


def joined(encoder: Encoder, parts: Sequence[np.ndarray]) -> np.ndarray:
    """The batches as one array.

    Raises:
        PluginError: the encoder returned several shapes.
    """
    import numpy as np

    if len({part.shape[1:] for part in parts}) > 1:
        raise _wrong_shape(encoder, got=sorted({part.shape[1:] for part in parts}))
    return np.concatenate(parts)


def _encoded(encoder: Encoder, batch: Sequence[Any], start: int) -> np.ndarray:
    """The encoder's answer; where it refuses the batch, the error names the sample that it refuses alone."""
    try:
        return encoder.encode(list(batch))
    except InputError:
        for number, sample in enumerate(batch, start=start + 1):
            try:
                encoder.encode([sample])
            except InputError as error:
                raise PairsError(
                    f"sample {number} cannot be encoded: {error.what}",
                    got=f"{error.got}, {brief(sample)}" if error.got is not None else brief(sample),
                    expected=error.expected,
                    do=error.do,
                ) from error
        raise


def _wrong_shape(encoder: Encoder, *, got: object, n: int | None = None) -> PluginError:
    count = "n" if n is None else n
    return PluginError(
        f"encoder {encoder.id} returned embeddings of another shape than it promised",
        got=got,
        expected=f"({count}, {encoder.width}) or ({count}, t, {encoder.width}), the same t for all",
        do="report it to the plugin's author",
    )
