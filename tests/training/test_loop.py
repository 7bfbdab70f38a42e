from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from semi.artifacts.checkpoint import CHECKPOINT
from semi.errors import SemiError
from semi.training.loop import History, Schedule, generator, train


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class Task:
    """A small network that learns a fixed map; knows how often each step was computed, and can be killed in one."""

    def __init__(self, *, kill: int | None = None, frozen: bool = False) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
        self.first_bias = self.module.get_parameter("0.bias").requires_grad_(not frozen)
        self.kill, self.losses = kill, 0

    def batch_loss(self, g: torch.Generator) -> Tensor:
        self.losses += 1
        if self.kill is not None and self.losses > self.kill:
            raise Killed
        x = torch.randn(8, 4, generator=g)
        loss: Tensor = (self.module(x) - x[:, :2].sin()).square().mean()
        return loss

    def validate(self) -> float:
        x = torch.randn(16, 4, generator=generator(99))
        with torch.no_grad():
            return float((self.module(x) - x[:, :2].sin()).square().mean())

    def weights(self) -> list[Tensor]:
        return [t.clone() for t in self.module.state_dict().values()]


SCHEDULE = Schedule(
    steps=12, lr=0.05, warmup=3, accumulate=2, validate_every=4, save_every=5, weight_decay=0.01, seed=3
)


