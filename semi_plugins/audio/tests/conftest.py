"""A small sound font and a small CLAP."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]  # ships no types
import torch
from transformers import ClapAudioConfig, ClapAudioModelWithProjection, ClapFeatureExtractor

RATE = 16_000


@pytest.fixture(scope="session")
def clap_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLAP with random weights, and the feature extractor beside it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clap")
    config = ClapAudioConfig(
        window_size=8, num_mel_bins=64, spec_size=256, hidden_size=16, patch_size=4, patch_stride=(4, 4),
        patch_embeds_hidden_size=8, projection_dim=24, depths=[1, 1], num_attention_heads=[1, 2], num_hidden_layers=2,
        enable_fusion=False,
    )  # fmt: skip
    ClapAudioModelWithProjection(config).save_pretrained(folder)
    ClapFeatureExtractor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tone() -> np.ndarray:
    """(8000,), float32: half a second of 440 Hz."""
    values: np.ndarray = (0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / RATE)).astype(np.float32)
    return values


@pytest.fixture(scope="session")
def write_font(tone: np.ndarray) -> Callable[..., Path]:
    """Writes a sound font of a violin (which loops, and shares its recording with a viola) and a snare drum."""

    def chunk(name: bytes, content: bytes, *, pad: bool = True) -> bytes:
        return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2 if pad else 0)

    def write(path: Path, *, vorbis: bool = False) -> Path:
        sounds = (tone, tone[::2] * np.linspace(1, 0, 4000, dtype=np.float32))
        stored, places = b"", []
        for sound in sounds:
            if vorbis:
                buffer = io.BytesIO()
                soundfile.write(buffer, sound, RATE, format="OGG", subtype="VORBIS")
                data, start = buffer.getvalue(), len(stored)
                places.append((start, start + len(data), 4000, 7000))
            else:
                data, start = (sound * 32767).astype("<i2").tobytes(), len(stored) // 2
                places.append((start, start + len(sound), start + 4000, start + 7000))
            stored += data
        kind = 0x11 if vorbis else 1
        samples = [
            struct.pack("<20sIIIIIBbHH", name, *place, RATE, 60, 0, 0, kind)
            for name, place in zip((b"Violin A4", b"Snare"), places, strict=True)
        ]
        presets = [(b"Violin", 40, 0, 0), (b"Viola", 41, 0, 1), (b"Standard", 0, 128, 2), (b"EOP", 0, 0, 3)]
        header = b"".join(struct.pack("<20sHHHIII", *preset, 0, 0, 0) for preset in presets)
        tables = (
            (b"phdr", header),
            (b"pbag", struct.pack("<8H", 0, 0, 1, 0, 2, 0, 3, 0)),
            (b"pgen", struct.pack("<8H", 41, 0, 41, 0, 41, 1, 0, 0)),
            (b"inst", b"".join(struct.pack("<20sH", *row) for row in ((b"Violin", 0), (b"Snare", 1), (b"EOI", 2)))),
            (b"ibag", struct.pack("<6H", 0, 0, 2, 0, 4, 0)),
            (b"igen", struct.pack("<10H", 54, 1, 53, 0, 43, 38 | 38 << 8, 53, 1, 0, 0)),
            (b"shdr", b"".join(samples) + bytes(46)),
        )
        data = chunk(b"LIST", b"sdta" + chunk(b"smpl", stored, pad=not vorbis), pad=not vorbis)
        lists = data + chunk(b"LIST", b"pdta" + b"".join(chunk(name, content) for name, content in tables))
        path.write_bytes(chunk(b"RIFF", b"sfbk" + lists))
        return path

    return write
