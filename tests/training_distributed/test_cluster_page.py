"""docs/cluster.md and the examples it names: what is not run elsewhere is at least what the programs take."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import get_args_parser
from typer.testing import CliRunner

from benchmarks.scaling import TRAININGS, Assumptions, Training, bytes_a_step, efficiency, gathered, reduced, table
from semi.artifacts import load_tensors
from semi.cli import app
from tests.training_distributed.pages import PAGE, ROOT, commands

SHIPPED = ROOT / "semi_plugins" / "smollm2" / "src" / "semi_plugin_smollm2" / "foundation" / "projector.safetensors"
STUB = """#!/bin/bash
if [ "$1" = show ]; then printf 'first\\nsecond\\n'; else shift; echo "$*"; fi
"""


def required_verb(words: list[str]) -> None:
    """The command line takes these words: they are refused for the missing recipe alone."""
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "cannot be read" in done.stderr or "add --launch" in done.stderr, done.stderr


def required_torchrun(words: list[str]) -> None:
    """torchrun takes these words, and semi those that follow `-m semi`."""
    parsed = get_args_parser().parse_args(words[1:])
    assert (words[0], parsed.module, parsed.training_script) == ("torchrun", True, "semi")
    required_verb(parsed.training_script_args)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_slurm_starts_torchrun_on_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("scontrol", "srun"):
        (tmp_path / name).write_text(STUB)
        (tmp_path / name).chmod(0o755)
    (sbatch,) = (words for words in commands() if words[0] == "sbatch")
    script = sbatch.index("examples/slurm.sh")
    job = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_NODELIST": "n", "SLURM_JOB_NUM_NODES": sbatch[2]}
    job |= {"SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_ID": "17"}
    started = subprocess.run(
        [str(ROOT / sbatch[script]), *sbatch[script + 1 :]], env=job, capture_output=True, text=True, check=True
    )
    words = started.stdout.split()
    assert "first:29500" in words
    required_torchrun(words)


def test_kubernetes_starts_torchrun_in_every_pod() -> None:
    (apply,) = (words for words in commands() if words[0] == "kubectl")
    service, job = yaml.safe_load_all((ROOT / apply[-1]).read_text("utf-8"))
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    command = container["command"]
    required_torchrun(command)
    assert f"--nnodes={job['spec']['completions']}" in command
    assert f"--nproc-per-node={container['resources']['limits']['nvidia.com/gpu']}" in command
    name = job["metadata"]["name"]
    assert f"--rdzv-endpoint={name}-0.{service['metadata']['name']}:29500" in command
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_semi_takes_the_commands_with_launch() -> None:
    (sharded,) = (words for words in commands() if "--fsdp" in words)
    required_verb([word for word in sharded[1:] if word not in ("--launch", "2")])


def test_the_table_of_the_page_is_what_the_model_says() -> None:
    assert table(Assumptions()) in PAGE


def test_bytes_are_those_of_the_shipped_projector() -> None:
    """Trained in fp32; the file holds bf16."""
    numbers = sum(tensor.numel() for tensor in load_tensors(SHIPPED).values())
    assert TRAININGS[0].trained == numbers
    assert bytes_a_step(TRAININGS[0], 8) == (2 * 4 * numbers * 7 / 8, 0)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_ring_sends_what_is_counted(count: int) -> None:
    """Process 0 of a ring in chunks: count - 1 rounds gather; as many before them add up."""
    chunk = 5.0
    assert gathered(chunk * count, count) == pytest.approx(chunk * (count - 1))
    assert reduced(chunk * count, count) == pytest.approx(2 * chunk * (count - 1))


def test_one_process_sends_nothing_and_more_are_less_efficient() -> None:
    training, assumed = Training("", 1e9, 1e7, (9e8, 20)), Assumptions()
    assert bytes_a_step(training, 1) == (0, 0)
    shares = [efficiency(training, count, assumed) for count in (1, 2, 8, 64)]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert bytes_a_step(training, 8, accumulate=4)[1] == 4 * bytes_a_step(training, 8)[1]
