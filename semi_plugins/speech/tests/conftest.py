"""A small recording, and small models of the kinds that the hub has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]  # ships no types
import torch
from transformers import HubertConfig, HubertModel, WhisperConfig, WhisperModel

RATE = 16_000


@pytest.fixture(scope="session")
def voice() -> np.ndarray:
    """(16000,), float32: a second of harmonics of 120 Hz that come and go twice."""
    time = np.arange(RATE) / RATE
    sound = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 12))
    scaled: np.ndarray = (0.2 * sound * np.sin(2 * np.pi * time) ** 2).astype(np.float32)
    return scaled


@pytest.fixture(scope="session")
def files(voice: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """The voice as 16-bit WAV, at half the speed in two channels as FLAC, and backwards as Ogg."""
    folder = tmp_path_factory.mktemp("recordings")
    soundfile.write(folder / "voice.wav", voice, RATE, subtype="PCM_16")
    soundfile.write(folder / "slow.flac", np.stack((voice, voice), axis=1), RATE // 2)
    soundfile.write(folder / "back.ogg", voice[::-1], RATE)
    return [folder / name for name in ("voice.wav", "slow.flac", "back.ogg")]


def whisper_config() -> WhisperConfig:
    """Two layers of 16, and 30 seconds as in all of them."""
    return WhisperConfig(
        vocab_size=51865, d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=80,
    )  # fmt: skip


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper with random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("whisper")
    WhisperModel(whisper_config()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def hubert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HuBERT with random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hubert")
    config = HubertConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(8, 8),
        conv_stride=(10, 8), conv_kernel=(10, 8), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    HubertModel(config).save_pretrained(folder)
    return folder
