"""Recipes of both trainings on the tiny language model: text, a sensor and procedural modalities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from semi.encoding import encode
from semi.pairs import Pair
from semi.plugins import load_modality
from semi.vectors import Vectors

COLOURS, THINGS = ("red", "green", "blue", "white", "black"), ("cat", "dog", "house", "car", "tree", "table")
CAPTIONS = [f"{colour} {thing} with {i}" for i in range(2) for colour in COLOURS for thing in THINGS]


def write_sources(folder: Path, text: str) -> dict[str, Any]:
    """Encoded texts and an encoded sensor in a folder, and what recipes say of these and procedural modalities."""
    modality = load_modality(text)
    encode(modality, modality.encoder(), [Pair(caption, caption) for caption in CAPTIONS], folder / "words")
    draw = np.random.default_rng(0)
    sensor = [Pair(draw.standard_normal(9).astype(np.float32), caption) for caption in CAPTIONS[:40]]
    encode(Vectors(), Vectors().encoder(), sensor, folder / "sensor")
    sources = [
        {"encoded": str(folder / "words"), "weight": 2},
        {"encoded": str(folder / "sensor"), "weight": 1},
        {"procedural": 4, "samples": 24, "weight": 1},
    ]
    return {"sources": sources, "batch": 12, "queries": 3, "shots": [4, 8]}


def write_recipes(folder: Path, language_model: Path, text: str) -> tuple[Path, Path]:
    """recipes/projector.yaml and hypernetwork.yaml, of 20 steps; the second wants the result of the first."""
    schedule = {"steps": 20, "lr": 3e-3, "warmup": 2, "accumulate": 2, "validate_every": 10, "save_every": 2}
    common = write_sources(folder, text) | {"schedule": schedule}
    projector = {
        "language_model": str(language_model),
        "precision": "fp32",
        "text_encoder": text,
        "projector": {"d_hidden": 24, "soft_tokens": 2},
        "warm_start": 4,
        "examples": 3,
    }
    hypernetwork = {"projector": str(folder / "runs" / "projector"), "settings": {"d_correction": 8}}
    (folder / "recipes").mkdir()
    paths = (folder / "recipes" / "projector.yaml", folder / "recipes" / "hypernetwork.yaml")
    for path, own in zip(paths, (projector, hypernetwork), strict=True):
        path.write_text(yaml.safe_dump(common | own), encoding="utf-8")
    return paths
