"""What a command takes: wall and CPU seconds, and its largest memory, sampled from /proc (Linux)."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_EVERY = 0.01
"""Seconds between two looks at the memory."""


class Failed(Exception):
    """A command ended with another exit code than 0; says which, and what it wrote last."""


@dataclass(frozen=True)
class Cost:
    """Of a command with its children.

    Attributes:
        seconds: of wall time.
        cpu: seconds of all cores.
        anonymous: the largest sum of RssAnon seen, in bytes: memory that no file backs.
        resident: the largest resident memory of one process, in bytes; with pages of mapped files.
        trace: (seconds, anonymous bytes) about every hundredth of the time.
    """

    seconds: float
    cpu: float
    anonymous: int
    resident: int
    trace: tuple[tuple[float, int], ...] = ()

    def row(self) -> dict[str, Any]:
        """For JSON, without the trace; sizes in MB of 10^6 bytes."""
        found = asdict(self)
        del found["trace"]
        sizes = {f"{name}_mb": round(found.pop(name) / 1e6) for name in ("anonymous", "resident")}
        return {name: round(value, 2) for name, value in found.items()} | sizes


def measured(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end; what it prints goes to `log`.

    Raises:
        Failed: it did not end well.
    """
    samples: list[tuple[float, int]] = []
    with open(log, "wb") as file:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **(environment or {})})
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        while not ended:
            samples.append((time.perf_counter() - begun, sum(map(_anonymous, _family(process.pid)))))
            time.sleep(_EVERY)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = log.read_text(errors="replace").strip()[-2000:]
        raise Failed(f"{' '.join(command)} ended with {process.returncode}:\n{last}")
    return Cost(
        seconds,
        usage.ru_utime + usage.ru_stime,
        max((size for _, size in samples), default=0),
        usage.ru_maxrss * 1024,
        tuple(_largest(samples, seconds / 100)),
    )


def machine() -> dict[str, Any]:
    """Where and with what it was measured."""
    import torch

    model = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "cpu": model[0] if model else platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory[0] / 1e9, 1) if memory else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }


def _largest(samples: Sequence[tuple[float, int]], width: float) -> list[tuple[float, int]]:
    """The largest sample of each interval of `width` seconds."""
    found: dict[int, tuple[float, int]] = {}
    for at, size in samples:
        place = int(at / width)
        found[place] = max(found.get(place, (at, 0)), (round(at, 2), size), key=lambda sample: sample[1])
    return list(found.values())


def _family(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for parent in found:
        for task in _entries(f"/proc/{parent}/task"):
            found += [int(child) for line in _lines(f"/proc/{parent}/task/{task}/children") for child in line.split()]
    return found


def _anonymous(pid: int) -> int:
    return sum(int(line.split()[1]) * 1024 for line in _lines(f"/proc/{pid}/status") if line.startswith("RssAnon"))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:  # the process has ended
        return []


def _entries(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
