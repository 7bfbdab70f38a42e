from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from semi.foundation import Foundation, FoundationConfig
from semi.hypernetwork import RidgeHyperNetwork
from semi.pairs import Pair
from semi.projector import Projector
from semi.training.loop import Schedule, train

COLOURS, THINGS = ("red", "green", "blue"), ("cat", "dog", "house", "car")
CAPTIONS = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]


@pytest.fixture(scope="module")
def reader(foundation_folder: Path, tiny_text_site: Path) -> Foundation:
    """A foundation whose projector was trained on text embeddings: its soft tokens say something."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tiny_text_site)
        foundation = Foundation.load(foundation_folder, device="cpu")
    model, texts = foundation.language_model, foundation.embed_texts(CAPTIONS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        projector = Projector(16, 64, 32, soft_tokens=2)

    def batch_loss(g: torch.Generator) -> torch.Tensor:
        soft = projector.soft(texts + 0.1 * torch.randn(texts.shape, generator=g))
        nats, tokens = model.caption_loss(soft, ["Describe this."] * len(CAPTIONS), CAPTIONS)
        return nats.sum() / tokens.sum()

    train(projector, batch_loss, Schedule(steps=60, lr=0.03, warmup=5))
    config = FoundationConfig(model.source(), foundation.config.text_encoder)
    return Foundation(config, model, foundation.text_encoder, projector, RidgeHyperNetwork(projector, d_correction=8))


def pairs(n: int = 32, seed: int = 0) -> list[Pair]:
    maps = np.random.default_rng(1).standard_normal((7, 20))
    g = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        i, j = int(g.integers(3)), int(g.integers(4))
        vector = maps[i] + maps[3 + j] + 0.05 * g.standard_normal(20)
        words = {"colour": COLOURS[i], "thing": THINGS[j]}
        found.append(Pair(vector.tolist(), " ".join(words.values()), attributes=words))
    return found


def test_left_out_pairs_are_told_apart_above_chance(reader: Foundation) -> None:
    found = reader.adapt("vectors", pairs(), steps=0).record.metrics["diagnosis"]
    assert found["protocol"].startswith("leave-one-out")
    assert found["chance"] == pytest.approx(1 / 8)
    assert found["accuracy"] > 3 * found["chance"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_planted_mislabel_is_among_the_doubtful_pairs(reader: Foundation, seed: int) -> None:
    given = pairs(seed=seed)
    wrong = next(c for c in CAPTIONS if not set(c.split()) & set(given[9].caption.split()))
    given[9] = replace(given[9], caption=wrong)
    found = reader.adapt("vectors", given, steps=0, seed=seed).record.metrics["diagnosis"]
    named = [row["caption"] for row in found["worst"]]
    assert wrong in named
    assert len(named) <= 3
    assert all(row["likelier"] != row["caption"] and row["margin"] > 0 for row in found["worst"])


@pytest.mark.parametrize("method", ["semi", "lora"])
def test_a_left_out_pair_is_not_seen(reader: Foundation, method: str) -> None:
    """Noise with captions by chance: whoever looks at a pair's own caption tells it; whoever does not, cannot."""
    g = np.random.default_rng(5)
    noise = [Pair(g.standard_normal(40).tolist(), CAPTIONS[int(g.integers(12))]) for _ in range(32)]
    found = reader.adapt("vectors", noise, method=method, steps=0 if method == "semi" else 8).record.metrics[
        "diagnosis"
    ]
    assert found["accuracy"] <= 0.4


def test_classes_with_too_few_shots_are_named(reader: Foundation) -> None:
    given = [*pairs(), Pair([1.0] * 20, "two cars", attributes={"thing": "two cars"})]
    found = reader.adapt("vectors", given, steps=0).record.metrics["diagnosis"]
    assert {"slot": "thing", "value": "two cars", "shots": 1} in found["few_shots"]
    assert all(row["shots"] < 3 for row in found["few_shots"])


def test_what_more_pairs_would_bring(reader: Foundation) -> None:
    """Right captions bring more with every pair than wrong ones do, and the sentence says what the numbers say."""
    given = pairs(48)
    wrong = [replace(pair, caption=other.caption) for pair, other in zip(given, given[1:] + given[:1], strict=True)]
    falls = []
    for support in (given, wrong):
        more = reader.adapt("vectors", support, steps=0).record.metrics["diagnosis"]["more"]
        assert more["shots"] == [12, 24]
        falls.append(more["loss"][0] - more["loss"][1])
        assert ("would bring up to" if falls[-1] > 0.01 else "did not fall") in more["sentence"]
    assert falls[0] > falls[1]
    assert falls[0] > 0.05


def test_the_loss_is_that_of_pairs_with_others_shown_as_in_use(reader: Foundation) -> None:
    found = {n: reader.adapt("vectors", pairs(12), steps=0, examples=n).record.metrics["diagnosis"] for n in (0, 3)}
    assert [diagnosis["examples"] for diagnosis in found.values()] == [0, 3]
    assert found[0]["loss"] != found[3]["loss"]
    assert found[0]["accuracy"] == found[3]["accuracy"]  # captions are told apart by the sample alone
