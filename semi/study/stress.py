"""`semi study stress`: the same methods under conditions that they were not made for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

from semi.errors import SemiError
from semi.foundation import Foundation
from semi.integration import Integration, pool
from semi.pairs_io import draw_shots
from semi.study.attack import attack
from semi.study.conditions import CONDITIONS, PGD_STEPS, DoesNotApplyError, Scene, Surroundings
from semi.study.config import StressConfig, StressMethod, StressTarget
from semi.study.data import Prepared, Target, load_target
from semi.study.measure import Adapted, as_line, foundation_in_memory, make, score
from semi.study.raw import by_other_encoder, with_noise
from semi.study.results import Identity, Line
from semi.study.run import Hashes, Job

KIND = "stress"
PLAIN = ("plain", 0.0)


@dataclass(frozen=True)
class Parts:
    """What a process needs to measure the cells of one adaptation."""

    foundation: str
    config: StressTarget
    target: Prepared
    other: Prepared | None
    settings: dict[str, Any]
    shots: int
    seed: int
    generate: int


def plan(config: StressConfig, hashes: Hashes, targets: Mapping[str, Prepared]) -> list[Job]:
    """A job an adaptation: the plain one with all that is done to its test samples, and one for every other support."""
    return [
        _job(config, cells, hashes, target, method, targets)
        for target, method, groups in adaptations(config)
        for cells in groups
        if target.name not in targets or _shots(cells[0], targets[target.name]) <= targets[target.name].n_train
    ]


def adaptations(config: StressConfig) -> Iterator[tuple[StressTarget, StressMethod, list[tuple[Identity, ...]]]]:
    """The cells of each target, method and draw of shots, those of one adaptation together."""
    wanted = [(c.name, strength) for c in config.conditions for strength in c.strengths]
    after = [PLAIN, *(one for one in wanted if CONDITIONS[one[0]].stage != "support")]
    groups = [after, *([one] for one in wanted if CONDITIONS[one[0]].stage == "support")]
    for name in config.all_foundations():
        for target in config.targets:
            for method in config.methods:
                if name not in config.foundations_of(method):
                    continue
                for shots in method.shots:
                    for seed in config.seeds:
                        one = {"foundation": name, "target": target.name, "method": method.name, "shots": shots}
                        yield (
                            target,
                            method,
                            [
                                tuple(one | {"seed": seed, "condition": c, "strength": s} for c, s in group)
                                for group in groups
                            ],
                        )


def measure(job: Job) -> list[Line]:
    """A line for each cell of an adaptation; run in a process of the pool."""
    parts: Parts = job.parts
    foundation, target = foundation_in_memory(parts.foundation), load_target(parts.target)
    scene = Scene(draw_shots(target.train, parts.shots, parts.seed), target.held_out, list(range(len(target.held_out))))
    made: Adapted | None = None
    lines: list[Line] = []
    for cell in job.cells:
        about: Line = {"cell": dict(cell), "meaning": job.meaning}
        try:
            changed = _changed(cell, scene, parts, target)
            if made is None:  # all cells of a job have the same support
                made = make(foundation, target.modality, changed.support, parts.settings, parts.seed)
            lines.append(about | _measured(cell, foundation, made, changed, parts.generate))
        except DoesNotApplyError as reason:
            lines.append(about | {"left_out": str(reason)})
        except Exception as error:  # whatever it is, the other cells go on
            said = str(error) if isinstance(error, SemiError) else f"{type(error).__name__}: {error}"
            lines.append(about | {"error": said})
    return lines


def _changed(cell: Identity, scene: Scene, parts: Parts, target: Target) -> Scene:
    """The scene under the cell's condition, but for an attack, which needs the adaptation first."""
    name, strength = cell["condition"], cell["strength"]
    if name == PLAIN[0]:
        return scene
    around = Surroundings(
        target.train,
        parts.shots,
        parts.seed,
        parts.config.groups,
        partial(with_noise, parts.config, parts.target),
        partial(by_other_encoder, parts.config, parts.target),
        partial(_foreign, parts.other),
    )
    generator = np.random.default_rng([parts.seed, crc32(name.encode())])
    return CONDITIONS[name].change(scene, strength, around, generator)


def _measured(cell: Identity, foundation: Foundation, made: Adapted, scene: Scene, generate: int) -> Line:
    name = cell["condition"]
    begun = time.perf_counter()
    if name in ("fgsm", "pgd"):
        scene = attack(made.integration, scene, cell["strength"], steps=1 if name == "fgsm" else PGD_STEPS)
    calibration = {"rows": scene.rows} | _unlike(made.integration, scene)
    if name != PLAIN[0] and not CONDITIONS[name].captions:
        return {"loss": None, "shots": len(made.support)} | calibration
    scores = score(foundation, made.integration, scene.test, generate)
    return as_line(foundation, made, scores, scene.test, time.perf_counter() - begun) | calibration


def _unlike(integration: Integration, scene: Scene) -> Line:
    """How far each test sample is from the support, and whether it is called unlike anything seen."""
    memory, rows = integration.memory, pool(integration.embed([pair.sample for pair in scene.test]))
    return {
        "distances": [round(float(memory.distances(row).min()), 5) for row in rows],
        "unlike": [memory.unlike(row) for row in rows],
    }


def _foreign(other: Prepared | None) -> np.ndarray:
    if other is None:
        raise DoesNotApplyError("the target names no `other_data`")
    return np.stack([pair.sample for pair in load_target(other).held_out])


def _shots(cell: Identity, prepared: Prepared) -> int:
    return prepared.n_train if cell["shots"] == "full" else int(cell["shots"])


def _job(
    config: StressConfig,
    cells: Sequence[Identity],
    hashes: Hashes,
    target: StressTarget,
    method: StressMethod,
    targets: Mapping[str, Prepared],
) -> Job:
    source = target.model_dump(mode="json", exclude={"name"})
    name = cells[0]["foundation"]
    sha256 = hashes[name][method.reads]
    meaning = method.meaning | {"target": source, "generate": config.generate, "foundation": sha256}
    if target.name not in targets:
        return Job(tuple(cells), meaning, None)
    prepared = targets[target.name]
    other = targets[target.other_data] if target.other_data else None
    shots, seed = _shots(cells[0], prepared), cells[0]["seed"]
    parts = Parts(name, target, prepared, other, method.settings, shots, seed, config.generate)
    data = prepared.sha256 + (f"+{other.sha256}" if other else "")
    return Job(tuple(cells), meaning | {"data": data}, parts)
