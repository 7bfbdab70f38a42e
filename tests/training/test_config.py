from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from semi.errors import InputError
from semi.training.config import HyperNetworkConfig, ProjectorConfig
from semi.training.loop import Schedule
from semi.yaml_config import read_config

GOOD: dict[str, Any] = {
    "sources": [{"encoded": "runs/words", "weight": 2}, {"procedural": 5, "samples": 20, "weight": 1.5}],
    "schedule": {"steps": 10, "lr": 1e-3},
}
RECIPES = Path(__file__).parents[2] / "recipes"


def write(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(GOOD | changes))
    return path


def refused(path: Path, kind: Any = ProjectorConfig) -> str:
    with pytest.raises(InputError) as error:
        read_config(path, kind)
    assert error.value.exit_code == 2
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_complete_file_is_read(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, seed=4, shots=[4, 9], projector={"soft_tokens": 3}), ProjectorConfig)
    assert config.sources[0].encoded == Path("runs/words")
    assert config.sources[1].procedural == 5
    assert (config.shots, config.projector.soft_tokens) == ((4, 9), 3)
    assert config.schedule.build(config.seed) == Schedule(steps=10, lr=1e-3, seed=4)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    message = refused(
        write(
            tmp_path,
            schedule={"steps": -1, "lr": -1, "warm_up": 3},
            sources=[{"procedural": 3}],
            precision="int3",
            noize=0.1,
            noise=7,
            seed="many",
        )
    )
    schedule = ("schedule.steps", "schedule.lr", "schedule.warm_up")
    for part in (*schedule, "sources.0.weight", "precision", "noize", "noise:", "seed"):
        assert part in message
    assert "text_encoder" in message  # the known settings are listed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": []}, "sources"),
        ({"sources": [{"weight": 1}]}, "either"),
        ({"sources": [{"encoded": "a", "procedural": 3, "weight": 1}]}, "either"),
        ({"sources": [{"procedural": 1, "weight": 1}]}, "procedural"),
        ({"sources": [{"procedural": 3, "samples": 3, "weight": 1}]}, "samples"),
        ({"sources": [{"procedural": 3, "weight": 0}]}, "weight"),
        ({"shots": [1, 8]}, "shots"),
        ({"shots": [9, 8]}, "smallest and the largest"),
        ({"batch": 1}, "each of the 2 sources"),
        ({"schedule": {"steps": 5, "lr": float("nan")}}, "lr"),
        ({"schedule": {"steps": 5, "lr": float("inf")}}, "lr"),
        ({"start": 3}, "start: is not a valid path, got 3"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert message in refused(write(tmp_path, **changes))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no settings"),
        (b"- 1\n- 2\n", "a mapping"),
        (b"a: [1\n", "not YAML"),
        (b"\xff\xfe\xff", "not YAML"),
        (b"!!python/object/apply:os.system ['true']\n", "not YAML"),
    ],
    ids=["empty", "list", "broken", "not_text", "code"],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert message in refused(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / "none.yaml")
    assert "cannot be read" in refused(tmp_path)


def test_the_hypernetwork_needs_its_projector_and_a_known_kind(tmp_path: Path) -> None:
    message = refused(write(tmp_path, kind="magic", isometry="mirror"), HyperNetworkConfig)
    assert all(part in message for part in ("kind", "isometry", "haar"))
    message = refused(write(tmp_path), HyperNetworkConfig)
    assert "`projector` names the projector to train on, or `beside`" in message


def test_settings_are_changed_by_name(tmp_path: Path) -> None:
    changes = ["seed=4", "sources.1.weight=7", "projector.soft_tokens=2", "schedule.lr=0.5", "start=runs/x"]
    config = read_config(write(tmp_path), ProjectorConfig, changes)
    assert (config.seed, config.sources[1].weight, config.projector.soft_tokens) == (4, 7, 2)
    assert (config.schedule.lr, config.start) == (0.5, Path("runs/x"))
    assert read_config(write(tmp_path), ProjectorConfig, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("change", ["seed", "sources.5.weight=1", "sources.one.weight=1", "seed.x=1", "a=[", ""])
def test_a_change_that_cannot_be_made_is_refused(tmp_path: Path, change: str) -> None:
    with pytest.raises(InputError, match="cannot be changed"):
        read_config(write(tmp_path, seed=3), ProjectorConfig, [change])


def test_a_change_to_an_unknown_or_impossible_setting_is_refused(tmp_path: Path) -> None:
    for change, part in (("seeds=1", "seeds"), ("noise=7", "noise"), ("=1", "unknown")):
        with pytest.raises(InputError, match=part):
            read_config(write(tmp_path), ProjectorConfig, [change])


def test_the_recipes_of_the_repository_are_valid() -> None:
    paths = sorted(RECIPES.rglob("*.yaml"))
    assert paths
    for path in paths:
        read_config(path, HyperNetworkConfig if "hypernetwork" in path.name else ProjectorConfig)


def test_notes_in_yaml_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        dedent(
            """
            # a note
            sources: [{procedural: 4, weight: 1}]
            schedule: {steps: 3, lr: 1.0e-3}
            """
        )
    )
    assert read_config(path, ProjectorConfig).schedule.lr == 1e-3
