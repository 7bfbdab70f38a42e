"""The tables of a sample-efficiency study, from its lines."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np

from semi.study.config import EfficiencyConfig
from semi.study.measure import SCORES
from semi.study.results import Line
from semi.study.statistics import Bootstrap, Interval, Scored, difference, holm, mean, shots_to_match

MEASURES = {"loss": ("nats", "tokens"), "attributes": ("facts_missed", "facts")}
"""What is compared: what of a line is summed, out of what. Attributes: the share of facts that is missed."""
Place = tuple[str, str, int]
"""Target, method, number of shots."""


def summarise(config: EfficiencyConfig, lines: Sequence[Line]) -> dict[str, Any]:
    """Means, differences from baselines, and shots to match; JSON-able.

    Args:
        lines: of the configuration's cells, those that failed left out.
    """
    by_place = _by_place(config, lines)
    scored = {measure: _scored(by_place, *MEASURES[measure]) for measure in MEASURES}
    ours = [method.name for method in config.methods if method.name not in config.baselines]
    return {
        "rows": [_row(place, group) for place, group in by_place.items()],
        "comparisons": [row for m in MEASURES for name in ours for row in _comparisons(config, scored[m], m, name)],
        "matches": [row for m in MEASURES for name in ours for row in _matches(config, scored[m], m, name)],
    }


def _by_place(config: EfficiencyConfig, lines: Iterable[Line]) -> dict[Place, list[Line]]:
    """Lines of the same target, method and number of shots, in the order of the configuration."""
    found: dict[Place, list[Line]] = defaultdict(list)
    for line in lines:
        found[line["cell"]["target"], line["cell"]["method"], line["shots"]].append(line)
    targets, methods = ([thing.name for thing in things] for things in (config.targets, config.methods))
    order = sorted(found, key=lambda place: (targets.index(place[0]), methods.index(place[1]), place[2]))
    return {place: found[place] for place in order}


def _row(place: Place, lines: Sequence[Line]) -> dict[str, Any]:
    target, method, shots = place
    names = (*SCORES, "seconds", "steps", "captions_shots", "captions_held_out", "captions_shared")
    row: dict[str, Any] = {"target": target, "method": method, "shots": shots, "cells": len(lines)}
    return row | {name: mean([line[name] for line in lines]) for name in names}


def _scored(by_place: Mapping[Place, Sequence[Line]], value: str, count: str) -> dict[Place, Scored]:
    """Per seed and sample, averaged over foundations; without places where nothing was counted."""
    found = {}
    for place, lines in by_place.items():
        by_seed: dict[int, list[Any]] = defaultdict(list)
        for line in lines:
            by_seed[line["cell"]["seed"]].append(line[value])
        counts = np.array(lines[0][count], float)
        if counts.sum():
            seeds = tuple(sorted(by_seed))
            found[place] = Scored(seeds, np.array([np.mean(by_seed[seed], axis=0) for seed in seeds]), counts)
    return found


def _comparisons(
    config: EfficiencyConfig, scored: Mapping[Place, Scored], measure: str, ours: str
) -> list[dict[str, Any]]:
    """A method less every baseline at the same shots; one family for Holm, over targets, baselines and shots."""
    rows, intervals = [], []
    for (target, method, shots), one in scored.items():
        for baseline in config.baselines:
            other = scored.get((target, baseline, shots))
            found = other and difference(one, other, _bootstrap(config, one, other)) if method == ours else None
            if found:
                intervals.append(found)
                rows.append({"target": target, "method": ours, "baseline": baseline, "shots": shots})
    adjusted = holm([interval.p for interval in intervals])
    return [
        row | {"measure": measure, "seeds": len(config.seeds)} | asdict(interval) | {"p_holm": p}
        for row, interval, p in zip(rows, intervals, adjusted, strict=True)
    ]


def _matches(config: EfficiencyConfig, scored: Mapping[Place, Scored], measure: str, ours: str) -> list[dict[str, Any]]:
    rows = []
    for target in config.targets:
        one = scored.get((target.name, ours, config.match_shots))
        for baseline in config.baselines:
            curve = [(p[2], other) for p, other in scored.items() if p[:2] == (target.name, baseline)]
            if one and len(curve) > 1:
                interval, fewest, most = shots_to_match(
                    one, curve, _bootstrap(config, one, *(other for _, other in curve))
                )
                rows.append(
                    {"target": target.name, "method": ours, "baseline": baseline, "measure": measure}
                    | {"at_shots": config.match_shots, "fewest": fewest, "most": most}
                    | _finite(interval)
                    | {"shown": shown(interval, fewest, most)}
                )
    return rows


def shown(interval: Interval, fewest: int, most: int) -> str:
    """Shots to match for people, e.g. "410 (95 % 220 to > 2048)"."""
    value, low, high = (_bounded(x, fewest, most) for x in (interval.value, interval.low, interval.high))
    return f"{value} (95 % {low} to {high})"


def _bounded(value: float, fewest: int, most: int) -> str:
    if value == math.inf:
        return f"> {most}"
    return f"<= {fewest}" if value <= fewest else f"{value:.0f}"


def _finite(interval: Interval) -> dict[str, float | None]:
    """JSON has no infinity: null is more than `most`, the most shots that the baseline was given."""
    named = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: None if value == math.inf else value for name, value in named.items()}


def _bootstrap(config: EfficiencyConfig, *scored: Scored) -> Bootstrap:
    seeds = tuple(sorted({seed for one in scored for seed in one.seeds}))
    return _drawn(seeds, len(scored[0].counts), config.draws)


@lru_cache(maxsize=8)
def _drawn(seeds: tuple[int, ...], n: int, draws: int) -> Bootstrap:
    """The weights of a bootstrap are worth keeping: targets share them."""
    return Bootstrap(seeds, n, draws)
