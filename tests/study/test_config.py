from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semi.errors import InputError
from semi.study.config import EfficiencyConfig, StressConfig, read_settings
from semi.yaml_config import read_config

STUDIES = Path(__file__).parents[2] / "studies"
Write = Callable[[dict[str, Any]], Path]


def refused(path: Path, kind: Any = EfficiencyConfig) -> str:
    with pytest.raises(InputError) as error:
        read_config(path, kind)
    assert error.value.exit_code == 2
    return str(error.value)


def test_all_problems_are_told_at_once(efficiency: dict[str, Any], write: Write) -> None:
    methods = [
        {"name": "a", "settings": {"methd": "semi"}, "shots": [4]},
        {"name": "b", "settings": {"method": "magic"}, "shots": [1]},
        {"name": "c", "settings": {"lr": 7}, "shots": []},
        {"name": "d", "settings": {"steps": "many"}, "shots": ["all"]},
    ]
    targets = [{"name": "x", "modality": "vectors"}, {"name": "y", "modality": "z", "dataset": "d", "train": "f"}]
    message = refused(write(efficiency | {"methods": methods, "targets": targets, "seeds": [0, 0], "noise": 1}))
    for part in ("methd", "magic", "shots", "steps", "learning rate", "targets.0", "targets.1", "twice", "noise"):
        assert part in message
    assert "subsets" in message  # the known settings are listed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baselines": ["lora"]}, "names no method: lora"),
        ({"methods": [{"name": "a", "shots": [4]}, {"name": "a", "shots": [4]}]}, "twice: a"),
        ({"methods": [{"name": "a/b", "shots": [4]}]}, "letters"),
        ({"methods": [{"name": "a", "shots": [4], "settings": {"seed": 3}}]}, "unknown settings seed"),
        ({"foundations": []}, "foundations"),
        ({"processes": -1}, "processes"),
        ({"draws": 3}, "draws"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(
    efficiency: dict[str, Any], write: Write, changes: dict[str, Any], message: str
) -> None:
    assert message in refused(write(efficiency | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conditions": [{"name": "rain", "strengths": [1]}]}, "unknown condition 'rain'; known are shift"),
        ({"conditions": [{"name": "noise", "strengths": [0]}]}, "strengths"),
        ({"conditions": [{"name": "noise", "strengths": []}]}, "strengths"),
    ],
    ids=str,
)
def test_conditions_that_there_are_not_are_refused(
    stress: dict[str, Any], write: Write, changes: dict[str, Any], message: str
) -> None:
    assert message in refused(write(stress | changes), StressConfig)


def test_other_data_is_another_target(stress: dict[str, Any], write: Write) -> None:
    for name in ("toy", "nobody"):
        targets = [stress["targets"][0] | {"other_data": name}, stress["targets"][1]]
        assert "`other_data` of 'toy'" in refused(write(stress | {"targets": targets}), StressConfig)


def test_settings_are_those_of_adaptation_without_a_diagnosis() -> None:
    chosen = read_settings({"method": "lora", "steps": 3}, seed=5)
    assert (chosen.method, chosen.steps, chosen.seed, chosen.diagnose) == ("lora", 3, 5, False)
    assert read_settings({"diagnose": True}).diagnose
    with pytest.raises(ValueError, match="shots"):
        read_settings({"shots": 4})


def test_the_studies_of_the_repository_are_valid() -> None:
    paths = sorted(STUDIES.glob("*.yaml"))
    assert paths
    for path in paths:
        read_config(path, StressConfig if path.name.startswith("stress") else EfficiencyConfig)
