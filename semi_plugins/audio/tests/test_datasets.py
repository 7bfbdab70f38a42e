"""Sound fonts, names, captions and splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from semi.errors import ArtifactError, InputError
from semi.modality import Dataset
from semi.splits import SPLITS
from semi_plugin_speech.sound import Sound

from semi_plugin_audio.captions import caption, measured
from semi_plugin_audio.effects import SoundEffects
from semi_plugin_audio.general_midi import belongs, instrument
from semi_plugin_audio.instruments import Instruments, lasting
from semi_plugin_audio.names import described, group
from semi_plugin_audio.soundfont import DRUMS, SoundFont

RATE = 16_000
BOTH = [
    pytest.param(
        dataset,
        sizes,
        id=dataset.name,
        marks=pytest.mark.skipif(not all(asset.present() for asset in dataset.assets), reason="not fetched"),
    )
    for dataset, sizes in ((Instruments, (820, 118, 303)), (SoundEffects, (309, 35, 30)))
]


@pytest.mark.parametrize("vorbis", [False, True], ids=["sf2", "sf3"])
def test_notes_of_a_sound_font(
    write_font: Callable[..., Path], tmp_path: Path, tone: np.ndarray, *, vorbis: bool
) -> None:
    font = SoundFont(write_font(tmp_path / "tiny.sf3", vorbis=vorbis))
    violin, snare = font.notes  # the viola has no recording of its own
    assert (violin.name, violin.bank, violin.program, violin.loops) == ("Violin A4", 0, 40, True)
    assert (snare.bank, snare.key, snare.loops) == (DRUMS, 38, False)
    signal, rate, loop = font.signal(violin)
    assert (rate, loop) == (RATE, (4000, 7000))
    assert np.corrcoef(signal[: len(tone)], tone)[0, 1] > 0.99
    assert len(font.signal(snare)[0]) == 4000


@pytest.mark.parametrize("size", [0, 20, 40, -30])
def test_a_broken_sound_font_is_named(write_font: Callable[..., Path], tmp_path: Path, size: int) -> None:
    path = write_font(tmp_path / "tiny.sf2")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ArtifactError, match="cannot be read as a sound font"):
        SoundFont(path)


def test_a_loop_lasts_a_second_and_a_long_note_is_cut(tone: np.ndarray) -> None:
    looped = lasting(tone, RATE, (4000, 7000))
    assert len(looped) == RATE
    np.testing.assert_array_equal(looped[7000:10_000], tone[4000:7000])
    assert looped[-1] == 0
    np.testing.assert_array_equal(lasting(tone, RATE, None), tone)
    long = lasting(np.tile(tone, 20), RATE, None)
    assert (len(long), long[-1]) == (3 * RATE, 0)


def test_general_midi() -> None:
    assert instrument(0, 40, 0, DRUMS) == ("violin", "string instrument")
    assert instrument(0, 104, 0, DRUMS) == ("sitar", "folk instrument")
    assert instrument(0, 127, 0, DRUMS) == ("gunshot", "sound effect")
    assert instrument(DRUMS, 0, 38, DRUMS) == ("snare drum", "percussion")
    assert instrument(DRUMS, 0, 85, DRUMS) == ("castanets", "percussion")
    for bank, program, key in ((0, 90, 60), (8, 0, 60), (DRUMS, 0, 20), (DRUMS, 56, 40)):
        assert instrument(bank, program, key, DRUMS) is None
    for program in (*range(80), *range(104, 128)):
        assert instrument(0, program, 60, DRUMS) is not None
    assert belongs("BariAb3", "baritone saxophone", 67)
    assert not belongs("Tuba F3", "french horn", 60)


@pytest.mark.parametrize(
    ("stem", "words"),
    [
        ("drum_tom_hi_soft", "high soft tom drum"),
        ("hihat_closed02", "closed hi-hat"),
        ("tabla_ghe3", "tabla drum"),
        ("ambi_glass_rub", "ambient rubbed glass"),
        ("loop_garzul", ""),
        ("undefined01", ""),
    ],
)
def test_words_behind_names(stem: str, words: str) -> None:
    assert described(stem) == words


def test_takes_of_one_sound_are_one_group() -> None:
    assert group("drum_tom_hi_soft") == group("drum_tom_lo_hard") == "drum_tom"
    assert group("snare01") == group("snare07") != group("snare_harsh01")


@given(
    st.text("abc/", min_size=1),
    st.sampled_from(("violin", "strings", "open triangle", "brass")),
    st.dictionaries(st.sampled_from(("length", "tone", "pitch")), st.sampled_from(("short", "dark", "high-pitched"))),
)
def test_a_caption_tells_its_slots(key: str, sound: str, facts: dict[str, str]) -> None:
    text, slots = caption(key, sound, "percussion", facts)
    assert (text, slots) == caption(key, sound, "percussion", facts)
    assert all(value in text for value in slots.values())
    assert not {"{", "}", "  "} & set(text)
    assert text == text.strip(" ,:")
    assert text.count(":") <= 1
    assert "a strings" not in text
    assert "a brass" not in text


def test_what_is_measured() -> None:
    time = np.arange(RATE) / RATE
    deep = 0.5 * np.sin(2 * np.pi * 80 * time)
    assert measured(Sound(RATE, deep.astype(np.float32))) == {"pitch": "low-pitched", "tone": "dark"}
    click = np.random.default_rng(0).normal(0, 0.2, 4000).astype(np.float32)
    assert measured(Sound(RATE, click)) == {"length": "short", "tone": "bright"}
    assert measured(Sound(RATE, np.zeros(RATE, np.float32))) == {}


@pytest.mark.assets
@pytest.mark.parametrize(("dataset", "sizes"), BOTH)
def test_splits_share_no_recording(dataset: type[Dataset], sizes: tuple[int, ...]) -> None:
    by_split = {split: dataset().pairs(split) for split in SPLITS}
    assert tuple(map(len, by_split.values())) == sizes
    contents: dict[bytes, str] = {}
    for split, pairs in by_split.items():
        for pair in pairs:
            assert isinstance(pair.sample, Path)
            assert contents.setdefault(pair.sample.read_bytes(), split) == split
            assert all(value in pair.caption for value in pair.attributes.values())
            assert pair.attributes["sound"]


@pytest.mark.parametrize("dataset", [Instruments, SoundEffects])
def test_unknown_split_names_the_known(dataset: type[Dataset]) -> None:
    with pytest.raises(InputError) as error:
        dataset().pairs("dev")
    assert "validation" in str(error.value)
