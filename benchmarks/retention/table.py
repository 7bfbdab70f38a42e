"""The results of all seeds as markdown: absolute scores beside ratios, mean and range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.retention.measuring import ALONE, BASE

Records = Sequence[Mapping[str, Any]]
"""Of one seed."""


def scores(seeds: Sequence[Records], figure: str = "accuracy") -> str:
    """A row a variant, a column a task: the score, the share of what the model reaches alone, means of both.

    Args:
        seeds: records of each seed.
        figure: "accuracy" or "exact".
    """
    found = [_of(records, figure) for records in seeds]
    tasks = list(dict.fromkeys(task for own in found for _, task in own))
    rows = [["", *tasks, "mean of ratios"]]
    for variant in dict.fromkeys(variant for own in found for variant, _ in own):
        cells, means = [variant], [list[float]() for _ in seeds]
        for task in tasks:
            pairs = [(own.get((variant, task)), own.get((ALONE, task))) for own in found]
            values = [value for value, _ in pairs if value is not None]
            ratios = [None if value is None or not alone else value / alone for value, alone in pairs]
            for mean, ratio in zip(means, ratios, strict=True):
                mean += [] if ratio is None else [ratio]
            cells.append(f"{spread(values)} · {percent([r for r in ratios if r is not None])}" if values else "")
        rows.append([*cells, percent([sum(mean) / len(mean) for mean in means if mean])])
    return markdown(rows)


def losses(seeds: Sequence[Records]) -> str:
    """A row a variant, a column a task: nats a token of the true answers."""
    found = [_of(records, "loss") for records in seeds]
    tasks = list(dict.fromkeys(task for own in found for _, task in own))
    rows = [["", *tasks]]
    for variant in dict.fromkeys(variant for own in found for variant, _ in own):
        own = [[values[variant, task] for values in found if (variant, task) in values] for task in tasks]
        rows.append([variant, *(spread(values) for values in own)])
    return markdown(rows)


def certificates(seeds: Sequence[Records]) -> str:
    """A row a merge: residual and density of each model, conflict of signs, bytes; means of the seeds."""
    merges = [{record["merge"]: record for record in records if "merge" in record} for records in seeds]
    rows = [["", "residual", "density", "sign conflict", "MB"]]
    for name in dict.fromkeys(name for own in merges for name in own):
        own = [merge[name] for merge in merges if name in merge]
        figures = [[model[figure] for one in own for model in one["models"].values()] for figure in _FIGURES]
        size = [sum(one["bytes"].values()) / 1e6 for one in own]
        conflict = [one["sign_conflict"] for one in own]
        rows.append([name, *(spread(values) for values in (*figures, conflict)), f"{sum(size) / len(size):.0f}"])
    return markdown(rows)


_FIGURES = ("residual", "density")


def deltas(seeds: Sequence[Records]) -> str:
    """A row a model: how far it is from the base."""
    found = [{record["deltas"]: record for record in records if "deltas" in record} for records in seeds]
    rows = [["", "norm of the delta", "over the base's", "entries without change"]]
    for task in dict.fromkeys(task for own in found for task in own):
        own = [records[task] for records in found if task in records]
        rows.append([task, *(spread([one[figure] for one in own]) for figure in ("norm", "relative", "zero"))])
    return markdown(rows)


def forgetting(seeds: Sequence[Records]) -> str:
    """A row a merge with the new task: whether old logits are the same, bytes it takes, the certificate's residual."""
    merges = [{record["merge"]: record for record in records if "merge" in record} for records in seeds]
    rows = [["", "old weights bit-identical", "old logits bit-identical", "largest difference", "MB added"]]
    for name in dict.fromkeys(name for own in merges for name in own):
        own = [merge[name] for merge in merges if name in merge]
        same = [[flag for one in own for flag in one.get(of, {}).values()] for of in ("same weights", "identical")]
        apart = [value for one in own for value in one.get("largest difference", {}).values()]
        added = spread([one["bytes added"] / 1e6 for one in own])
        counts = [f"{sum(flags)} of {len(flags)}" if flags else "" for flags in same]
        rows.append([name, *counts, f"{max(apart):g}" if apart else "", added])
    return markdown(rows)


def report(seeds: Sequence[Records], later: Sequence[Records]) -> str:
    """All tables.

    Args:
        seeds: records of `measure`, of each seed.
        later: records of `forget`, of each seed.
    """
    parts = {
        "Share of the facts of an answer that are stated, and that share over the model's own": scores(seeds),
        "Answers that are right word for word, and that share over the model's own": scores(seeds, "exact"),
        "Nats a token of the true answers": losses(seeds),
        "Merges": certificates(seeds),
        "Models": deltas(seeds),
        "A task that comes later: share of the facts": scores(later),
        "A task that comes later: what is stored": forgetting(later),
    }
    note = f"{len(seeds)} seeds: mean (lowest to highest). {BASE}: the base with the model's own projector."
    return "\n\n".join([note, *(f"{title}:\n\n{table}" for title, table in parts.items())]) + "\n"


def spread(values: Sequence[float]) -> str:
    """Mean and range: "0.712 (0.701-0.720)"; nothing without values."""
    if not values:
        return ""
    mean = f"{sum(values) / len(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f}-{max(values):.3f})"


def percent(values: Sequence[float]) -> str:
    """Mean and range: "98.9 % (98.1-99.6)"; nothing without values."""
    if not values:
        return ""
    mean = f"{100 * sum(values) / len(values):.1f} %"
    return mean if len(values) == 1 else f"{mean} ({100 * min(values):.1f}-{100 * max(values):.1f})"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    return "\n".join(_lines(rows))


def _lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield "| " + " | ".join(row) + " |"
        if number == 0:
            yield "|" + "---|" * len(row)


def _of(records: Records, figure: str) -> dict[tuple[str, str], float]:
    """A figure by variant and task."""
    return {
        (record["variant"], record["task"]): record[figure]
        for record in records
        if figure in record and "variant" in record
    }
