"""Troubles that an integration may meet in the world, each a small function of a strength.

A condition changes a scene: the support set before the adaptation, the test samples after it, or both. Embeddings are
(n, d) or (n, t, d); "deviation" is the standard deviation of each of the d numbers over the support set. The same seed
draws the same directions for all strengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from semi.pairs import Pair
from semi.pairs_io import draw_shots

FEWEST_TEST = 8
"""Fewer samples of unseen groups say nothing."""
PGD_STEPS = 5


class DoesNotApplyError(Exception):
    """The condition makes no sense for this target; says why."""


@dataclass(frozen=True)
class Scene:
    """What an adaptation reads and what it is then asked about; every sample is its embedding.

    Attributes:
        rows: which of the held-out samples the test samples are, or come from.
    """

    support: list[Pair]
    test: list[Pair]
    rows: list[int]

    def with_test(self, embeddings: np.ndarray) -> Scene:
        """Other embeddings of the test samples."""
        return replace(self, test=_with(self.test, embeddings))


@dataclass(frozen=True)
class Surroundings:
    """What some conditions need beside the scene.

    Attributes:
        train: everything that shots can be drawn from.
        shots, seed: of the cell.
        groups: slots of the attributes that make groups.
        noisy: embeddings of the held-out samples after noise of a strength on the raw samples.
        other_encoder: embeddings of the held-out samples by another encoder.
        foreign: embeddings (m, d') or (m, t, d') of another target's samples.
    """

    train: Sequence[Pair]
    shots: int
    seed: int
    groups: Sequence[str]
    noisy: Callable[[float, np.random.Generator], np.ndarray]
    other_encoder: Callable[[], np.ndarray]
    foreign: Callable[[], np.ndarray]


Change = Callable[[Scene, float, Surroundings, np.random.Generator], Scene]


@dataclass(frozen=True)
class Condition:
    """One kind of trouble.

    Attributes:
        stage: "support": the adaptation is made anew; "test": it is that of the plain scene; "attack": also, and
            `semi.study.attack` moves the test samples by the gradient.
        strength: what the number means, for people.
        captions: whether the captions are still true of the samples, so that a loss means something.
    """

    stage: Literal["support", "test", "attack"]
    strength: str
    change: Change
    captions: bool = True


def plain(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """Nothing is changed."""
    return scene


def shift(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """A share of the groups is left out of the support set, and the test samples are of those groups alone.

    A group is a value of one slot, or a combination of values of several: then the values are seen, the combination is
    not.
    """
    if not around.groups:
        raise DoesNotApplyError("the target names no `groups`")
    found = sorted({group for pair in around.train if (group := _group(pair, around.groups))})
    hidden = {found[i] for i in generator.permutation(len(found))[: max(1, round(strength * len(found)))]}
    pool = [p for p in around.train if (group := _group(p, around.groups)) and group not in hidden]
    kept = [i for i, pair in enumerate(scene.test) if _group(pair, around.groups) in hidden]
    if len(pool) < around.shots or len(kept) < FEWEST_TEST:
        raise DoesNotApplyError(f"{len(pool)} samples of seen groups for the shots, {len(kept)} of unseen to test")
    support = draw_shots(pool, around.shots, around.seed)
    return Scene(support, [scene.test[i] for i in kept], [scene.rows[i] for i in kept])


def noise(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """Gaussian noise on the test embeddings, `strength` deviations."""
    x = _embeddings(scene.test)
    return scene.with_test(x + strength * deviation(scene) * generator.standard_normal(x.shape))


def raw_noise(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """Gaussian noise on the raw samples, where they are arrays, in units of each channel's own deviation."""
    return scene.with_test(around.noisy(strength, generator))


