"""What every stage is told, and how it keeps what it found."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from semi_kernels.bench import report


class OutOfTime(Exception):
    """The stage stops here; its file holds what it found, and a rerun goes on."""


@dataclass
class Context:
    """Device, sizes, folder and clock of a run."""

    device: torch.device
    tiny: bool
    folder: Path
    deadline: float
    model: str | None = None
    limit: float = 0.0
    """When the stage at work has used its part of the time."""
    _saved: float = field(default=0.0)

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def check(self, stage: str, state: dict[str, Any]) -> None:
        """Between two pieces of work: keep what there is now and then, and stop if time is up."""
        if time.monotonic() > min(self.limit, self.deadline):
            raise OutOfTime
        if time.monotonic() - self._saved > 5:
            self.save(stage, state)

    def load(self, stage: str) -> dict[str, Any]:
        path = self.folder / f"{stage}.json"
        state: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return state

    def save(self, stage: str, state: dict[str, Any]) -> None:
        self._saved = time.monotonic()
        report.write_json(self.folder / f"{stage}.json", {**state, "tiny": self.tiny, "device": self.device.type})

    def synchronize(self) -> None:
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object], rounds: int) -> float:
        """Median of some runs after one that is not counted."""
        times = [self.seconds_once(work) for _ in range(rounds + 1)]
        return sorted(times[1:])[rounds // 2]

    def seconds_once(self, work: Callable[[], object]) -> float:
        """From an idle device to an idle device."""
        self.synchronize()
        begun = time.perf_counter()
        work()
        self.synchronize()
        return time.perf_counter() - begun
