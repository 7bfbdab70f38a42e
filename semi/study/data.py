"""A target's data: encoded once, kept, and handed to adaptation with the embeddings already there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from semi.artifacts import config_hash
from semi.brief import brief
from semi.encoding import encode, load_encoded
from semi.errors import ArtifactError
from semi.modality import Encoder, Modality
from semi.pairs import Pair
from semi.pairs_io import draw_shots, pairs_sha256, read_pairs
from semi.plugins import load_modality
from semi.study.config import TargetConfig

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Prepared:
    """Where a target's embeddings lie, and what they are of; small, so that it can be sent to a process."""

    modality: str
    train: Path
    test: Path
    held_out: int
    width: int | None
    """What the embeddings are mapped to, see `mapped`."""
    sha256: str
    """Of both splits' pairs and the encoder."""
    n_train: int
    n_test: int


@dataclass(frozen=True)
class Target:
    """A target in memory; each sample is its embedding."""

    modality: Modality
    train: list[Pair]
    held_out: list[Pair]
    shown: list[str]
    """What the held-out samples are, for people."""


def embedded_modality(name: str, instruction: str, encoder_id: str, width: int) -> Modality:
    """A modality whose samples are embeddings of `encoder_id` already, and which is else the one called `name`."""
    embeddings = _Embedded(encoder_id, width)
    given_name, given_instruction = name, instruction

    class Embedded(Modality):
        name: ClassVar[str] = given_name
        instruction: ClassVar[str] = given_instruction

        def encoder(self, name: str | None = None) -> Encoder:
            return embeddings

    return Embedded()


def prepare(config: TargetConfig, folder: Path, progress: Callable[[int, int, str], None]) -> Prepared:
    """Encode both splits of a target below `folder`, where that has not been done.

    Args:
        progress: told (samples done, samples, what).

    Raises:
        PairsError: a split has no pairs, or a sample cannot be used.
        PluginError, InputError: unknown modality, data set or encoder.
    """
    modality = load_modality(config.modality)
    encoder = modality.encoder(config.encoder)
    places, hashes, sizes = [], [], []
    for split in SPLITS:
        pairs = read_pairs(config.source(split), modality=modality, split=split).pairs
        places.append(_encoded(modality, encoder, pairs, folder, lambda i, n: progress(i, n, config.name)))
        hashes.append(pairs_sha256(pairs))
        sizes.append(len(pairs))
    train, test = places
    digest = config_hash([modality.name, encoder.id, *hashes])
    return Prepared(modality.name, train, test, min(config.held_out, sizes[1]), config.width, digest, *sizes)


@lru_cache(maxsize=4)
def load_target(prepared: Prepared) -> Target:
    """The target, its held-out samples drawn with seed 0; the last few stay in memory."""
    train, test = load_encoded(prepared.train), load_encoded(prepared.test)
    instruction = load_modality(prepared.modality).instruction
    shots, tests = (mapped(found.embeddings, prepared.width) for found in (train, test))
    modality = embedded_modality(prepared.modality, instruction, train.encoder_id, shots.shape[-1])
    rows = draw_shots([Pair(i, "") for i in range(len(test.pairs))], prepared.held_out, 0)
    index = [pair.sample for pair in rows]
    return Target(
        modality,
        with_embeddings(train.pairs, shots),
        with_embeddings([test.pairs[i] for i in index], tests[index]),
        [brief(test.pairs[i].sample, 60) for i in index],
    )


def mapped(embeddings: np.ndarray, width: int | None) -> np.ndarray:
    """Embeddings (..., d) as (..., width) by one random linear map for each pair of widths; None: as they are.

    To a larger width it keeps all distances; to a smaller one it is a projection on a random subspace.
    """
    import numpy as np

    d = embeddings.shape[-1]
    if width is None or width == d:
        return embeddings
    tall = np.random.default_rng([d, width]).standard_normal((max(d, width), min(d, width)))
    columns, _ = np.linalg.qr(tall)
    found: np.ndarray = (embeddings @ (columns if width < d else columns.T)).astype(np.float32)
    return found


def describe(prepared: Prepared) -> dict[str, Any]:
    """What reports say of a target."""
    target = load_target(prepared)
    encoder = target.modality.encoder()
    return {
        "encoder": encoder.id,
        "width": encoder.width,
        "train": prepared.n_train,
        "test": prepared.n_test,
        "held_out": [{"sample": s, "caption": p.caption} for s, p in zip(target.shown, target.held_out, strict=True)],
    }


def with_embeddings(pairs: Sequence[Pair], embeddings: np.ndarray) -> list[Pair]:
    """The pairs with their embeddings (n, d) or (n, t, d) in place of the samples."""
    return [replace(pair, sample=row) for pair, row in zip(pairs, embeddings, strict=True)]


class _Embedded:
    """The identity on embeddings."""

    def __init__(self, id: str, width: int) -> None:
        self.id, self.width = id, width

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """The embeddings themselves, stacked."""
        import numpy as np

        return np.stack(list(samples))


def _encoded(
    modality: Modality, encoder: Encoder, pairs: Sequence[Pair], folder: Path, progress: Callable[[int, int], None]
) -> Path:
    # Named by content: other data or another encoder never meets what an earlier run left.
    place = folder / f"{modality.name}-{config_hash([encoder.id, pairs_sha256(pairs)])[:16]}"
    try:
        load_encoded(place)
    except ArtifactError:
        encode(modality, encoder, pairs, place, progress=progress)
    return place
