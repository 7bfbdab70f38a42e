"""Each condition does what it says, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi.evaluation import evaluate
from semi.foundation import Foundation
from semi.pairs import Pair
from semi.study.attack import attack
from semi.study.conditions import CONDITIONS, DoesNotApplyError, Scene, Surroundings, deviation
from semi.study.data import embedded_modality, mapped, with_embeddings
from semi.study.measure import make
from tests.study.conftest import WIDTH, toy_pairs

Place = Callable[..., tuple[Scene, Surroundings]]
strengths = st.floats(0.05, 1)


def pairs(n: int, seed: int, *, parts: int = 0) -> list[Pair]:
    """Toy pairs whose samples are arrays, (10,) or (parts, 10)."""
    found = toy_pairs(n, seed)
    x = np.array([pair.sample for pair in found], np.float32)
    if parts:
        x = np.stack([x + part for part in range(parts)], axis=1)
    return with_embeddings(found, x)


def scene(*, parts: int = 0, groups: tuple[str, ...] = ("colour", "thing")) -> tuple[Scene, Surroundings]:
    test = pairs(30, 1, parts=parts)
    train = pairs(80, 0, parts=parts)

    def foreign() -> np.ndarray:
        return np.random.default_rng(3).standard_normal((7, 23)) * 50 + 9

    def nothing(*_: object) -> np.ndarray:
        raise AssertionError

    around = Surroundings(train, 12, 4, groups, nothing, nothing, foreign)
    return Scene(train[:12], test, list(range(30))), around


def changed(name: str, strength: float, there: tuple[Scene, Surroundings] | None = None, seed: int = 0) -> Scene:
    before, around = there or scene()
    return CONDITIONS[name].change(before, strength, around, np.random.default_rng(seed))


def x(found: list[Pair]) -> np.ndarray:
    return np.stack([pair.sample for pair in found]).astype(float)


@pytest.mark.parametrize("name", [name for name in CONDITIONS if name not in ("raw noise", "other encoder")])
@pytest.mark.parametrize("parts", [0, 3])
def test_shapes_stay_the_scene_stays_and_the_same_seed_gives_the_same(name: str, parts: int) -> None:
    there = scene(parts=parts)
    copies = x(there[0].support).copy(), x(there[0].test).copy()
    first, second = changed(name, 0.5, there), changed(name, 0.5, there)
    for found in (first.support, first.test):
        assert x(found).shape[1:] == x(there[0].test).shape[1:]
        assert all(np.isfinite(pair.sample).all() and pair.sample.dtype == np.float32 for pair in found)
    np.testing.assert_array_equal(x(first.test), x(second.test))
    np.testing.assert_array_equal(x(first.support), x(second.support))
    np.testing.assert_array_equal(copies[0], x(there[0].support))
    np.testing.assert_array_equal(copies[1], x(there[0].test))
    assert len(first.support) == 12
    assert len(first.rows) == len(first.test)
    if CONDITIONS[name].stage != "support":
        assert first.support is there[0].support
    if CONDITIONS[name].captions and name != "shift":
        assert [pair.caption for pair in first.test] == [pair.caption for pair in there[0].test]


@given(strengths)
def test_no_group_of_the_test_is_in_the_support_after_a_shift(strength: float) -> None:
    try:
        found = changed("shift", strength)
    except DoesNotApplyError:
        return
    seen, asked = ({(p.attributes["colour"], p.attributes["thing"]) for p in ps} for ps in (found.support, found.test))
    assert not seen & asked
    assert [pair.caption for pair in found.test] == [scene()[0].test[i].caption for i in found.rows]


@pytest.mark.parametrize("groups", [(), ("colour", "place")])
def test_a_shift_needs_groups(groups: tuple[str, ...]) -> None:
    with pytest.raises(DoesNotApplyError):
        changed("shift", 0.5, scene(groups=groups))


def test_noise_is_in_deviations_of_the_support() -> None:
    before, around = scene()
    many = replace(before, test=before.test * 100)
    moved = x(changed("noise", 0.7, (many, around)).test) - x(many.test)
    np.testing.assert_allclose(moved.std(axis=0), 0.7 * deviation(before), rtol=0.1)


def test_a_drift_grows_from_nothing_to_its_strength() -> None:
    before, _ = scene()
    moved = np.abs(x(changed("drift", 2.0).test) - x(before.test)) / deviation(before)
    np.testing.assert_allclose(moved, np.linspace(0, 2, 30)[:, None] * np.ones(WIDTH), atol=1e-5)


@given(st.integers(1, WIDTH))
def test_dropout_silences_the_same_share_of_every_sample(dead: int) -> None:
    found = x(changed("dropout", dead / WIDTH).test)
    assert (found == 0).all(axis=0).sum() == dead
    alive = ~(found == 0).all(axis=0)
    np.testing.assert_array_equal(found[:, alive], x(scene()[0].test)[:, alive])


@given(strengths)
def test_mislabelling_moves_that_share_of_the_captions_among_the_support(share: float) -> None:
    before, around = scene()
    own = replace(before, support=[replace(pair, caption=f"no. {i}") for i, pair in enumerate(before.support)])
    after = changed("mislabelled", share, (own, around)).support
    wrong = sum(a.caption != b.caption for a, b in zip(own.support, after, strict=True))
    assert wrong == (round(share * 12) if round(share * 12) > 1 else 0)
    assert sorted(pair.caption for pair in after) == sorted(pair.caption for pair in own.support)
    np.testing.assert_array_equal(x(after), x(own.support))


@given(strengths)
def test_duplicates_replace_that_share_of_the_support(share: float) -> None:
    after = changed("duplicated", share).support
    assert len({pair.sample.tobytes() for pair in after}) == max(2, 12 - round(share * 12))


@given(st.integers(1, 5))
def test_another_order_holds_the_same_pairs(number: int) -> None:
    before, after = scene()[0].support, changed("reordered", number).support
    assert sorted(map(id, (p.sample for p in before))) != list(map(id, (p.sample for p in after)))
    np.testing.assert_array_equal(np.sort(x(before), axis=0), np.sort(x(after), axis=0))


@given(st.floats(0.2, 1))
def test_a_swap_keeps_distances_from_the_support_mean_but_not_places(share: float) -> None:
    before, _ = scene()
    after, centre = x(changed("swap", share).test), x(before.support).mean(axis=0)
    lengths = [np.linalg.norm(rows - centre, axis=1) for rows in (x(before.test), after)]
    np.testing.assert_allclose(*lengths, rtol=1e-4)
    assert (np.abs(after - x(before.test)).max(axis=0) > 1e-3).sum() == max(2, round(share * WIDTH))


def test_a_warp_is_one_map_of_support_and_test_and_no_isometry() -> None:
    before, around = scene()
    same = replace(before, test=before.support, rows=list(range(12)))
    after = changed("warp", 0.5, (same, around))
    np.testing.assert_array_equal(x(after.support), x(after.test))
    distances = [np.linalg.norm(rows[:1] - rows[1:], axis=1) for rows in (x(before.support), x(after.support))]
    assert not np.allclose(*distances, rtol=0.05)


def test_foreign_samples_have_the_mean_and_variance_of_the_support() -> None:
    before, around = scene()
    seven = replace(before, test=before.test[:7], rows=before.rows[:7])
    after = x(changed("foreign", 1, (seven, around)).test)
    np.testing.assert_allclose(after.mean(axis=0), x(before.support).mean(axis=0), atol=1e-4)
    assert after.var(axis=0).sum() == pytest.approx(x(before.support).var(axis=0).sum(), rel=1e-4)


@pytest.mark.parametrize("examples", [0, 2])
def test_attacks_stay_within_their_radius_and_raise_the_loss(tiny_foundation: Foundation, examples: int) -> None:
    before, _ = scene()
    modality = embedded_modality("toy", "Describe this.", "toy@1", WIDTH)
    integration = make(tiny_foundation, modality, before.support, {"steps": 0, "examples": examples}, 0).integration
    radius = 0.2

    def losses(found: Scene) -> np.ndarray:
        return np.array(evaluate(integration, found.test, texts=0).nats)

    once, often = (attack(integration, before, radius, steps=steps) for steps in (1, 5))
    for found in (once, often):
        moved = np.abs(x(found.test) - x(before.test))
        assert (moved <= radius * deviation(before) * 1.001 + 1e-6).all()
    assert losses(once).mean() > losses(before).mean()
    assert (losses(often) >= losses(once) - 1e-4).all()
    assert losses(often).mean() > losses(once).mean()


@given(st.integers(1, 40))
def test_another_width_keeps_distances_or_projects(width: int) -> None:
    x = np.random.default_rng(0).standard_normal((5, 2, WIDTH)).astype(np.float32)
    found = mapped(x, width)
    assert found.shape == (5, 2, width)
    assert found.dtype == np.float32
    lengths, were = (np.linalg.norm(rows[1:] - rows[:1], axis=-1) for rows in (found, x))
    if width >= WIDTH:
        np.testing.assert_allclose(lengths, were, rtol=1e-4)
    assert (lengths <= were * 1.0001).all()
    np.testing.assert_array_equal(mapped(x[:3], width), found[:3])
    assert mapped(x, None) is x
