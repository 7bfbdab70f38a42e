"""What trouble costs, and whether it is noticed: the table of a stress study and the sentence that it amounts to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from semi.study.conditions import CONDITIONS
from semi.study.results import Line
from semi.study.statistics import mean

PLAIN = "plain"
SAFE, LOST = 0.8, 0.5
"""Shares of what was learned: as good as untroubled, and no longer to be trusted."""
LEAST_LEARNED = 0.05
"""Nats a token between matched and shuffled: a method that learned less has nothing to lose."""


def summarise(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """A row for each method, condition and strength: means over targets, seeds and foundations; JSON-able."""
    plain = {_adaptation(line): line for line in lines if line["cell"]["condition"] == PLAIN}
    groups: dict[tuple[str, str, float], list[dict[str, float | None]]] = defaultdict(list)
    for line in lines:
        if _adaptation(line) in plain:  # else the plain one failed, and there is nothing to compare with
            cell = line["cell"]
            groups[cell["method"], cell["condition"], cell["strength"]].append(_one(line, plain[_adaptation(line)]))
    return [
        {"method": method, "condition": condition, "strength": strength, "cells": len(found)}
        | {name: mean([one[name] for one in found]) for name in found[0]}
        for (method, condition, strength), found in groups.items()
    ]


def sentence(rows: Sequence[Mapping[str, Any]], method: str) -> str:
    """When a method can be trusted and when not, from its rows."""
    own = [row for row in rows if row["method"] == method]
    safe, lost = [], []
    for condition in dict.fromkeys(row["condition"] for row in own if row["condition"] != PLAIN):
        graded = sorted((r["strength"], r["kept"]["mean"]) for r in own if r["condition"] == condition and r["kept"])
        fine = _last_before([s for s, _ in graded], [kept < SAFE for _, kept in graded])
        if fine is not None:
            safe.append(_named(condition, fine, "up to"))
        if bad := [strength for strength, kept in graded if kept < LOST]:
            lost.append(_named(condition, bad[0], "from"))
    parts = [
        f"{method} keeps at least {SAFE:.0%} of what it learned with {', '.join(safe) or 'none of the troubles'} "
        f"and loses more than {1 - LOST:.0%} with {', '.join(lost) or 'none of them'}."
    ]
    if not any(row["kept"] for row in own):
        parts = [f"{method} learned too little for trouble to take anything away."]
    alarms = next((row["marked"]["mean"] for row in own if row["condition"] == PLAIN), None)
    if alarms is not None:
        parts.append(f'"Unlike anything seen" marks {alarms:.0%} of plain samples{_detected(own)}.')
    return " ".join(parts)


def auroc(plain: Sequence[float], troubled: Sequence[float]) -> float:
    """The chance that a troubled sample scores higher than a plain one, ties counting half."""
    a, b = np.asarray(plain), np.sort(np.asarray(troubled))
    below = np.searchsorted(b, a, side="left") + np.searchsorted(b, a, side="right")
    return float(1 - below.mean() / (2 * len(b)))


def _one(line: Line, plain: Line) -> dict[str, float | None]:
    """One cell beside the plain one of the same adaptation, over the same held-out samples."""
    marked = float(np.mean(line["unlike"]))
    rank = None if line is plain else auroc(plain["distances"], line["distances"])
    if line["loss"] is None:
        return {"loss": None, "damage": None, "kept": None, "marked": marked, "auroc": rank}
    rows = line["rows"]
    nats, tokens = (sum(plain[name][i] for i in rows) for name in ("nats", "tokens"))
    damage, learned = line["loss"] - nats / tokens, plain["loss_shuffled"] - plain["loss"]
    kept = 1 - damage / learned if learned >= LEAST_LEARNED else None
    return {"loss": line["loss"], "damage": damage, "kept": kept, "marked": marked, "auroc": rank}


def _adaptation(line: Line) -> tuple[Any, ...]:
    return tuple(line["cell"][name] for name in ("foundation", "target", "method", "shots", "seed"))


def _last_before(strengths: Sequence[float], stop: Sequence[bool]) -> float | None:
    """The largest strength before the first at which it is too much."""
    found = None
    for strength, too_much in zip(strengths, stop, strict=True):
        if too_much:
            break
        found = strength
    return found


def _named(condition: str, strength: float, bound: str) -> str:
    one_strength = CONDITIONS[condition].strength.startswith(("none", "number"))
    return condition if one_strength else f"{condition} {bound} {strength:g}"


def _detected(rows: Sequence[Mapping[str, Any]]) -> str:
    """Of every condition that costs more than LOST, or whose captions are not true, the share that is marked."""
    worst: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if row["condition"] != PLAIN and (row["kept"] is None or row["kept"]["mean"] < LOST):
            worst[row["condition"]] = row
    told = [f"{row['marked']['mean']:.0%} of {name}" for name, row in worst.items()]
    return f", and {', '.join(told)}" if told else ""
