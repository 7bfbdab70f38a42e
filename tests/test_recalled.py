"""Recalled captions, from adaptation to the saved folder and the text that is written."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semi.candidates import expected_f1
from semi.errors import ArtifactError
from semi.evaluation import evaluate
from semi.foundation import Foundation
from semi.integration import Integration
from semi.methods import METHODS, READERS
from semi.pairs import Pair
from semi.recall import Constants, Recall
from semi.streams.composing import Composer, Request

QUICK: dict[str, Any] = {"steps": 0, "diagnose": False, "examples": 0}
WORDS = ("red as a rose", "green as grass", "blue as the sky", "white as snow")


def pairs(n: int, seed: int = 0, instruction: str | None = None) -> list[Pair]:
    """Vectors near one of four directions, each with words of its own."""
    g = np.random.default_rng(seed)
    rows = [np.eye(4, 10)[i % 4] + 0.05 * g.standard_normal(10) for i in range(n)]
    return [Pair(row.tolist(), WORDS[i % 4], instruction) for i, row in enumerate(rows)]


HELD = [Pair(np.array(p.sample), p.caption) for p in pairs(6, seed=9)]


def integration(foundation: Foundation, **options: Any) -> Integration:
    return foundation.adapt("vectors", pairs(16), **QUICK | options)


@pytest.mark.parametrize("method", METHODS)
def test_semi_recalls_and_baselines_only_when_told_to(tiny_foundation: Foundation, method: str) -> None:
    assert (integration(tiny_foundation, method=method).recall is not None) == (method in READERS)
    asked = integration(tiny_foundation, method=method, recall=method not in READERS)
    assert (asked.recall is not None) == (method not in READERS)
    assert asked.record.settings["recall"] == (method not in READERS)


def test_captions_that_are_recalled_cost_less(tiny_foundation: Foundation) -> None:
    plain, recalled = (evaluate(integration(tiny_foundation, recall=on), HELD) for on in (False, True))
    assert recalled.loss < plain.loss - 1  # a language model of random weights knows nothing of words
    assert set(recalled.texts) <= set(WORDS)  # and says nothing else than what it recalls


def test_what_was_read_to_choose_how_many_to_show_is_recalled_as_if_read_again(tiny_foundation: Foundation) -> None:
    chosen = tiny_foundation.adapt("vectors", pairs(20), **QUICK | {"examples": None})  # chosen on 16 of them
    given = tiny_foundation.adapt("vectors", pairs(20), **QUICK | {"examples": chosen.record.settings["examples"]})
    assert chosen.recall is not None
    assert given.recall is not None
    assert chosen.recall.constants == given.recall.constants
    assert chosen.recall.loss == pytest.approx(given.recall.loss, abs=1e-5)
    torch.testing.assert_close(chosen.recall.keys, given.recall.keys, rtol=0, atol=1e-5)
    assert torch.equal(chosen.recall.tokens, given.recall.tokens)
    assert torch.equal(chosen.recall.owners, given.recall.owners)


def test_too_few_pairs_are_not_recalled(tiny_foundation: Foundation) -> None:
    assert tiny_foundation.adapt("vectors", pairs(7), **QUICK).recall is None


def test_another_question_is_answered_without(tiny_foundation: Foundation) -> None:
    model = integration(tiny_foundation)
    plain = integration(tiny_foundation, recall=False)
    samples = [pair.sample for pair in HELD]
    assert model.describe(samples, ask="Is it red?") == plain.describe(samples, ask="Is it red?")
    assert model.describe(samples) != plain.describe(samples)


def test_pairs_are_recalled_by_what_was_asked_of_them(tiny_foundation: Foundation) -> None:
    mixed = [*pairs(8, instruction="Colour?"), *pairs(8, seed=1)]
    model = tiny_foundation.adapt("vectors", mixed, **QUICK)
    assert model.recall is not None
    sample = model.embed([HELD[0].sample])[0]
    found, whole = model.recalled(sample, "Colour?"), model.recall
    assert found is not None
    assert len(found.tokens) == len(whole.tokens) / 2
    assert model.recalled(sample, "Shape?") is None


def test_a_saved_integration_recalls_the_same(tiny_foundation: Foundation, tmp_path: Path) -> None:
    model = integration(tiny_foundation, examples=2, out=tmp_path / "a")
    loaded = Integration.load(tmp_path / "a", language_model=tiny_foundation.language_model)
    assert model.recall is not None
    assert loaded.recall is not None
    assert loaded.recall.settings() == model.recall.settings()
    assert evaluate(loaded, HELD) == evaluate(model, HELD)


def test_an_integration_of_before_is_read(tiny_foundation: Foundation, tmp_path: Path) -> None:
    integration(tiny_foundation, recall=False, out=tmp_path / "a")
    described = json.loads((tmp_path / "a" / "integration.json").read_text())
    assert described.pop("recall") is None
    written = json.dumps(described).encode()
    (tmp_path / "a" / "integration.json").write_bytes(written)
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    manifest["files"]["integration.json"] = {"sha256": sha256(written).hexdigest(), "bytes": len(written)}
    (tmp_path / "a" / "manifest.json").write_text(json.dumps(manifest))
    assert Integration.load(tmp_path / "a", language_model=tiny_foundation.language_model).recall is None


def test_what_is_recalled_of_no_pair_is_refused(tiny_foundation: Foundation, tmp_path: Path) -> None:
    model = integration(tiny_foundation)
    assert model.recall is not None
    model.recall = replace(model.recall, owners=model.recall.owners + 1)
    model.save(tmp_path / "a")
    with pytest.raises(ArtifactError, match="fit together"):
        Integration.load(tmp_path / "a", language_model=tiny_foundation.language_model)


def test_one_batch_holds_rows_that_recall_and_rows_that_do_not(tiny_foundation: Foundation) -> None:
    model = integration(tiny_foundation)
    embeddings = model.embed([pair.sample for pair in HELD[:4]])
    asked = [model.record.instruction, "Is it red?", model.record.instruction, "Why?"]
    together = model.texts(embeddings, asked)
    assert together == [model.texts(embeddings[i : i + 1], asked[i : i + 1])[0] for i in range(4)]
    captions = [pair.caption for pair in HELD[:4]]
    nats, _ = model.prefill(embeddings, asked).losses(captions)
    apart = [model.prefill(embeddings[i : i + 1], asked[i : i + 1]).losses(captions[i : i + 1])[0] for i in range(4)]
    torch.testing.assert_close(nats, torch.cat(apart))


def test_the_best_of_several_candidates_is_given(tiny_foundation: Foundation) -> None:
    model = integration(tiny_foundation)
    asked = [model.record.instruction] * len(HELD)
    embeddings = model.embed([pair.sample for pair in HELD])
    for row, one, many in zip(
        embeddings,
        model.texts(embeddings, asked, candidates=1),
        model.texts(embeddings, asked, candidates=7),
        strict=True,
    ):
        own = model.recalled(row, asked[0])
        assert own is not None
        assert set(own.chances) == {word for caption in WORDS for word in caption.split()}
        assert expected_f1(many, own.chances) >= expected_f1(one, own.chances)


def test_candidates_do_not_depend_on_what_else_is_asked_about(
    tiny_foundation: Foundation, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = integration(tiny_foundation)
    assert model.recall is not None
    model.recall = replace(model.recall, constants=Constants(sharpness=1.0, trust=0.0, weight=0.9))
    drawn: list[list[str]] = []
    monkeypatch.setattr("semi.prefill.choose", lambda texts, chances: drawn.append(texts) or texts[0])
    samples = [pair.sample for pair in HELD[:3]]
    model.describe(samples, candidates=40)  # in several turns
    together = list(drawn)
    drawn.clear()
    for sample in samples:
        model.describe([sample], candidates=40)
    assert drawn == together
    assert {len(texts) for texts in drawn} == {40}
    assert all(len(set(texts)) > 1 for texts in drawn)


def test_words_that_only_another_question_is_answered_with_are_not_expected(tiny_foundation: Foundation) -> None:
    colours = pairs(8, instruction="Colour?")
    shapes = [replace(pair, caption=f"shape {i % 4}", instruction="Shape?") for i, pair in enumerate(pairs(8, seed=1))]
    model = tiny_foundation.adapt("vectors", [*colours, *shapes], **QUICK)
    found = model.recalled(model.embed([HELD[0].sample])[0], "Shape?")
    assert found is not None
    assert set(found.chances) == {"shape", "0", "1", "2", "3"}
    assert found.chances["shape"] == pytest.approx(1, abs=0.3)  # half of all captions, and all that are due


def test_when_a_text_is_to_end_nothing_is_chosen(tiny_foundation: Foundation) -> None:
    model = integration(tiny_foundation)
    embeddings = model.embed([pair.sample for pair in HELD[:2]])
    asked = [model.record.instruction] * 2
    first = model.texts(embeddings, asked, max_new_tokens=1, candidates=1)
    assert model.texts(embeddings, asked, stop=lambda: True) == first


def test_an_integration_without_the_words_takes_the_likeliest(tiny_foundation: Foundation) -> None:
    model = integration(tiny_foundation)
    assert model.recall is not None
    samples = [pair.sample for pair in HELD]
    likeliest = model.describe(samples, candidates=1)
    settings = {name: own for name, own in model.recall.settings().items() if name != "vocabulary"}
    model.recall = Recall.restore(settings, model.recall.tensors())
    assert model.describe(samples) == likeliest


def test_streams_recall_where_one_sample_is_asked_about(tiny_foundation: Foundation) -> None:
    model = integration(tiny_foundation)
    rows = [np.asarray(pair.sample, np.float32) for pair in HELD[:2]]
    composer = Composer({"vectors": model})
    own = model.record.instruction
    one, two = composer.write([Request((("vectors", rows[0]),), own), Request((("vectors", rows[1]),), "Why?")], 48)
    assert [one, two] == model.texts(torch.from_numpy(np.stack(rows)), [own, "Why?"], candidates=1)
    both = Request((("vectors", rows[0]), ("vectors", rows[1])), own)
    plain = Composer({"vectors": integration(tiny_foundation, recall=False)})
    assert composer.write([both], 8) == plain.write([both], 8)
