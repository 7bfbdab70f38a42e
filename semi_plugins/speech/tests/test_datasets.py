"""Captions and splits of the data sets."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from semi.errors import InputError
from semi.splits import SPLITS

from semi_plugin_speech.assets import KTUBERLING, TUXPAINT
from semi_plugin_speech.captions import LANGUAGES, caption, voice_of
from semi_plugin_speech.ktuberling import KTuberling, spoken
from semi_plugin_speech.recorded import RecordedWords
from semi_plugin_speech.tuxpaint import TuxPaintSpeech, clean

BOTH = [
    pytest.param(dataset, size, id=dataset.name, marks=pytest.mark.skipif(not asset.present(), reason="not fetched"))
    for dataset, size, asset in ((TuxPaintSpeech, 7215, TUXPAINT), (KTuberling, 1490, KTUBERLING))
]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("A frog.", "a frog"),
        ("Hard candy—yum!", "hard candy, yum"),
        ("A “Granny Smith” apple.", "a granny smith apple"),
        ("\u2013 Because a brain is a terrible thing to waste…", ""),
        (" ".join(["word"] * 13), ""),
        ("", ""),
    ],
)
def test_words_of_stamps(line: str, words: str) -> None:
    assert clean(line) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("xmas_comet", "comet"),
        ("butterflies_purple_shape", "purple shape"),
        ("pizzeria_onion2", "onion"),
        ("moon_fallingstar", "falling star"),
        ("tux-apple", "apple"),
        ("tux-huh", ""),
        ("prince-tux", ""),
        ("eye", "eye"),
    ],
)
def test_words_behind_names(name: str, words: str) -> None:
    assert spoken(name) == words


@given(st.text("abc/", min_size=1), st.sampled_from(sorted(LANGUAGES.values())), st.sampled_from((None, "low voice")))
def test_a_caption_tells_its_slots(key: str, language: str, voice: str | None) -> None:
    text, slots = caption(key, "a frog", language, voice)
    assert (text, slots) == caption(key, "a frog", language, voice)
    assert "a frog" in text
    assert all(value in text for value in slots.values())
    assert slots["language"] == language
    assert voice is not None or "voice" not in text


def test_phrasings_vary() -> None:
    texts = {caption(str(key), "a frog", "Greek", "high voice")[0] for key in range(100)}
    assert len(texts) == 10


@pytest.mark.parametrize(("hertz", "voice"), [(110, "low voice"), (240, "high voice"), (175, None)])
def test_voices_by_their_pitch(hertz: int, voice: str | None) -> None:
    time = np.arange(16_000) / 16_000
    tone = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 8))
    assert voice_of(np.asarray(tone), 16_000) == voice
    assert voice_of(np.random.default_rng(0).normal(size=16_000), 16_000) is None


@pytest.mark.assets
@pytest.mark.parametrize(("dataset", "size"), BOTH)
def test_splits_share_nothing_that_is_said(dataset: type[RecordedWords], size: int) -> None:
    by_split = {split: dataset().pairs(split) for split in SPLITS}
    assert sum(map(len, by_split.values())) == size
    assert 0.75 < len(by_split["train"]) / size < 0.9
    said: dict[str, str] = {}
    contents: dict[bytes, str] = {}
    for split, pairs in by_split.items():
        for pair in pairs:
            assert isinstance(pair.sample, Path)  # so that hashes of pairs cover the recording
            assert all(value in pair.caption for value in pair.attributes.values())
            key = re.sub(r"[\d_-]+", " ", pair.sample.name.partition("_desc")[0].lower()).strip()
            if dataset is TuxPaintSpeech and key:
                assert said.setdefault(key, split) == split
    for split in ("validation", "test"):
        for pair in by_split[split][:50]:
            contents[pair.sample.read_bytes()] = split
    assert not any(pair.sample.read_bytes() in contents for pair in by_split["train"])
    languages = {pair.attributes["language"] for pair in by_split["test"]}
    assert languages <= {pair.attributes["language"] for pair in by_split["train"]}


@pytest.mark.parametrize("dataset", [TuxPaintSpeech, KTuberling])
def test_unknown_split_names_the_known(dataset: type[RecordedWords]) -> None:
    with pytest.raises(InputError) as error:
        dataset().pairs("dev")
    assert "validation" in str(error.value)
