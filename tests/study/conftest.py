"""A toy target of vectors with attributes, and configurations of studies on it with the tiny foundation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from semi.pairs import Pair
from semi.pairs_io import write_pairs
from semi.study.config import EfficiencyConfig, StressConfig
from semi.study.data import load_target
from semi.study.measure import foundation_in_memory

WIDTH = 10
COLOURS, THINGS = ("red", "green", "blue"), ("cat", "dog", "house", "car")


def toy_pairs(n: int, seed: int) -> list[Pair]:
    """Colour and thing each move the vector along a direction of their own."""
    maps = np.random.default_rng(1).standard_normal((7, WIDTH))
    draw = np.random.default_rng(seed)
    pairs = []
    for _ in range(n):
        colour, thing = int(draw.integers(3)), int(draw.integers(4))
        vector = maps[colour] + maps[3 + thing] + 0.05 * draw.standard_normal(WIDTH)
        attributes = {"colour": COLOURS[colour], "thing": THINGS[thing]}
        pairs.append(Pair(vector.round(4).tolist(), f"{COLOURS[colour]} {THINGS[thing]}", attributes=attributes))
    return pairs


@pytest.fixture
def toy_target(tmp_path: Path) -> dict[str, Any]:
    """The configuration of a target of 60 train and 40 test samples."""
    write_pairs(tmp_path / "train.jsonl", toy_pairs(60, 0))
    write_pairs(tmp_path / "test.jsonl", toy_pairs(40, 1))
    files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "test")}
    return {"name": "toy", "modality": "vectors", "held_out": 20, **files}


@pytest.fixture
def efficiency(foundation_folder: Path, tiny_text: str, toy_target: dict[str, Any]) -> dict[str, Any]:
    """Two methods, two numbers of shots, two seeds."""
    foundation_in_memory.cache_clear()  # it must not outlive the modality of its text encoder
    load_target.cache_clear()
    return {
        "foundations": [str(foundation_folder)],
        "targets": [toy_target],
        "methods": [
            {"name": "zero", "settings": {"method": "semi", "steps": 0, "examples": 0}, "shots": [4, 8]},
            {"name": "scratch", "settings": {"method": "scratch", "steps": 2}, "shots": [4, 8, "full"]},
        ],
        "seeds": [0, 1],
        "baselines": ["scratch"],
        "match_shots": 8,
        "draws": 200,
        "processes": 0,
    }


@pytest.fixture
def stress(efficiency: dict[str, Any], toy_target: dict[str, Any]) -> dict[str, Any]:
    """Every condition on one method and two targets."""
    strengths = {
        "shift": [0.5],
        "noise": [0.5, 2],
        "raw noise": [1],
        "drift": [1],
        "dropout": [0.3],
        "mislabelled": [0.25, 0.5],
        "duplicated": [0.5],
        "reordered": [1],
        "warp": [0.5],
        "swap": [1],
        "other encoder": [1],
        "fgsm": [0.1],
        "pgd": [0.1],
        "foreign": [1],
    }
    names = {"name": "toy", "held_out": 36, "groups": ["colour", "thing"], "other_data": "others"}
    return {
        "foundations": efficiency["foundations"],
        "targets": [toy_target | names, toy_target | {"name": "others", "groups": ["thing"]}],
        "methods": [
            {"name": "zero", "settings": {"method": "semi", "steps": 0, "examples": 0, "recall": False}, "shots": [8]}
        ],
        "seeds": [0],
        "processes": 0,
        "conditions": [{"name": name, "strengths": values} for name, values in strengths.items()],
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Writes a configuration file."""

    def to_file(config: dict[str, Any]) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    return to_file


def read_efficiency(config: dict[str, Any]) -> EfficiencyConfig:
    return EfficiencyConfig.model_validate(config)


def read_stress(config: dict[str, Any]) -> StressConfig:
    return StressConfig.model_validate(config)