def run(task: Task, schedule: Schedule = SCHEDULE, folder: Path | None = None) -> History:
    return train(task.module, task.batch_loss, schedule, validate=task.validate, folder=folder)


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("save_every", [1, 5])
def test_killed_at_any_step_and_resumed_it_equals_an_undisturbed_run(tmp_path: Path, save_every: int) -> None:
    schedule = Schedule(**{**SCHEDULE.__dict__, "save_every": save_every})
    undisturbed, whole = Task(), tmp_path / "whole"
    whole.mkdir()
    history = run(undisturbed, schedule, whole)
    for kill in range(schedule.steps * schedule.accumulate):
        folder = tmp_path / str(kill)
        folder.mkdir()
        with pytest.raises(Killed):
            run(Task(kill=kill), schedule, folder)
        resumed = Task()
        assert run(resumed, schedule, folder) == history
        assert equal(resumed.weights(), undisturbed.weights())
        assert (folder / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
        if save_every == 1:  # no step is computed twice
            assert resumed.losses == 2 * (schedule.steps - kill // 2)


@given(kills=st.lists(st.integers(0, 12), max_size=5))
@settings(max_examples=15)
def test_killed_again_and_again_it_still_equals_an_undisturbed_run(
    kills: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed = Task()
    history = run(undisturbed)
    folder = tmp_path_factory.mktemp("run")
    for kill in kills:
        try:
            run(Task(kill=kill), folder=folder)
        except Killed:
            continue
    resumed = Task()
    assert run(resumed, folder=folder) == history
    assert equal(resumed.weights(), undisturbed.weights())


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first, again = Task(), Task()
    assert run(first, folder=tmp_path) == run(again, folder=tmp_path)
    assert again.losses == 0
    assert equal(first.weights(), again.weights())


def test_memory_only_equals_a_folder(tmp_path: Path) -> None:
    on_disk, in_memory = Task(), Task()
    assert run(on_disk, folder=tmp_path) == run(in_memory)
    assert equal(on_disk.weights(), in_memory.weights())


def test_frozen_parameters_stay(tmp_path: Path) -> None:
    task = Task(frozen=True)
    before = task.first_bias.clone()
    run(task, folder=tmp_path)
    assert torch.equal(task.first_bias, before)
    assert not equal(task.weights(), Task().weights())


def _same(module: nn.Module, x: Tensor, g: torch.Generator) -> Tensor:
    loss: Tensor = module(x).square().mean()
    return loss


def test_accumulation_averages_the_micro_batches() -> None:
    """One step on two equal micro-batches is the step on one of them."""
    tasks = [Task(), Task()]
    for task, accumulate in zip(tasks, (1, 3), strict=True):
        x = torch.randn(8, 4, generator=generator(1))
        module = task.module
        history = train(module, partial(_same, module, x), Schedule(steps=1, lr=0.1, accumulate=accumulate))
    for a, b in zip(tasks[0].weights(), tasks[1].weights(), strict=True):
        torch.testing.assert_close(a, b)
    assert history.steps[0]["loss"] == pytest.approx(float(Task().module(x).square().mean().detach()), rel=1e-5)


def test_every_micro_batch_has_randomness_of_its_own() -> None:
    drawn: list[float] = []
    module = nn.Linear(1, 1)

    def batch_loss(g: torch.Generator) -> Tensor:
        drawn.append(float(torch.rand((), generator=g)))
        return _same(module, torch.ones(1), g)

    train(module, batch_loss, Schedule(steps=5, lr=0.1, accumulate=4))
    train(module, batch_loss, Schedule(steps=5, lr=0.1, accumulate=4, seed=1))
    assert len(set(drawn)) == 40


def scripted(losses: list[float], patience: int | None) -> tuple[History, float, list[float]]:
    """A training whose validation losses are given; the weight counts its steps."""
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0.0)
    values = iter(losses)
    seen = []

    def validate() -> float:
        seen.append(float(module.weight.detach()))
        return next(values)

    schedule = Schedule(len(losses) - 1, lr=1.0, validate_every=1, patience=patience)
    history = train(module, lambda g: -module.weight.sum(), schedule, validate=validate)
    return history, float(module.weight.detach()), seen


def test_the_weights_of_the_best_validation_are_restored() -> None:
    history, final, seen = scripted([3.0, 2.0, 1.0, 1.0, 4.0], patience=None)
    assert history.best == {"step": 2, "loss": 1.0}  # the earliest of equals
    assert final == seen[2] != seen[4]
    assert len(history.steps) == 4


def test_a_start_that_training_only_spoils_is_kept() -> None:
    history, final, seen = scripted([1.0, 2.0, 3.0], patience=None)
    assert history.best["step"] == 0
    assert final == seen[0] == 0.0


@pytest.mark.parametrize(("patience", "steps"), [(1, 3), (2, 6), (3, 7), (None, 8)])
def test_patience_ends_the_training(patience: int | None, steps: int) -> None:
    history, _, _ = scripted([9.0, 5.0, 4.0, 4.5, 3.0, 3.5, 3.0, 3.9, 2.0], patience)
    assert len(history.steps) == steps


@pytest.mark.parametrize("save_every", [1, 2, 100])
def test_a_run_that_lost_patience_resumes_to_the_same_end(tmp_path: Path, save_every: int) -> None:
    schedule = Schedule(20, lr=2.0, validate_every=1, patience=2, save_every=save_every)
    first, again = Task(), Task()
    assert len(run(first, schedule, tmp_path).steps) < 20
    assert run(again, schedule, tmp_path) == run(Task(), schedule)
    assert equal(first.weights(), again.weights())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_an_error_that_names_the_step(tmp_path: Path, bad: float) -> None:
    task = Task()

    def batch_loss(g: torch.Generator) -> Tensor:
        return task.batch_loss(g) * (bad if task.losses == 7 else 1.0)

    with pytest.raises(SemiError, match="at step 7") as failed:
        train(task.module, batch_loss, Schedule(steps=9, lr=0.01, save_every=3), folder=tmp_path)
    assert "learning rate" in str(failed.value)
    assert all(t.isfinite().all() for t in task.weights())
    assert (tmp_path / CHECKPOINT).exists()
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    run(Task(), folder=tmp_path)
    module = nn.Linear(4, 2)
    with pytest.raises(SemiError, match="checkpoint"):
        train(module, lambda g: module(torch.ones(4)).sum(), SCHEDULE, folder=tmp_path)


def test_metrics_hold_every_step_and_validation(tmp_path: Path) -> None:
    history = run(Task(), folder=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(13))
    assert [row["step"] for row in rows if "validation" in row] == [0, 4, 8, 12]
    assert rows[-1]["loss"] == history.steps[-1]["loss"]


def test_no_steps_change_nothing(tmp_path: Path) -> None:
    task = Task()
    before = task.weights()
    history = train(task.module, task.batch_loss, Schedule(steps=0, lr=0.1), folder=tmp_path)
    assert history == History()
    assert equal(task.weights(), before)


@given(steps=st.integers(1, 60), warmup=st.integers(0, 70), final=st.floats(0, 1))
@settings(max_examples=50)
def test_the_rate_rises_to_its_peak_and_falls_to_its_end(steps: int, warmup: int, final: float) -> None:
    schedule = Schedule(steps, lr=2.0, warmup=warmup, final_lr=final)
    rates = [schedule.rate(step) for step in range(steps)]
    assert all(0 < rate <= 2.0 + 1e-9 for rate in rates) or final == 0
    up, down = rates[:warmup], rates[warmup:]
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)
    if down:
        assert down[0] == pytest.approx(2.0)
        assert min(down) >= 2.0 * final - 1e-9


def test_advance_is_told_every_step() -> None:
    told: list[int] = []
    task = Task()
    train(task.module, task.batch_loss, SCHEDULE, advance=lambda step, note: told.append(step))
    assert told == list(range(1, 13))


@given(a=st.tuples(st.integers(0, 99), st.integers(0, 99)), b=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_generators_differ_where_their_numbers_do(a: tuple[int, int], b: tuple[int, int]) -> None:
    first, second = (float(torch.rand((), generator=generator(5, *salt), dtype=torch.float64)) for salt in (a, b))
    assert (first == second) == (a == b)
