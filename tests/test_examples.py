"""Pairs shown beside a sample, from adaptation to the saved folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semi.chat import Conversation
from semi.errors import InputError
from semi.evaluation import evaluate
from semi.examples import Examples
from semi.foundation import Foundation
from semi.integration import Integration
from semi.methods import EXAMPLES, METHODS, READERS
from semi.modality import Encoder
from semi.pairs import Pair
from semi.retrieval import Retrieval
from semi.settings import Settings
from semi.vectors import Vectors

QUICK: dict[str, Any] = {"steps": 2, "diagnose": False}


def pairs(n: int, seed: int = 0) -> list[Pair]:
    """Vectors near one of four directions, each with a word of its own."""
    g = np.random.default_rng(seed)
    words = ("red", "green", "blue", "white")
    return [Pair((np.eye(4, 10)[i % 4] + 0.05 * g.standard_normal(10)).tolist(), words[i % 4]) for i in range(n)]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


HELD = [Pair(np.array(p.sample), p.caption) for p in pairs(5, seed=9)]


def test_the_nearest_pair_stands_last() -> None:
    g = torch.Generator().manual_seed(0)
    x, texts = torch.randn(6, 8, generator=g), torch.randn(6, 4, generator=g)
    captions = [f"caption {i}" for i in range(6)]
    examples = Examples(3, Retrieval.fit(x, texts), torch.randn(6, 2, 5), ["Describe."] * 6, captions)
    nearest = Retrieval.fit(x, texts).nearest(x, 3)
    for row, turns in zip(nearest.tolist(), examples.before(x), strict=True):
        assert [turn.answer for turn in turns] == [captions[i] for i in reversed(row)]
        assert all(torch.equal(turn.soft, examples.soft[i]) for turn, i in zip(turns, reversed(row), strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_integration_shows_the_same_pairs(tiny_foundation: Foundation, tmp_path: Path, method: str) -> None:
    options = QUICK | {"method": method, "examples": 3}
    model = tiny_foundation.adapt("vectors", pairs(12), out=tmp_path / "a", **options)
    tiny_foundation.adapt("vectors", pairs(12), out=tmp_path / "b", **options)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    loaded = Integration.load(tmp_path / "a", language_model=tiny_foundation.language_model)
    assert model.record.settings["examples"] == 3
    x = model.embed([p.sample for p in HELD])
    shown, again = model.shown(x), loaded.shown(x)
    assert shown is not None
    assert again is not None
    for mine, theirs in zip(shown, again, strict=True):
        assert [t.answer for t in mine] == [t.answer for t in theirs]
        assert len(mine) == 3
    assert evaluate(model, HELD) == evaluate(loaded, HELD)


def test_what_is_shown_changes_the_loss_and_no_example_is_the_plain_one(tiny_foundation: Foundation) -> None:
    losses = [
        evaluate(tiny_foundation.adapt("vectors", pairs(12), **QUICK | {"steps": 0, "examples": n}), HELD).loss
        for n in (0, 2)
    ]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("method", METHODS)
def test_readers_choose_on_the_pairs_and_baselines_show_none(tiny_foundation: Foundation, method: str) -> None:
    model = tiny_foundation.adapt("vectors", pairs(12), method=method, **QUICK)
    chosen = model.record.settings["examples"]
    assert chosen in (EXAMPLES if method in READERS else (0,))
    assert (model.examples is None) == (chosen == 0)
    few = tiny_foundation.adapt("vectors", pairs(12), method=method, shots=4, **QUICK)
    assert few.examples is None  # too few to choose on


def test_more_examples_than_pairs_are_all_of_them(tiny_foundation: Foundation) -> None:
    model = tiny_foundation.adapt("vectors", pairs(4), examples=50, **QUICK)
    shown = model.shown(model.embed([p.sample for p in HELD]))
    assert shown is not None
    assert {len(turns) for turns in shown} == {4}


class Three:
    """Three embeddings a vector."""

    id, width = "vectors/three@1", 10

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        return np.stack([np.stack([s, s + 1, 2 * s]) for s in samples]).astype(np.float32)


class Thirds(Vectors):
    def encoder(self, name: str | None = None) -> Encoder:
        return Three()


def test_sequences_of_embeddings_are_shown_whole(tiny_foundation: Foundation) -> None:
    model = tiny_foundation.adapt(Thirds(), pairs(12), examples=2, **QUICK)
    shown = model.shown(model.embed([HELD[0].sample]))
    assert shown is not None
    assert shown[0][0].soft is not None
    tokens = 3 * tiny_foundation.projector.soft_tokens
    assert shown[0][0].soft.shape == (tokens, tiny_foundation.language_model.d_lm)
    assert evaluate(model, HELD, texts=0).n == len(HELD)


def test_a_conversation_begins_with_what_is_shown(tiny_foundation: Foundation) -> None:
    model = tiny_foundation.adapt("vectors", pairs(12), examples=2, **QUICK)
    talk = Conversation(model, max_new_tokens=4)
    sample = pairs(3, seed=4)[0].sample
    talk.add(sample)
    assert talk.say(model.record.instruction) == model.describe(sample, max_new_tokens=4)


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(InputError, match="examples is too small"):
        Settings(examples=-1)