def drift(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """An offset of fixed direction that grows from nothing to `strength` deviations over the test samples."""
    x = _embeddings(scene.test)
    direction = generator.choice([-1.0, 1.0], x.shape[-1]) * deviation(scene)
    ramp = np.linspace(0, 1, len(x)).reshape(-1, *[1] * (x.ndim - 1))
    return scene.with_test(x + strength * ramp * direction)


def dropout(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """A share of the numbers of every test embedding is zero, always the same ones: dead channels."""
    x = _embeddings(scene.test).copy()
    x[..., generator.permutation(x.shape[-1])[: round(strength * x.shape[-1])]] = 0
    return scene.with_test(x)


def mislabelled(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """A share of the support pairs has the caption of another of them."""
    order = generator.permutation(len(scene.support))[: round(strength * len(scene.support))]
    if len(order) < 2:
        return scene
    support = list(scene.support)
    for i, other in zip(order, np.roll(order, 1), strict=True):
        stranger = scene.support[other]
        support[i] = replace(support[i], caption=stranger.caption, attributes=stranger.attributes)
    return replace(scene, support=support)


def duplicated(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """A share of the support pairs is overwritten with copies of the others."""
    k = len(scene.support)
    order = generator.permutation(k)
    copies = min(round(strength * k), k - 2)
    support = list(scene.support)
    for place, i in enumerate(order[:copies]):
        support[i] = scene.support[order[copies + place % (k - copies)]]
    return replace(scene, support=support)


def reordered(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """The support pairs in another order; the strength numbers the orders."""
    order = np.random.default_rng([around.seed, round(strength)]).permutation(len(scene.support))
    return replace(scene, support=[scene.support[i] for i in order])


def warp(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """A non-isometric encoder, for support and test: a random smooth map is added, `strength` times as large as x.

    x + strength * g(x), g a network of 64 tanh units on x in units of its deviation, scaled to the support's deviation.
    """
    spread, centre = deviation(scene), _embeddings(scene.support).mean(axis=_leading(scene))
    d = len(spread)
    inner, outer = generator.standard_normal((d, 64)) / np.sqrt(d), generator.standard_normal((64, d)) / 8
    safe = np.where(spread > 0, spread, 1.0)

    def warped(x: np.ndarray) -> np.ndarray:
        moved: np.ndarray = x + strength * spread * (np.tanh(2 * ((x - centre) / safe) @ inner) @ outer)
        return moved

    support = _with(scene.support, warped(_embeddings(scene.support)))
    return replace(scene, support=support).with_test(warped(_embeddings(scene.test)))


def swap(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """Test samples by a rotated encoder: a share of the numbers is turned about the support's mean at random."""
    x, centre = _embeddings(scene.test), _embeddings(scene.support).mean(axis=_leading(scene))
    chosen = generator.permutation(x.shape[-1])[: max(2, round(strength * x.shape[-1]))]
    rotation, _ = np.linalg.qr(generator.standard_normal((len(chosen), len(chosen))))
    turned = (x - centre).astype(float)
    turned[..., chosen] = turned[..., chosen] @ rotation
    return scene.with_test(turned + centre)


def other_encoder(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """Test samples by another encoder of the same width."""
    return scene.with_test(around.other_encoder())


def foreign(scene: Scene, strength: float, around: Surroundings, generator: np.random.Generator) -> Scene:
    """Samples of another target, projected to the width at random, with the support's mean and total variance."""
    x, support = around.foreign(), _embeddings(scene.support)
    x = x.mean(axis=1) if x.ndim == 3 else x
    projected = (x - x.mean(axis=0)) @ generator.standard_normal((x.shape[1], support.shape[-1]))
    scale = np.sqrt(np.square(deviation(scene)).sum() / max(projected.var(axis=0).sum(), 1e-12))
    moved = projected * scale + support.mean(axis=_leading(scene))
    moved = moved[np.arange(len(scene.test)) % len(moved)]
    if support.ndim == 3:
        moved = np.repeat(moved[:, None], support.shape[1], axis=1)
    return scene.with_test(moved)


CONDITIONS: dict[str, Condition] = {
    "shift": Condition("support", "share of the groups that the support set lacks", shift),
    "noise": Condition("test", "deviations of the support", noise),
    "raw noise": Condition("test", "deviations of the raw channel", raw_noise),
    "drift": Condition("test", "deviations of the support, at the end", drift),
    "dropout": Condition("test", "share of the numbers that are zero", dropout),
    "mislabelled": Condition("support", "share of the support pairs", mislabelled),
    "duplicated": Condition("support", "share of the support pairs", duplicated),
    "reordered": Condition("support", "number of the order", reordered),
    "warp": Condition("support", "size of the warp beside the deviation", warp),
    "swap": Condition("test", "share of the numbers that are rotated", swap),
    "other encoder": Condition("test", "none: 1", other_encoder),
    "fgsm": Condition("attack", "largest change, deviations of the support", plain),
    "pgd": Condition("attack", f"the same, in {PGD_STEPS} steps", plain),
    "foreign": Condition("test", "none: 1", foreign, captions=False),
}
"""By the names that configurations use."""


def deviation(scene: Scene) -> np.ndarray:
    """(d,), of each number over the support set."""
    found: np.ndarray = _embeddings(scene.support).std(axis=_leading(scene))
    return found


def _leading(scene: Scene) -> tuple[int, ...]:
    """Every axis of the support's embeddings but the last."""
    return tuple(range(scene.support[0].sample.ndim))


def _embeddings(pairs: Sequence[Pair]) -> np.ndarray:
    return np.stack([pair.sample for pair in pairs]).astype(np.float64)


def _with(pairs: Sequence[Pair], embeddings: np.ndarray) -> list[Pair]:
    return [replace(pair, sample=row) for pair, row in zip(pairs, embeddings.astype(np.float32), strict=True)]


def _group(pair: Pair, slots: Sequence[str]) -> tuple[str, ...] | None:
    """The pair's values of the slots, None where one is missing."""
    values = [pair.attributes.get(slot) for slot in slots]
    return tuple(value for value in values if value is not None) if all(values) else None
