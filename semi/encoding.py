"""Embeddings computed once and kept: shards that a killed run resumes from, pairs, and a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semi.artifacts import load_tensors, open_output, read_manifest, save_tensors
from semi.errors import ArtifactError, InputError, PairsError, PluginError
from semi.modality import Encoder, Modality
from semi.pairs import Pair
from semi.pairs_io import pairs_sha256, write_pairs

if TYPE_CHECKING:
    import numpy as np

KIND = "embeddings"
PAIRS = "pairs.jsonl"
_TENSOR = "embeddings"
# Large enough to keep the encoder busy, small enough for memory and a smooth progress bar.
_BATCH = 32
# Longer samples (pictures, recordings) would make pairs.jsonl larger than what they were read from.
_INLINE = 4096


@dataclass(frozen=True)
class EncodedSet:
    """Embeddings of a modality's samples and the pairs they belong to, in the same order."""

    embeddings: np.ndarray
    """(n, d_enc) or (n, t, d_enc), float32, finite."""
    pairs: list[Pair]
    """Samples as JSON holds them; one longer than 4096 numbers is "sha256:..." instead."""
    encoder_id: str
    manifest: dict[str, Any]


def encode(
    modality: Modality,
    encoder: Encoder,
    pairs: Sequence[Pair],
    out: str | Path,
    *,
    shard_size: int = 512,
    force: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EncodedSet:
    """Embed the samples of n pairs and keep them in a folder.

    A killed run resumes at its first missing shard; the folder is then byte for byte that of an undisturbed run.

    Args:
        modality: what the samples are.
        encoder: one of its encoders.
        pairs: the pairs, samples parsed.
        out: the folder; `semi.artifacts.open_output` says when it is refused.
        shard_size: samples a file, which is also how many are computed again at most after a kill.
        force: start afresh over what semi made there.
        options: JSON-able settings that the embeddings depend on beyond the encoder's id; kept in the manifest.
        progress: called with (samples done, n).

    Raises:
        PairsError: there are no pairs, or an embedding holds NaN or infinity (the sample is named).
        PluginError: the encoder returned another shape than it promised.
        OutputError: the folder is refused or cannot be written.
    """
    if not pairs:
        raise PairsError("there is nothing to encode", got="no pairs")
    info = {
        "modality": modality.name,
        "encoder": encoder.id,
        "options": dict(options or {}),
        "pairs_sha256": pairs_sha256(pairs),
        "n": len(pairs),
        "shard_size": shard_size,
    }
    with open_output(out, kind=KIND, config=info, force=force) as output:
        write_pairs(output.path / PAIRS, [_inline(pair) for pair in pairs])
        names = []
        for index, start in enumerate(range(0, len(pairs), shard_size)):
            names.append(f"embeddings-{index:05d}.safetensors")
            shard = pairs[start : start + shard_size]
            _complete(output.path / names[-1], encoder, shard, start, len(pairs), progress)
        shape = _stack(output.path, names).shape
        output.finish([*names, PAIRS], {**info, "shape": list(shape), "width": shape[-1]})
    return load_encoded(out)


def embed(encoder: Encoder, samples: Sequence[Any]) -> np.ndarray:
    """Embeddings (n, d_enc) or (n, t, d_enc), float32, of parsed samples, in memory.

    Raises:
        PairsError: there are no samples, or an embedding holds NaN or infinity (the sample is named).
        PluginError: the encoder returned another shape than it promised.
    """
    if not samples:
        raise PairsError("there is nothing to encode", got="no samples")
    return _joined(encoder, list(_batches(encoder, samples, 0)))


def load_encoded(folder: str | Path) -> EncodedSet:
    """The complete folder that `encode` wrote.

    Raises:
        ArtifactError: the folder is missing, incomplete, changed, or holds something else.
    """
    folder = Path(folder)
    manifest = read_manifest(folder, KIND)
    embeddings = _stack(folder, sorted(name for name in manifest["files"] if name != PAIRS))
    pairs = [Pair(**json.loads(line)) for line in (folder / PAIRS).read_text(encoding="utf-8").split("\n") if line]
    if len(pairs) != len(embeddings):
        raise ArtifactError(
            f"{folder} is inconsistent",
            got=f"{len(embeddings)} embeddings, {len(pairs)} pairs",
            expected="one embedding a pair",
            do="encode the pairs again",
        )
    return EncodedSet(embeddings, pairs, manifest["info"]["encoder"], manifest)


def _complete(
    path: Path,
    encoder: Encoder,
    shard: Sequence[Pair],
    start: int,
    total: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the shard unless it is there and whole."""
    if not _is_whole(path, len(shard)):
        import torch

        batches = []
        for batch in _batches(encoder, [pair.sample for pair in shard], start):
            batches.append(batch)
            if progress:
                progress(start + sum(map(len, batches)), total)
        save_tensors(path, {_TENSOR: torch.from_numpy(_joined(encoder, batches))})
    elif progress:
        progress(start + len(shard), total)


def _is_whole(path: Path, rows: int) -> bool:
    try:
        return path.exists() and len(load_tensors(path)[_TENSOR]) == rows
    except (ArtifactError, KeyError):
        return False


def _joined(encoder: Encoder, batches: Sequence[np.ndarray]) -> np.ndarray:
    import numpy as np

    if len({batch.shape[1:] for batch in batches}) > 1:
        raise _wrong_shape(encoder, got=sorted({batch.shape[1:] for batch in batches}))
    return np.concatenate(batches)


def _batches(encoder: Encoder, samples: Sequence[Any], start: int) -> Iterator[np.ndarray]:
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
                got=f"sample {_brief(batch[bad])}",
                expected="finite numbers",
                do=f"leave the sample out, or report it to the author of encoder {encoder.id}",
            )
        yield embeddings


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
                    got=f"{error.got}, {_brief(sample)}" if error.got is not None else _brief(sample),
                    expected=error.expected,
                    do=error.do,
                ) from error
        raise


def _stack(folder: Path, names: Sequence[str]) -> np.ndarray:
    import numpy as np

    shards = [load_tensors(folder / name)[_TENSOR].numpy() for name in names]
    shapes = sorted({shard.shape[1:] for shard in shards})
    if len(shapes) != 1:
        raise ArtifactError(
            f"{folder} holds embeddings of several shapes",
            got=", ".join(map(str, shapes)) or "none",
            expected="one shape for all samples",
            do="use samples and an encoder that give embeddings of one shape",
        )
    return np.concatenate(shards)


def _inline(pair: Pair) -> Pair:
    size = getattr(pair.sample, "size", 0)
    if isinstance(pair.sample, bytes) or (isinstance(size, int) and size > _INLINE):
        return replace(pair, sample=f"sha256:{pairs_sha256([Pair(pair.sample, '')])}")
    return pair


def _wrong_shape(encoder: Encoder, *, got: object, n: int | None = None) -> PluginError:
    count = "n" if n is None else n
    return PluginError(
        f"encoder {encoder.id} returned embeddings of another shape than it promised",
        got=got,
        expected=f"({count}, {encoder.width}) or ({count}, t, {encoder.width}), the same t for all",
        do="report it to the plugin's author",
    )


def _brief(sample: object) -> str:
    if isinstance(sample, Path):
        sample = str(sample)
    # numbers as the array's own type prints them: float32 0.1 is 0.10000000149011612 to Python
    text = repr(sample.astype(str).tolist()).replace("'", "") if hasattr(sample, "astype") else repr(sample)
    return text if len(text) <= 80 else f"{text[:77]}..."
