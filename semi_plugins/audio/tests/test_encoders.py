"""What the encoders tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semi.errors import InputError
from transformers import ClapAudioModelWithProjection, ClapFeatureExtractor

from semi_plugin_audio.modality import Audio
from semi_plugin_audio.statistics import Statistics, features

RATE = 16_000
CHROMA, LEVEL, COURSE, PITCH = slice(160, 172), slice(182, 186), slice(186, 191), slice(191, 194)


def test_statistics_tell_what_they_are_named_after() -> None:
    time = np.arange(RATE) / RATE
    low, high = (0.5 * np.sin(2 * np.pi * hertz * time) for hertz in (220, 880))
    noise = np.random.default_rng(0).normal(0, 0.1, RATE)
    struck, swelling = high * np.exp(-8 * time), high * time
    of_low, of_high, of_noise, of_struck, of_swelling = map(features, (low, high, noise, struck, swelling))
    assert len(of_low) == Statistics.width == 217
    assert of_low[:40].argmax() < of_high[:40].argmax()
    assert of_low[CHROMA].argmax() == of_high[CHROMA].argmax() == 0  # both are an A
    assert (of_low[PITCH][0], of_high[PITCH][0]) == pytest.approx((0, 2), abs=0.05)  # octaves above 220 Hz
    assert of_noise[PITCH][2] < 0.5 < 0.9 < of_low[PITCH][2]
    assert of_noise[172] > of_high[172] > of_low[172]  # centre of the spectrum
    assert of_struck[COURSE][1] < 0.1 < 0.9 < of_swelling[COURSE][1]  # when it is loudest
    assert of_struck[COURSE][3] > of_low[COURSE][3]  # dies away


def test_loudness_is_told_in_one_place_alone() -> None:
    sound = 0.5 * np.sin(np.arange(RATE) / 10)
    loud, quiet = features(sound), features(sound / 10)
    changed = np.flatnonzero(np.abs(loud - quiet) > 1e-6)
    assert changed.tolist() == [LEVEL.start]
    assert loud[LEVEL.start] - quiet[LEVEL.start] == pytest.approx(1, abs=0.01)  # decades


@settings(max_examples=30)
@given(st.integers(1600, 40_000), st.sampled_from((0.0, 1.0, 1e-6)), st.integers(0, 5))
def test_statistics_are_finite(length: int, level: float, seed: int) -> None:
    signal = level * np.random.default_rng(seed).uniform(-1, 1, length)
    assert np.isfinite(features(signal.astype(np.float32))).all()


def test_clap_is_that_of_transformers(clap_folder: Path, tone: np.ndarray) -> None:
    extractor = ClapFeatureExtractor.from_pretrained(clap_folder)
    model = ClapAudioModelWithProjection.from_pretrained(clap_folder).eval()
    sound = np.resize(tone, 48_000)
    inputs = extractor([sound], sampling_rate=48_000, padding="repeatpad", truncation="rand_trunc", return_tensors="pt")
    with torch.inference_mode():
        expected = model(input_features=inputs["input_features"]).audio_embeds.numpy()
    encoder = Audio().encoder(f"clap:{clap_folder}")
    assert encoder.id.startswith("audio/clap-")
    np.testing.assert_allclose(encoder.encode([{"data": sound, "rate": 48_000}]), expected, atol=1e-5)


def test_clap_hears_long_sounds_whole(clap_folder: Path, tone: np.ndarray) -> None:
    encoder = Audio().encoder(f"clap:{clap_folder}")
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 20 * 48_000).astype(np.float32)
    halves = [{"data": half, "rate": 48_000} for half in np.split(sound, 2)]
    whole = encoder.encode([{"data": sound, "rate": 48_000}])
    np.testing.assert_allclose(whole[0], encoder.encode(halves).mean(0), atol=1e-5)


def test_other_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        Audio().encoder(f"clap:{tmp_path}")
    for name in ("vggish", "statistics:x"):
        with pytest.raises(InputError, match="no encoder") as error:
            Audio().encoder(name)
        assert "clap:FOLDER" in str(error.value)
