"""`semi study sample-efficiency`: methods x targets x shots x seeds x foundations."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from semi.errors import SemiError
from semi.pairs_io import draw_shots
from semi.study.config import EfficiencyConfig, MethodConfig, TargetConfig
from semi.study.data import Prepared, load_target
from semi.study.measure import as_line, foundation_in_memory, make, score
from semi.study.results import Identity, Line
from semi.study.run import Hashes, Job

KIND = "sample-efficiency"


@dataclass(frozen=True)
class Parts:
    """What a process needs to measure a cell."""

    foundation: str
    target: Prepared
    settings: dict[str, Any]
    shots: int
    seed: int
    generate: int


def plan(config: EfficiencyConfig, hashes: Hashes, targets: Mapping[str, Prepared]) -> list[Job]:
    """A job a cell, cells of one foundation together so that a process loads each once.

    Args:
        targets: as far as they are encoded; numbers of shots that a target's train split does not hold are left out.
    """
    return [
        _job(config, cell, hashes[cell["foundation"]][method.reads], target, method, targets.get(target.name))
        for cell, target, method in cells(config)
        if target.name not in targets or cell["shots"] == "full" or cell["shots"] <= targets[target.name].n_train
    ]


def cells(config: EfficiencyConfig) -> Iterator[tuple[Identity, TargetConfig, MethodConfig]]:
    """All that the configuration asks for, also what a target has too few samples for."""
    for name in config.all_foundations():
        for seed in config.seeds:  # outermost: what a study that is cut short has measured is balanced
            for target in config.targets:
                for method in config.methods:
                    if name not in config.foundations_of(method):
                        continue
                    for shots in method.shots:
                        yield (
                            {
                                "foundation": name,
                                "target": target.name,
                                "method": method.name,
                                "shots": shots,
                                "seed": seed,
                            },
                            target,
                            method,
                        )


def left_out(config: EfficiencyConfig, sizes: Mapping[str, int]) -> list[str]:
    """What the plan does not hold, given how many train samples each target has."""
    return [
        f"{target.name}, {method.name}: {shots} shots, but {sizes[target.name]} samples to draw them from"
        for target in config.targets
        for method in config.methods
        for shots in method.shots
        if shots != "full" and shots > sizes[target.name]
    ]


def measure(job: Job) -> list[Line]:
    """The line of a cell; run in a process of the pool."""
    parts: Parts = job.parts
    foundation, target = foundation_in_memory(parts.foundation), load_target(parts.target)
    about = {"cell": dict(job.cells[0]), "meaning": job.meaning}
    try:
        support = draw_shots(target.train, parts.shots, parts.seed)
        made = make(foundation, target.modality, support, parts.settings, parts.seed)
        begun = time.perf_counter()
        scores = score(foundation, made.integration, target.held_out, parts.generate)
        return [about | as_line(foundation, made, scores, target.held_out, time.perf_counter() - begun)]
    except Exception as error:  # whatever it is, the other cells go on
        said = str(error) if isinstance(error, SemiError) else f"{type(error).__name__}: {error}"
        return [about | {"error": said}]


def _job(
    config: EfficiencyConfig,
    cell: Identity,
    sha256: str,
    target: TargetConfig,
    method: MethodConfig,
    prepared: Prepared | None,
) -> Job:
    source = target.model_dump(mode="json", exclude={"name"})
    meaning = method.meaning | {"target": source, "generate": config.generate, "foundation": sha256}
    if prepared is None:
        return Job((cell,), meaning, None)
    count = prepared.n_train if cell["shots"] == "full" else cell["shots"]
    parts = Parts(cell["foundation"], prepared, method.settings, count, cell["seed"], config.generate)
    return Job((cell,), meaning | {"data": prepared.sha256}, parts)
