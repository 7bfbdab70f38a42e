"""What a GPU can do at best: the roofs that floors are made of."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch


@dataclass(frozen=True)
class Hardware:
    """Roofs of one GPU; None where nothing is known."""

    name: str
    bandwidth: float | None
    """Bytes a second, read and written together."""
    peak: float | None
    """FLOP a second of 16-bit matrix products, dense."""
    multiprocessors: int | None
    clock: float | None
    """Hz."""
    source: str
    """measured | datasheet | measured in this run | unknown"""

    @property
    def peak_fp32(self) -> float | None:
        """FLOP a second of fp32 without TF32: 128 multiply-adds a clock and multiprocessor."""
        return None if self.multiprocessors is None or self.clock is None else 256 * self.multiprocessors * self.clock


H200 = Hardware("NVIDIA H200", 4.3e12, 790e12, 132, 1.98e9, "measured")
"""Bandwidth of a copy and rate of an 8192^3 product of random bf16, as such a card gave them."""
_KNOWN: tuple[tuple[str, Hardware], ...] = (
    (r"\bH200\b", H200),
    (r"\bH100 PCIe\b", Hardware("NVIDIA H100 PCIe", 2.0e12, 756e12, 114, 1.755e9, "datasheet")),
    (r"\bH100 NVL\b", Hardware("NVIDIA H100 NVL", 3.9e12, 835e12, 132, 1.785e9, "datasheet")),
    (r"\bH100\b", Hardware("NVIDIA H100", 3.35e12, 989e12, 132, 1.98e9, "datasheet")),
    (r"\bA100\b.*40GB", Hardware("NVIDIA A100 40GB", 1.555e12, 312e12, 108, 1.41e9, "datasheet")),
    (r"\bA100\b", Hardware("NVIDIA A100 80GB", 2.0e12, 312e12, 108, 1.41e9, "datasheet")),
    (r"\bB200\b", Hardware("NVIDIA B200", 8.0e12, 2250e12, 148, 1.965e9, "datasheet")),
)


def known(name: str) -> Hardware | None:
    """Roofs of a GPU by the name its driver gives it; None for one that is not in the table."""
    found = next((hardware for pattern, hardware in _KNOWN if re.search(pattern, name)), None)
    return found and replace(found, name=name)


def of(device: torch.device) -> Hardware:
    """Roofs of a device. On a CPU those of an H200, to print floors of; an unknown GPU is measured."""
    if device.type != "cuda":
        return H200
    properties = torch.cuda.get_device_properties(device)
    return known(properties.name) or measure(device)


@cache
def measure(device: torch.device) -> Hardware:
    """A large copy and a large matrix product, half a second together. A roof that cannot be measured is None."""
    properties = torch.cuda.get_device_properties(device)
    unknown = Hardware(properties.name, None, None, properties.multi_processor_count, _clock(), "measured in this run")
    try:
        source = torch.empty(2**30, dtype=torch.uint8, device=device).random_()
        target = torch.empty_like(source)
        bandwidth = 2 * source.numel() / _seconds(lambda: target.copy_(source))
        a = torch.randn(8192, 8192, dtype=torch.bfloat16, device=device)
        b, out = torch.randn_like(a), torch.empty_like(a)
        peak = 2 * 8192**3 / _seconds(lambda: torch.mm(a, b, out=out))
    except RuntimeError:  # too little memory, or no bf16
        return replace(unknown, source="unknown")
    return replace(unknown, bandwidth=bandwidth, peak=peak)


def _seconds(work: Callable[[], object], rounds: int = 10) -> float:
    """Median of some runs."""
    times = []
    for _ in range(rounds + 3):
        start, end = events()
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(float(start.elapsed_time(end)) / 1e3)
    return sorted(times[3:])[rounds // 2]


def events() -> tuple[torch.cuda.Event, torch.cuda.Event]:
    """Two marks on the GPU's clock."""
    mark: Callable[..., torch.cuda.Event] = torch.cuda.Event
    return mark(enable_timing=True), mark(enable_timing=True)


def _clock() -> float | None:
    found = nvidia_smi("clocks.max.sm")
    return float(found.split()[0]) * 1e6 if found and found.split()[0].isdigit() else None


@cache
def nvidia_smi(field: str) -> str | None:
    """A field of the first GPU, e.g. driver_version; None where nvidia-smi cannot tell."""
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
