"""Every form of a sample, and what is none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]  # ships no types
from hypothesis import given, settings
from hypothesis import strategies as st
from semi.errors import PairsError

from semi_plugin_speech.modality import Speech
from semi_plugin_speech.reading import read_sample
from semi_plugin_speech.resampling import resampled
from semi_plugin_speech.sound import Clip

RATE = 16_000


def test_a_file_stays_a_path_and_numbers_become_a_clip(files: Sequence[Path], voice: np.ndarray) -> None:
    speech = Speech()
    assert speech.parse("voice.wav", folder=files[0].parent) == files[0]
    clip = speech.parse({"data": voice.tolist(), "rate": RATE})
    assert isinstance(clip, Clip)
    np.testing.assert_array_equal(clip["data"], voice)
    assert (clip["rate"], clip["data"].dtype) == (RATE, np.float32)
    assert "1 s of sound at 16000 Hz" in repr(clip)


def test_formats_agree(files: Sequence[Path], voice: np.ndarray) -> None:
    np.testing.assert_allclose(read_sample(files[0]).signal, voice, atol=1 / 32768)
    slow = read_sample(files[1])
    assert (slow.rate, slow.signal.shape) == (8000, voice.shape)
    np.testing.assert_allclose(slow.signal, voice, atol=1 / 32768)
    back = read_sample(files[2])
    assert np.corrcoef(back.signal, voice[::-1])[0, 1] > 0.99


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        pytest.param(np.array([16384, -32768], np.int16), 32768, id="int16"),
        pytest.param(np.array([2**30, -(2**31)], np.int32), 2**31, id="int32"),
        pytest.param(np.array([0.5, -1.0], np.float64), 1, id="float"),
    ],
)
def test_pcm_is_scaled_by_its_type(values: np.ndarray, scale: int) -> None:
    data = np.tile(values, 2000)
    expected = np.tile(np.array([values[0] / scale, -1.0], np.float32), 2000)
    np.testing.assert_allclose(read_sample({"data": data, "rate": RATE}).signal, expected)


def test_bytes_of_sound_are_centred() -> None:
    sound = read_sample({"data": np.tile(np.array([128, 192, 0], np.uint8), 1000), "rate": 8000})
    np.testing.assert_allclose(sound.signal[:3], (0, 0.5, -1))


def test_channels_are_averaged_either_way_round(voice: np.ndarray) -> None:
    both = np.stack((voice, np.zeros_like(voice)), axis=1)
    for data in (both, both.T):
        np.testing.assert_allclose(read_sample({"data": data, "rate": RATE}).signal, voice / 2)


def test_a_part_of_a_file(files: Sequence[Path], voice: np.ndarray) -> None:
    clip = Speech().parse({"file": files[0].name, "start": 0.25, "duration": 0.5}, folder=files[0].parent)
    assert isinstance(clip, Clip)
    np.testing.assert_allclose(clip["data"], voice[4000:12000], atol=1 / 32768)
    assert "voice.wav" in repr(clip)
    with pytest.raises(PairsError, match="ends before"):
        read_sample({"file": str(files[0]), "start": 0.8, "duration": 0.5})


def test_a_folder_may_declare_the_rate(tmp_path: Path, voice: np.ndarray) -> None:
    with pytest.raises(PairsError, match="rate is not known"):
        Speech().parse(voice, folder=tmp_path)
    (tmp_path / "speech.json").write_text(json.dumps({"rate": RATE}))
    assert Speech().parse(voice, folder=tmp_path)["rate"] == RATE
    (tmp_path / "speech.json").write_text("[]")
    with pytest.raises(PairsError, match="declares no rate"):
        Speech().parse(voice, folder=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"data": []}, "empty|numbers", id="empty"),
        pytest.param({"data": [0.1] * 100}, "too short", id="short"),
        pytest.param({"data": np.zeros(31 * RATE, np.float32)}, "too long", id="long"),
        pytest.param({"data": [0.1, float("nan")] * 2000}, "NaN or infinity", id="nan"),
        pytest.param({"data": [1e300] * 4000}, "NaN or infinity", id="beyond float32"),
        pytest.param({"data": [3000.0] * 4000}, "not scaled to 1", id="PCM as floating point"),
        pytest.param({"data": ["loud"] * 4000}, "no list of numbers", id="text"),
        pytest.param({"data": [[0.1], [0.1, 0.2]]}, "no list of numbers", id="ragged"),
        pytest.param({"data": np.zeros((10, 10, 10))}, "no signal", id="cube"),
        pytest.param({"rate": 0}, "whole number of Hz", id="rate 0"),
        pytest.param({"rate": 16.5}, "whole number of Hz", id="rate in kHz"),
        pytest.param({"rate": 16}, "out of bounds", id="rate 16"),
        pytest.param({"rate": True}, "whole number of Hz", id="rate true"),
        pytest.param({"start": -1}, "no time", id="start"),
        pytest.param({"rate_hz": 8000}, "no key", id="unknown key"),
    ],
)
def test_what_is_no_sample_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PairsError, match=message):
        read_sample({"data": [0.1, -0.1] * 2000, "rate": RATE} | change)


def test_files_that_are_none_are_named(tmp_path: Path, files: Sequence[Path]) -> None:
    (tmp_path / "text.wav").write_text("not a sound")
    (tmp_path / "cut.flac").write_bytes(files[1].read_bytes()[:60])
    (tmp_path / "voice.txt").write_bytes(files[0].read_bytes())
    for name, message in (
        ("text.wav", "cannot be read"),
        ("cut.flac", "read|empty|short"),
        ("voice.txt", "unknown kind"),
    ):
        with pytest.raises(PairsError, match=message):
            read_sample(tmp_path / name)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    with pytest.raises(PairsError, match="empty"):
        read_sample(tmp_path / "empty.wav")
    with pytest.raises(PairsError, match="broken JSON"):
        read_sample('{"data": [')


def test_a_drawing_is_made_of_sounds_alone(files: Sequence[Path]) -> None:
    drawing = Speech().draw(files[0])
    assert drawing is not None
    assert drawing.startswith("<svg")
    assert ">1 s<" in drawing
    assert Speech().draw("gone.wav") is None


@settings(max_examples=30)
@given(st.sampled_from((8000, 11025, 16000, 22050, 44100, 48000)), st.sampled_from((8000, 16000, 22050, 48000)))
def test_a_tone_is_the_same_tone_at_another_rate(rate: int, to: int) -> None:
    def tone(hertz: float, at: int) -> np.ndarray:
        values: np.ndarray = np.sin(2 * np.pi * hertz * np.arange(at // 4) / at)
        return values

    inside, edge = 0.4 * min(rate, to), 200
    found = resampled(tone(inside, rate), rate, to)
    np.testing.assert_allclose(found[edge:-edge], tone(inside, to)[edge : len(found) - edge], atol=2e-4)
    if to < rate:
        above = resampled(tone((to + rate) / 4, rate), rate, to)
        assert np.abs(above[edge:-edge]).max() < 2e-3 or to > 0.9 * rate
