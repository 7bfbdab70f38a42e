"""One resumable training loop for every training in semi.

Step s draws all its randomness from (seed, s, micro-batch), so nothing but weights, optimiser moments and history has
to be kept, and a run that is killed and resumed equals an undisturbed one bit for bit on a CPU.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semi.artifacts import Checkpoint, write_bytes
from semi.errors import ArtifactError, SemiError
from semi.tracking import Note
from semi.training.processes import ALONE, BatchLoss, Processes

Advance = Callable[[int, str], None]


@dataclass(frozen=True)
class Schedule:
    """How a training runs.

    Attributes:
        steps: optimiser steps.
        lr: peak learning rate of AdamW; linear warm-up, then cosine down to `final_lr` of it.
        warmup: steps of warm-up.
        accumulate: micro-batches a step, their losses averaged.
        clip: largest norm of the gradient.
        validate_every: steps between validations; the weights of the best one are kept (early stopping).
        patience: validations without a new best after which training stops; None: never.
        save_every: steps between checkpoints.
    """

    steps: int
    lr: float
    warmup: int = 0
    accumulate: int = 1
    clip: float = 1.0
    weight_decay: float = 0.0
    final_lr: float = 0.1
    validate_every: int = 100
    patience: int | None = None
    save_every: int = 50
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..., steps - 1."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * (self.final_lr + (1 - self.final_lr) * 0.5 * (1 + math.cos(math.pi * done)))


@dataclass
class History:
    """What a training went through; JSON-able."""

    steps: list[dict[str, float]] = field(default_factory=list)
    """{"step", "loss", "lr"} of every step."""
    validations: list[dict[str, float]] = field(default_factory=list)
    """{"step", "loss"} after that many steps."""

    @property
    def latest(self) -> dict[str, float]:
        """Of the last step {"loss", "lr"}, and "validation" if one followed it."""
        row = {name: value for name, value in self.steps[-1].items() if name != "step"}
        last = self.validations[-1] if self.validations else None
        return row | {"validation": last["loss"]} if last and last["step"] == self.steps[-1]["step"] else row

    @property
    def best(self) -> dict[str, float]:
        """The validation with the lowest loss, the earliest of equals."""
        return min(self.validations, key=lambda v: v["loss"])


def generator(seed: int, *salt: int) -> torch.Generator:
    """A CPU generator that depends on all its numbers."""
    mixed = seed
    for number in salt:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(mixed)


def train(
    module: nn.Module,
    batch_loss: BatchLoss,
    schedule: Schedule,
    *,
    validate: Callable[[], float] | None = None,
    folder: Path | None = None,
    advance: Advance = lambda step, note: None,
    processes: Processes = ALONE,
) -> History:
    """Train the module's parameters in place; with `validate`, end with those of the best validation.

    Args:
        batch_loss: the mean loss of one micro-batch drawn with the generator it is given; of many processes, this
            one's part of it.
        validate: the same number on all processes.
        folder: where a checkpoint and metrics.jsonl are kept; a run found there goes on. None: memory only.
        advance: told (steps done, note) after every step.
        processes: that train together. The first one writes; any other number of them goes on from what it wrote.

    Raises:
        SemiError: the loss became NaN or infinite; the step is named.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=schedule.weight_decay)
    run = _Run(module, optimizer, Checkpoint(folder) if folder else None, processes)
    run.resume()
    processes.require_same(run.checkpoint, run.step)
    loss_of = processes.parallel(module, batch_loss)
    history, start = run.history, run.step
    if start == 0 and validate is not None:
        run.validated(0, validate())
    for step in range(start, schedule.steps):
        if run.stopped(schedule):
            break
        loss = 0.0
        optimizer.zero_grad()
        for micro in range(schedule.accumulate):
            with processes.holding(loss_of, last=micro + 1 == schedule.accumulate):
                part = loss_of(generator(schedule.seed, step, micro)) / schedule.accumulate
                (part * processes.count).backward()  # type: ignore[no-untyped-call]
            loss += float(part.detach())
        loss = float(processes.total(parameters[0].new_tensor(loss, dtype=torch.float64)))
        if not math.isfinite(loss):
            raise SemiError(f"the loss is {loss} at step {step + 1}", do="lower the learning rate")
        nn.utils.clip_grad_norm_(parameters, schedule.clip)
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.step()
        run.step = step + 1
        history.steps.append({"step": run.step, "loss": loss, "lr": schedule.rate(step)})
        last = run.step == schedule.steps
        if validate is not None and (last or run.step % schedule.validate_every == 0):
            run.validated(run.step, validate())
        if last or run.step % schedule.save_every == 0:
            run.save()
        advance(run.step, Note(f"loss {loss:.3f}", history.latest))
    run.restore_best()
    if folder and processes.first:
        write_bytes(folder / "metrics.jsonl", _metrics(history))
    return history


