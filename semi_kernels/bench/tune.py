"""Finding launch configurations for a GPU that has none, or better ones."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from semi_kernels import configurations
from semi_kernels.bench import report, timers
from semi_kernels.bench.cases import LAYERS, Case, Quantisation
from semi_kernels.bench.problems import draw
from semi_kernels.bench.providers import OURS
from semi_kernels.bench.run import refuse_interpreter

Entry = dict[str, Any]
TRIED: dict[str, tuple[Any, ...]] = {
    "BN": ([128, 64, 32], [64, 32, 16], [32, 16], [16]),
    "BK": (64, 128, 256),
    "num_warps": (2, 4, 8),
    "num_stages": (2, 3, 4, 5),
}
"""Values of each setting. One setting is varied at a time: what is best for one hardly depends on another."""
_GAIN = 1.02
"""A change must be worth 2 %, or the noise would choose."""


def tune(device: torch.device, *, quick: bool = False, tell: Callable[[str], object] = lambda line: None) -> Entry:
    """The configuration file of this GPU, with entries that were measured here.

    It begins at the entries of the nearest GPU that has some, and takes every change that makes the geometric mean over
    the layers faster. Some minutes; with `quick` on two layers only.

    Raises:
        ValueError: there is no GPU, or Triton is missing.
    """
    if device.type != "cuda" or not torch.cuda.is_available():
        raise ValueError("tune: got no GPU, expected one: configurations are measured, never guessed")
    refuse_interpreter(device)
    on = configurations.gpu(device)
    file = deepcopy(configurations.nearest(on.name, on.capability, on.backend))
    file.update(gpu=on.name, backend=on.backend, capability=list(on.capability), measured=True)
    file["measured_with"] = {k: v for k, v in report.environment(device).items() if k in ("torch", "triton", "driver")}
    layers = (LAYERS[0], LAYERS[2]) if quick else LAYERS
    for number, entry in enumerate(file["fused_lora"]):
        best = _seconds(file, entry, device, layers)
        for setting, values in TRIED.items():
            for value in values:
                if value == entry[setting]:
                    continue
                trial = deepcopy(file)
                trial["fused_lora"][number][setting] = value
                found = _seconds(trial, trial["fused_lora"][number], device, layers)
                if found * _GAIN < best:
                    where = f"{entry['weight']}, {entry['rows']} rows"
                    tell(f"{where}: {setting} {entry[setting]} -> {value}, {best / found:.2f}x")
                    best, entry[setting] = found, value
    return file


def write(file: Entry, folder: Path | None = None) -> Path:
    """Into the package's own configurations, from where it is used from now on; or into another folder."""
    folder = folder or Path(configurations.__file__).parent / "configs"
    path = folder / f"{slug(file['gpu'])}.json"
    report.write_json(path, file)
    configurations.shipped.cache_clear()
    configurations.nearest.cache_clear()
    return path


def slug(gpu: str) -> str:
    """A GPU's name as a file's: "NVIDIA H200" -> h200."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.casefold().removeprefix("nvidia ")).strip("-")


@contextmanager
def using(file: Entry) -> Iterator[None]:
    """Kernels take their configurations from this file alone."""
    nearest = configurations.nearest
    setattr(configurations, "nearest", lambda *_: file)  # noqa: B010  # a function, which mypy lets nobody assign to
    try:
        yield
    finally:
        setattr(configurations, "nearest", nearest)  # noqa: B010


def _seconds(file: Entry, entry: Entry, device: torch.device, layers: tuple[tuple[int, int], ...]) -> float:
    """Geometric mean over the layers of one call at the entry's largest M, in a graph; infinite where it cannot run."""
    quantisation: Quantisation = "dense" if entry["weight"] == "dense" else "nf4"
    logarithms = []
    with using(file), torch.cuda.device(device):
        for K, N in layers:
            problem = draw(Case("fused_lora", entry["rows"], K, N, quantisation=quantisation), device)
            copies = timers.copies_for_cold_cache(problem.nbytes, device, most=40)
            sets = [problem, *(problem.clone(seed) for seed in range(1, copies))]
            new_stream: Callable[..., torch.cuda.Stream] = torch.cuda.Stream
            try:
                with torch.no_grad(), torch.cuda.stream(new_stream(device)):
                    logarithms.append(math.log(timers.graph([OURS.prepare(one).call for one in sets], repeats=10).p50))
            except Exception:  # too much shared memory or too many registers: this configuration is none
                torch.cuda.synchronize()
                return math.inf
    return math.exp(sum(logarithms) / len(logarithms))
