"""Two processes take the steps of one: DDP and FSDP2 in fp32, all trainings and losses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semi.artifacts import Checkpoint
from semi.errors import OutputError
from semi.training.distributed import Team, joined
from semi.training.launching import launch
from semi.training.processes import ALONE, Processes
from semi.training.run import run_hypernetwork, run_projector

TOLERANCE = 1e-5
"""In nats a token below 1, relative above."""
ATTENTION = ("kind=attention", "settings={rank: 2, alpha: 2.0, n_pairs: 32}", "loss=distillation")
Losses = dict[str, list[float]]


def train_all(folder: Path, recipes: tuple[Path, Path], projector: Path, processes: Processes) -> Losses:
    """Losses of every step and validation of each training."""
    changes = (f"projector={projector}",)
    histories = {
        "projector": run_projector(recipes[0], folder / "projector", processes=processes),
        "ridge": run_hypernetwork(recipes[1], folder / "ridge", changes=changes, processes=processes),
        "distillation": run_hypernetwork(
            recipes[1], folder / "attention", changes=(*changes, *ATTENTION), processes=processes
        ),
    }
    return {name: [row["loss"] for row in (*h.steps, *h.validations)] for name, h in histories.items()}


def in_a_team(folder: Path, recipes: tuple[Path, Path], projector: Path) -> tuple[Losses, Losses, str]:
    """Of DDP and of FSDP2; and what is said where the processes find different checkpoints."""
    with joined() as processes:
        ddp = train_all(folder / "ddp", recipes, projector, processes)
        fsdp = train_all(folder / "fsdp", recipes, projector, Team(fsdp=True))
        try:
            processes.require_same(Checkpoint(folder), step=40 * processes.number)
        except OutputError as error:
            return ddp, fsdp, str(error)
        return ddp, fsdp, ""


def largest_difference(a: Sequence[float], b: Sequence[float]) -> float:
    return max(abs(x - y) / max(1.0, abs(y)) for x, y in zip(a, b, strict=True))


def test_two_processes_reach_the_losses_of_one(recipes: tuple[Path, Path], tmp_path: Path) -> None:
    one = train_all(tmp_path / "one", recipes, tmp_path / "one" / "projector", ALONE)
    *teams, refused = launch(2, in_a_team, tmp_path, recipes, tmp_path / "one" / "projector")
    assert "steps 0, 40" in refused
    assert str(tmp_path) in refused
    for losses in teams:
        for name, seen in losses.items():
            print(name, len(seen), seen[0], seen[19], largest_difference(seen, one[name]))
            assert largest_difference(seen, one[name]) < TOLERANCE, name
