"""Clocks: CUDA events with a cold L2 in eager mode and in graphs, and rounds side by side on a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch

from semi_kernels.bench.hardware import events

Call = Callable[[], object]
_AT_LEAST = 8
"""Calls in a graph: what it costs to start one is shared by them."""


@dataclass(frozen=True)
class Timing:
    """Percentiles of the time of one call, in microseconds."""

    p20: float
    p50: float
    p80: float

    @classmethod
    def of(cls, microseconds: Sequence[float]) -> Timing:
        """Of at least one measurement; between two of them linearly."""
        ordered = sorted(microseconds)

        def at(fraction: float) -> float:
            place = fraction * (len(ordered) - 1)
            below = int(place)
            above = min(below + 1, len(ordered) - 1)
            return ordered[below] + (place - below) * (ordered[above] - ordered[below])

        return cls(at(0.2), at(0.5), at(0.8))


def side_by_side(calls: Sequence[Sequence[Call]], seconds: float, rounds: tuple[int, int] = (5, 200)) -> list[Timing]:
    """Time several contenders on a CPU in turns, so that whatever else the machine does slows all of them.

    Args:
        calls: for each contender its calls over rotated inputs.
        seconds: for all of them; at least the first of `rounds` is done in any case, at most the second.
    """
    for contender in calls:
        contender[0]()
        contender[-1]()
    times: list[list[float]] = [[] for _ in calls]
    begun = time.perf_counter()
    for number in range(rounds[1]):
        if number >= rounds[0] and time.perf_counter() - begun > seconds:
            break
        # Every second round backwards: whoever always came after a long call would always find a cold cache.
        turn = list(zip(calls, times, strict=True))
        for contender, found in turn if number % 2 == 0 else reversed(turn):
            call = contender[number % len(contender)]
            start = time.perf_counter()
            call()
            found.append(1e6 * (time.perf_counter() - start))
    return [Timing.of(found) for found in times]


def eager(calls: Sequence[Call], repeats: int = 40) -> Timing:
    """From an idle GPU with a cold L2 to the end of a call: what it costs to launch is part of it."""
    cold = _eviction(torch.cuda.current_device())
    for call in calls[:3]:
        call()
    times = []
    for number in range(repeats):
        start, end = events()
        cold.zero_()
        torch.cuda.synchronize()
        start.record()
        calls[number % len(calls)]()
        end.record()
        end.synchronize()
        times.append(1e3 * start.elapsed_time(end))
    return Timing.of(times)


def graph(calls: Sequence[Call], repeats: int = 20) -> Timing:
    """A call among others in a replayed CUDA graph: launch costs are gone but for the GPU's own.

    All calls are captured into one graph. Their inputs together exceed L2 several times (`copies_for_cold_cache`), so
    each call finds its own cold.

    Raises:
        RuntimeError: a call cannot be captured.
    """
    stream = torch.cuda.current_stream()
    for call in calls[:3]:
        call()
    stream.synchronize()
    turns = [*calls] * -(-_AT_LEAST // len(calls))
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded, stream=stream):
        for call in turns:
            call()
    recorded.replay()
    stream.synchronize()
    cold = _eviction(torch.cuda.current_device())
    times = []
    for _ in range(repeats):
        start, end = events()
        cold.zero_()  # 60 us on an H200, in which the CPU hands over the graph
        start.record()
        recorded.replay()
        end.record()
        end.synchronize()
        times.append(1e3 * start.elapsed_time(end) / len(turns))
    del recorded
    return Timing.of(times)


def copies_for_cold_cache(nbytes: int, device: torch.device, most: int = 160) -> int:
    """How many sets of inputs of this size exceed the cache three times over; 2 to `most`."""
    cache_size = 8 * 2**20
    if device.type == "cuda":
        cache_size = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0) or 64 * 2**20
    return max(2, min(most, -(-3 * cache_size // max(nbytes, 1))))


def null(launch: str) -> float:
    """t_null: the median of an empty kernel in the same mode ("eager" or "graph"), in microseconds."""
    return (eager([_nothing] * 4) if launch == "eager" else graph([_nothing] * 64)).p50


def _nothing() -> None:
    """The emptiest kernel that PyTorch can launch: it spins for no cycle."""
    spin: Callable[[int], None] = torch.cuda._sleep
    spin(0)


@cache
def _eviction(device: int) -> torch.Tensor:
    """What is written to push everything else out of L2: 256 MB, four times an H200's."""
    return torch.empty(256 * 2**20, dtype=torch.uint8, device=f"cuda:{device}")