class _Run:
    """The state of a training: module, optimiser, history and the best weights so far."""

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        checkpoint: Checkpoint | None,
        processes: Processes,
    ) -> None:
        self.module, self.optimizer, self.checkpoint, self.processes = module, optimizer, checkpoint, processes
        self.step, self.history = 0, History()
        self.best: dict[str, Tensor] | None = None

    def validated(self, step: int, loss: float) -> None:
        self.history.validations.append({"step": step, "loss": loss})
        if self.history.best["step"] == step:
            self.best = {k: v.detach().clone() for k, v in self._trained().items()}

    def stopped(self, schedule: Schedule) -> bool:
        """Whether the last `patience` validations brought no new best."""
        if schedule.patience is None or not self.history.validations:
            return False
        seen = self.history.validations
        since = len(seen) - 1 - seen.index(self.history.best)
        return since >= schedule.patience

    def save(self) -> None:
        if self.checkpoint is not None and self.processes.first:
            self._write(self.checkpoint)
        self.processes.wait()

    def _write(self, checkpoint: Checkpoint) -> None:
        tensors = {f"module.{k}": v.detach() for k, v in self._trained().items()}
        tensors |= {f"best.{k}": v for k, v in (self.best or {}).items()}
        for i, entry in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in entry.items()}
        state = {"steps": self.history.steps, "validations": self.history.validations}
        checkpoint.save(self.step, tensors, state)

    def resume(self) -> None:
        found = self.checkpoint.load() if self.checkpoint else None
        if found is None:
            return
        self.step, tensors, state = found
        self._require_fit(tensors)
        self.history = History(state["steps"], state["validations"])
        with torch.no_grad():
            for name, value in self._trained().items():
                value.copy_(tensors[f"module.{name}"])
        self.best = {k.removeprefix("best."): v for k, v in tensors.items() if k.startswith("best.")} or None
        packed = copy.deepcopy(self.optimizer.state_dict())
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, i, key = name.split(".")
                packed["state"].setdefault(int(i), {})[key] = value
        self.optimizer.load_state_dict(packed)

    def _require_fit(self, tensors: dict[str, Tensor]) -> None:
        kept = {k.removeprefix("module."): tuple(t.shape) for k, t in tensors.items() if k.startswith("module.")}
        own = {name: tuple(p.shape) for name, p in self._trained().items()}
        if kept != own and self.checkpoint:
            raise ArtifactError(
                f"the checkpoint {self.checkpoint.path} is of another network",
                got=kept,
                expected=own,
                do="start the run afresh with --force",
            )

    def restore_best(self) -> None:
        if self.best is None:
            return
        with torch.no_grad():
            for name, value in self._trained().items():
                value.copy_(self.best[name])

    def _trained(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}


def _metrics(history: History) -> bytes:
    validated = {v["step"]: v["loss"] for v in history.validations}
    rows: list[dict[str, Any]] = [{"step": 0, "validation": validated[0]}] if 0 in validated else []
    for row in history.steps:
        rows.append(row | ({"validation": validated[row["step"]]} if row["step"] in validated else {}))
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode()
