"""A plan keeps its word: what a merge writes is at most what it says, and memory decides on reading ahead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from semi.errors import InputError, OutputError
from semi.merge import plan
from semi.merge.plan import RUNTIME, disk_free, make_plan
from semi.merge.run import run_merge
from tests.merge.conftest import write_adapter, write_checkpoint
from tests.merge.merges import MERGES, config_of


@pytest.fixture
def models(tmp_path: Path, tunes: dict[str, dict[str, Tensor]]) -> dict[str, Path | dict[str, Any]]:
    return {name: write_checkpoint(tmp_path / name, tensors) for name, tensors in tunes.items()}


LOSSY: dict[str, dict[str, Any]] = {
    "optimal, bf16": {"merge": {"method": "optimal", "tau": "bf16"}},
    "optimal, nf4": {"merge": {"method": "optimal", "tau": "nf4"}},
    "ties, nf4": {"merge": {"method": "ties", "tau": "nf4"}},
    "mmer, budget": {"merge": {"method": "mmer"}, "mask": {"rule": "budget", "bits": 0.8}},
}


@pytest.mark.parametrize("name", [*MERGES, *LOSSY])
def test_it_says_what_is_written_at_most(
    name: str, models: dict[str, Path | dict[str, Any]], base_folder: Path, tmp_path: Path
) -> None:
    config = config_of(base_folder, models, **(MERGES | LOSSY)[name])
    found = json.loads(json.dumps(make_plan(config, tmp_path / "out")))
    run_merge(config, tmp_path / "out")
    written = 0
    for path in (tmp_path / "out").glob("*.safetensors"):
        written += path.stat().st_size - 8 - int.from_bytes(path.read_bytes()[:8], "little")
    assert written <= found["write"]
    assert found["models"] == ["text", "vision", "audio"]
    assert found["tensors"]["merged"]["tensors"] == 5


def test_it_reads_ahead_where_there_is_room(
    models: dict[str, Path | dict[str, Any]], base_folder: Path, tmp_path: Path
) -> None:
    wide = make_plan(config_of(base_folder, models), tmp_path)["memory"]
    assert wide["prefetch"]
    tight = make_plan(config_of(base_folder, models, io={"max_memory": wide["needed"] - 1}), tmp_path)["memory"]
    assert not tight["prefetch"]
    assert RUNTIME < tight["needed"] < wide["needed"]


@pytest.mark.parametrize(
    ("settings", "got"),
    [
        ({"io": {"max_memory": "1M"}}, "io.max_memory of 1.05 MB"),
        ({"mask": {"rule": "budget", "bits": 0.001}}, "mask.bits of 0.001"),
        ({"mask": {"lambda": "auto", "prompts": "/nowhere.txt"}}, "No such file or directory"),
    ],
)
def test_it_refuses_what_a_merge_would_refuse(
    settings: dict[str, Any], got: str, models: dict[str, Path | dict[str, Any]], base_folder: Path, tmp_path: Path
) -> None:
    little = config_of(base_folder, models, **settings)
    with pytest.raises(InputError) as planned:
        make_plan(little, tmp_path / "out")
    with pytest.raises(InputError) as run:
        run_merge(little, tmp_path / "out")
    assert str(planned.value) == str(run.value)
    assert planned.value.got == got


def test_an_expanded_adapter_takes_memory(
    models: dict[str, Path | dict[str, Any]], base_folder: Path, factors: dict[str, Tensor], tmp_path: Path
) -> None:
    without = make_plan(config_of(base_folder, models), tmp_path)["memory"]["needed"]
    lora = {"path": str(write_adapter(tmp_path / "lora", factors)), "adapter": "lora"}
    with_lora = make_plan(config_of(base_folder, models | {"audio": lora}), tmp_path)["memory"]["needed"]
    assert with_lora > without


def test_free_space_is_that_of_the_nearest_folder(tmp_path: Path) -> None:
    assert disk_free(tmp_path / "not" / "yet") == pytest.approx(disk_free(tmp_path), rel=0.01)


def test_what_an_interrupted_merge_left_counts_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "disk_free", lambda folder: 100)
    (tmp_path / "shared.part").write_bytes(bytes(50))
    plan.require_disk(150, tmp_path)
    with pytest.raises(OutputError, match="too little free space"):
        plan.require_disk(151, tmp_path)
