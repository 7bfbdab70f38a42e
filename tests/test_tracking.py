"""Curves of a training elsewhere: TensorBoard's own files, wandb and trackio by what they are asked."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from semi.errors import InputError
from semi.tracking import tracked
from semi.training.loop import Schedule, train

SCHEDULE = Schedule(steps=6, lr=0.1, validate_every=3, save_every=2)


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def loss(self, generator: torch.Generator) -> Tensor:
        return (self.weight - torch.randn(2, generator=generator)).square().sum()


def trained(where: str | None, name: str, folder: Path | None = None, fails_at: int | None = None) -> Any:
    module, told = Line(), []

    def advance(step: int, note: str) -> None:
        told.append((step, note))
        if step == fails_at:
            raise RuntimeError("out of order")

    with tracked(where, name, {"lr": 0.1}, advance) as watched:
        history = train(
            module, module.loss, SCHEDULE, validate=lambda: module.weight.norm().item(), folder=folder, advance=watched
        )
    return history, told


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_nothing_is_tracked_unless_asked_for(tmp_path: Path) -> None:
    history, told = trained(None, "run")
    assert told == [(row["step"], f"loss {row['loss']:.3f}") for row in history.steps]


def test_tensorboard_holds_the_history(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    history, told = trained(f"tensorboard:{tmp_path}", "run")
    assert len(told) == 6
    found = curves(tmp_path / "run")
    assert [step for step, _ in found["loss"]] == [1, 2, 3, 4, 5, 6]
    assert [value for _, value in found["loss"]] == pytest.approx([row["loss"] for row in history.steps])
    assert [value for _, value in found["lr"]] == pytest.approx([row["lr"] for row in history.steps])
    assert [step for step, _ in found["validation"]] == [3, 6]


def test_a_run_that_goes_on_has_each_step_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(RuntimeError):
        trained(f"tensorboard:{tmp_path}", "run", out, fails_at=5)  # the last checkpoint is of step 4
    history, _ = trained(f"tensorboard:{tmp_path}", "run", out)
    found = curves(tmp_path / "run")
    assert [step for step, _ in found["loss"]] == [1, 2, 3, 4, 5, 6]
    assert [value for _, value in found["loss"]] == pytest.approx([row["loss"] for row in history.steps])


class Recorder(ModuleType):
    """A module with the interface that wandb and trackio share."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked: list[tuple[str, Any]] = []

    def init(self, **options: Any) -> None:
        self.asked.append(("init", options))

    def log(self, values: dict[str, float], step: int) -> None:
        self.asked.append(("log", (step, sorted(values))))

    def finish(self) -> None:
        self.asked.append(("finish", None))


@pytest.mark.parametrize("kind", ["wandb", "trackio"])
def test_wandb_and_trackio_hear_every_step(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Recorder(kind)
    monkeypatch.setitem(sys.modules, kind, module)
    trained(f"{kind}:robots", "arm")
    first, *logged, last = module.asked
    assert first == ("init", {"project": "robots", "name": "arm", "config": {"lr": 0.1}})
    names = {3: ["loss", "lr", "validation"], 6: ["loss", "lr", "validation"]}
    assert logged == [("log", (step, names.get(step, ["loss", "lr"]))) for step in range(1, 7)]
    assert last == ("finish", None)


def test_a_run_that_fails_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Recorder("wandb")
    monkeypatch.setitem(sys.modules, "wandb", module)
    with pytest.raises(RuntimeError):
        trained("wandb:robots", "arm", fails_at=2)
    assert module.asked[-1] == ("finish", None)


@pytest.mark.parametrize("where", ["mlflow:x", "tensorboard", "wandb:"])
def test_what_is_no_tracker_is_refused(where: str) -> None:
    with pytest.raises(InputError, match="unknown tracker"):
        trained(where, "run")


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(InputError, match="trackio is not installed") as caught:
        trained("trackio:x", "run")
    assert caught.value.do == "pip install 'semi-llm[trackio]'"
