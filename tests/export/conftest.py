"""Integrations of three modalities and what they are exported to, on tiny real models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from semi.adaptation import adapt
from semi.foundation import Foundation
from semi.pairs import Pair

WIDTH = 10


def vectors(n: int) -> list[Pair]:
    """Three directions with noise."""
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((3, WIDTH))
    return [Pair((centres[i % 3] + 0.1 * draw.standard_normal(WIDTH)).tolist(), "abc"[i % 3]) for i in range(n)]


def movements(n: int) -> list[Pair]:
    """A sensor that swings, at three speeds."""
    time, draw = np.arange(60) / 50, np.random.default_rng(1)
    found = []
    for i in range(n):
        swing = np.sin(2 * np.pi * (0.5, 1.5, 4.0)[i % 3] * time + i)
        axes = np.outer(swing, (1, 0.5, 0.2, 2, 0.1, 0.4)) + draw.normal(0, 0.05, (60, 6))
        axes[:, 0] += 9.8
        found.append(Pair({"data": axes, "rate": 50, "units": "SI"}, ("slow", "walking", "shaken")[i % 3]))
    return found


def pictures(n: int, folder: Path) -> list[Pair]:
    """Coloured squares on black."""
    found = []
    for i in range(n):
        image = Image.new("RGB", (80, 60))
        image.paste(("red", "green", "blue")[i % 3], (i, i, 40 + i, 40))
        image.save(folder / f"{i}.png")
        found.append(Pair(folder / f"{i}.png", ("red", "green", "blue")[i % 3]))
    return found


@pytest.fixture(scope="session")
def made(
    foundation_folder: Path, tiny_text_site: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, list[Pair]]]:
    """`made("imu")`: the folder of an integration of that modality, and its pairs; made once."""
    kept: dict[str, tuple[Path, list[Pair]]] = {}

    def make(modality: str, **settings: Any) -> tuple[Path, list[Pair]]:
        key = f"{modality} {settings}"
        if key not in kept:
            folder = tmp_path_factory.mktemp(modality)
            drawn = {"vectors": vectors, "imu": movements}.get(modality, lambda n: pictures(n, folder))(8)
            with pytest.MonkeyPatch.context() as patch:
                patch.syspath_prepend(tiny_text_site)
                foundation = Foundation.load(foundation_folder, device="cpu")
            adapt(foundation, modality, drawn, out=folder / "made", steps=1, diagnose=False, **settings)
            kept[key] = folder / "made", drawn
        return kept[key]

    return make
