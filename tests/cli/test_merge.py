"""`semi merge` as people meet it: plan, run, inspect, refusals and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import Result

from semi.artifacts import read_manifest
from tests.merge.conftest import random_base, tuned, write_checkpoint

Semi = Callable[..., Result]


@pytest.fixture
def config(work: Path) -> Callable[..., Path]:
    """Writes the file of a merge of two fine-tunes: `config(merge={"method": "emr"})`."""
    base = random_base()
    write_checkpoint(work / "base", base)
    names = ("vision", "audio")
    for seed, name in enumerate(names):
        write_checkpoint(work / name, tuned(base, seed))

    def write(**settings: Any) -> Path:
        models = [{"name": name, "path": name} for name in names]
        content = {"base_model": "base", "models": models, "merge": {"method": "mmer"}} | settings
        (work / "merge.yaml").write_text(yaml.safe_dump(content))
        return work / "merge.yaml"

    return write


def test_plan_run_and_inspect(config: Callable[..., Path], work: Path, semi: Semi) -> None:
    file = config()
    planned = semi("merge", "plan", file)
    assert planned.exit_code == 0, planned.stderr
    assert "mmer of vision, audio" in planned.stdout
    assert "3 passes" in planned.stdout
    merged = semi("merge", "run", file, "--out", "x.mmer")
    assert merged.exit_code == 0, merged.stderr
    assert "next: semi merge export x.mmer --modality vision" in merged.stdout
    shown = semi("merge", "inspect", "x.mmer")
    assert shown.exit_code == 0, shown.stderr
    for text in ("merged, sparse", "exact", "vision", "residual"):
        assert text in shown.stdout


def test_the_plan_is_json_and_keeps_its_word(config: Callable[..., Path], work: Path, semi: Semi) -> None:
    file = config(merge={"method": "optimal"})
    plan = json.loads(semi("merge", "plan", file, "--json").stdout)
    assert semi("merge", "run", file, "--out", "x.mmer", "--quiet").stderr == ""
    assert plan["tensors"] == {
        "merged": {"tensors": 5, "entries": 432},
        "exact": {"tensors": 2, "entries": 16},
    }
    assert plan["passes"] == 2
    assert plan["memory"]["needed"] <= plan["memory"]["allowed"]
    assert plan["disk"]["free"] > plan["disk"]["needed"]
    data = sum(
        len(path.read_bytes()) - 8 - int.from_bytes(path.read_bytes()[:8], "little")
        for path in (work / "x.mmer").glob("*.safetensors")
    )
    # Of the masks, each block may fill up its last byte.
    assert data <= plan["write"] + 16


def test_inspect_gives_json(config: Callable[..., Path], work: Path, semi: Semi) -> None:
    semi("merge", "run", config(merge={"method": "emr"}), "--out", "x.mmer", "--quiet")
    found = json.loads(semi("merge", "inspect", "x.mmer", "--json").stdout)
    assert found["method"] == "emr"
    assert found["scale"] == "model"
    assert found["certificate"] == read_manifest(work / "x.mmer", "merge")["info"]["certificate"]


def test_inspect_says_what_storing_loses(config: Callable[..., Path], semi: Semi) -> None:
    file = config(merge={"method": "optimal", "tau": "nf4"}, mask={"rule": "budget", "bits": 0.9})
    merged = semi("merge", "run", file, "--out", "x.mmer", "--quiet")
    shown = semi("merge", "inspect", "x.mmer").stdout
    assert "masks: tall within 0.9 bits an entry; scales: row; shared vector: nf4" in shown
    for text in (merged.stdout, shown):
        assert "residual before storing" in text
    found = json.loads(semi("merge", "inspect", "x.mmer", "--json").stdout)
    for name in found["models"]:
        before, after = (found[figures]["models"][name]["residual"] for figures in ("lossless", "certificate"))
        assert f"{before:.3f}" in shown
        assert f"{after:.3f}" in shown
        assert before < after


def test_a_residual_above_what_verify_allows_is_told(config: Callable[..., Path], work: Path, semi: Semi) -> None:
    file = config(verify={"max_residual": 0.001})
    merged = semi("merge", "run", file, "--out", "x.mmer", "--quiet")
    assert merged.exit_code == 0
    assert "warning: residuals above verify.max_residual, 0.001: vision: 0." in merged.stderr


def test_what_cannot_be_merged_is_refused(
    config: Callable[..., Path], work: Path, semi: Semi, refused: Callable[..., str]
) -> None:
    run = ("merge", "run", "merge.yaml", "--out", "x.mmer", "--quiet")
    config(merge={"method": "magic"})
    refused(*run, says=("merge.yaml", "task_arithmetic"))
    refused("merge", "plan", "merge.yaml", says=("merge.yaml",))
    config(base_model="nowhere")
    refused(*run, says=("there is no folder nowhere",))
    refused("merge", "plan", "merge.yaml", says=("there is no folder nowhere",))
    config(io={"max_memory": "10M"})
    refused(*run, says=("so little memory", "io.max_memory of 10.49 MB"))
    refused("merge", "inspect", "vision", says=("incomplete",))
    (work / "mine").mkdir()
    (work / "mine" / "notes.txt").write_text("")
    config()
    refused("merge", "run", "merge.yaml", "--out", "mine", says=("not made by semi",))


def test_models_with_nan_are_refused_and_leave_nothing(
    config: Callable[..., Path], work: Path, refused: Callable[..., str]
) -> None:
    config()
    tensors = tuned(random_base(), 1)
    tensors["lm_head.weight"][0, 0] = torch.nan
    write_checkpoint(work / "audio", tensors)
    refused("merge", "run", "merge.yaml", "--out", "x.mmer", "--quiet", says=("audio: lm_head.weight", "NaN"))


def test_a_complete_merge_is_replaced_with_force_only(
    config: Callable[..., Path], work: Path, semi: Semi, refused: Callable[..., str]
) -> None:
    assert semi("merge", "run", config(), "--out", "x.mmer", "--quiet").exit_code == 0
    refused("merge", "run", "merge.yaml", "--out", "x.mmer", "--quiet", says=("complete already", "--force"))
    assert semi("merge", "run", "merge.yaml", "--out", "x.mmer", "--quiet", "--force").exit_code == 0
