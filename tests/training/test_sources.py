from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semi.encoding import encode
from semi.pairs import Pair
from semi.plugins import load_modality
from semi.text_space import TextSpace
from semi.training.config import SourceConfig
from semi.training.sources import Family, Source, draw_episode, embed_captions, load_families, shares
from semi.vectors import Vectors


class Letters:
    """Embeds a text as its letter counts; counts how many texts it was given."""

    id = "letters@1"
    width = 26

    def __init__(self) -> None:
        self.seen = 0

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        self.seen += len(samples)
        return np.array([[s.count(chr(97 + i)) for i in range(26)] for s in samples], np.float32)


def quiet(step: int, note: str) -> None:
    """Progress that nobody watches."""


def source(n: int, d: int = 5) -> Source:
    return Source("s", torch.randn(n, d), torch.randn(n, 26), [str(i) for i in range(n)], "Describe this.")


@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=8), extra=st.integers(0, 60))
@settings(max_examples=200)
def test_every_family_has_its_share_and_the_batch_is_full(weights: list[float], extra: int) -> None:
    families = [Family([], [], w) for w in weights]
    rows = len(weights) + extra
    counts = shares(families, rows)
    assert sum(counts) == rows
    assert min(counts) >= 1
    heaviest = max(range(len(weights)), key=weights.__getitem__)
    assert counts[heaviest] >= rows * weights[heaviest] / sum(weights) - len(weights)


@given(n=st.integers(4, 40), shots=st.integers(0, 50), queries=st.integers(1, 50), seed=st.integers(0, 999))
@settings(max_examples=60)
def test_support_and_queries_are_disjoint_and_never_empty(n: int, shots: int, queries: int, seed: int) -> None:
    episode = draw_episode(source(n), shots, queries, torch.Generator().manual_seed(seed))
    support, asked = set(episode.support.tolist()), set(episode.queries.tolist())
    assert not support & asked
    assert len(support) == min(shots, n - len(asked)) == len(episode.support)
    assert 1 <= len(asked) == min(queries, n // 2)
    assert episode.captions == [str(i) for i in episode.queries.tolist()]
    assert torch.equal(episode.tensors[2], episode.source.embeddings[episode.queries])


def test_each_distinct_caption_is_embedded_once_and_kept(tmp_path: Path) -> None:
    captions = ["a cat", "a dog", "a cat", "b"] * 3
    first, again = Letters(), Letters()
    texts = embed_captions(captions, first, tmp_path, quiet)
    assert first.seen == 3
    np.testing.assert_array_equal(texts.numpy(), Letters().encode(captions))
    assert torch.equal(embed_captions(captions, again, tmp_path, quiet), texts)
    assert again.seen == 0
    embed_captions([*captions, "new"], again, tmp_path, quiet)
    assert again.seen == 4


def vectors(n: int) -> list[Pair]:
    g = np.random.default_rng(0)
    return [Pair(g.standard_normal(6).astype(np.float32), f"thing {i}", "Say it.") for i in range(n)]


def test_an_encoded_folder_is_split_and_keeps_its_pairing(tmp_path: Path) -> None:
    pairs = vectors(60)
    encode(Vectors(), Vectors().encoder(), pairs, tmp_path / "e")
    (family,) = load_families(
        [SourceConfig(encoded=tmp_path / "e", weight=2)], TextSpace(Letters(), None), tmp_path, quiet
    )
    (train,), (held,) = family.train, family.validation
    assert (len(train), len(held), family.weight) == (54, 6, 2)
    assert not set(train.captions) & set(held.captions)
    assert train.instruction == "Say it."
    assert not train.is_text
    where = {pair.caption: pair.sample for pair in pairs}
    for part in (train, held):
        for caption, x, text in zip(part.captions, part.embeddings, part.texts, strict=True):
            np.testing.assert_array_equal(x.numpy(), where[caption])
            np.testing.assert_array_equal(text.numpy(), Letters().encode([caption])[0])


def test_text_that_is_its_own_caption_is_not_embedded_again(tiny_text: str, tmp_path: Path) -> None:
    modality = load_modality(tiny_text)
    texts = [Pair(f"thing number {i}", f"thing number {i}") for i in range(20)]
    encode(modality, modality.encoder(), texts, tmp_path / "e")
    space, config = TextSpace(modality.encoder(), None), SourceConfig(encoded=tmp_path / "e", weight=1)
    (family,) = load_families([config], space, tmp_path, quiet)
    assert family.train[0].is_text
    assert family.validation[0].is_text
    assert not list(tmp_path.glob("texts-*"))


def test_whole_procedural_modalities_are_held_out(tmp_path: Path) -> None:
    config = SourceConfig(procedural=12, samples=6, first_seed=100, weight=1)
    (family,) = load_families([config], TextSpace(Letters(), None), tmp_path, quiet)
    assert [s.name for s in family.validation] == ["procedural-100"]
    assert [s.name for s in family.train] == [f"procedural-{i}" for i in range(101, 112)]
    assert {len(s) for s in family.train} == {6}
    for s in family.train:
        np.testing.assert_array_equal(s.texts.numpy(), Letters().encode(s.captions))


def test_framed_captions_are_a_modality_each_or_one_text(tmp_path: Path) -> None:
    framed = SourceConfig(procedural=4, framed=True, samples=8, weight=1)
    text = SourceConfig(procedural=4, framed=True, as_text=True, samples=8, weight=1)
    each, one = load_families([framed, text], TextSpace(Letters(), None), tmp_path, quiet)
    assert [s.name for s in (*each.validation, *each.train)] == [f"framed-{i}" for i in range(4)]
    (held,), (train,) = one.validation, one.train
    assert held.is_text
    assert train.is_text
    assert held.captions + train.captions == [c for s in (*each.validation, *each.train) for c in s.captions]


def test_framed_is_of_procedural_modalities() -> None:
    with pytest.raises(ValueError, match="are of `procedural`"):
        SourceConfig(encoded=Path("somewhere"), framed=True, weight=1)
