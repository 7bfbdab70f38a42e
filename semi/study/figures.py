"""Pictures of studies, by matplotlib (extra `plot`); every function says whether it could draw."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semi.artifacts import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "png")
_COLOURS = (
    "#2a7f3f",
    "#c0504d",
    "#4472c4",
    "#8064a2",
    "#d08a1d",
    "#4bacc6",
    "#7f7f7f",
    "#a0522d",
    "#b03a8c",
    "#111111",
)
_WIDE = 3


def draw_curves(summary: Mapping[str, Any], out: Path) -> bool:
    """Loss and, where text was written, attribute accuracy over shots, one panel a target: curves.svg and curves.png.

    A point is the mean over seeds and foundations, its band a standard error to either side.
    """
    rows = summary["rows"]
    targets = list(dict.fromkeys(row["target"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    measures = {"loss": "caption loss (nats a token)", "attribute_accuracy": "attribute accuracy"}
    there = {name: label for name, label in measures.items() if any(row[name] for row in rows)}
    panels = [(target, name, label) for name, label in there.items() for target in targets]
    figure = _figure(len(panels), min(_WIDE, len(targets)))
    if figure is None or not panels:
        return False
    for axes, (target, name, label) in zip(figure.axes, panels, strict=True):
        for number, method in enumerate(methods):
            points = [row for row in rows if (row["target"], row["method"]) == (target, method) and row[name]]
            _band(axes, [row["shots"] for row in points], [row[name] for row in points], method, number)
        _shots_axis(axes, sorted({row["shots"] for row in rows if row["target"] == target}))
        axes.set(title=target, ylabel=label)
    _legend(figure)
    _save(figure, out, "curves")
    return True


def draw_stress(summary: Mapping[str, Any], out: Path) -> bool:
    """What is left of what a method learned under each condition, over its strength: stress.svg and stress.png.

    Where nothing was learned it is the loss that each condition adds.
    """
    name = "kept" if any(row["kept"] for row in summary["rows"]) else "damage"
    untroubled = {"mean": float(name == "kept"), "se": None}
    rows = [row for row in summary["rows"] if row[name] is not None and row["condition"] != "plain"]
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = _figure(len(conditions), 4)
    if figure is None or not conditions:
        return False
    for axes, condition in zip(figure.axes, conditions, strict=True):
        for number, method in enumerate(methods):
            points = [row for row in rows if (row["condition"], row["method"]) == (condition, method)]
            strengths = [0.0, *(row["strength"] for row in points)]
            _band(axes, strengths, [untroubled, *(row[name] for row in points)], method, number)
            axes.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
        axes.axhline(0, color="#888", linewidth=0.8, linestyle=":")
        axes.set(title=condition, xlabel="strength", ylabel="learned part kept")
        if name == "damage":
            axes.set_ylabel("added loss (nats a token)")
            continue
        axes.set_ylim(-0.5, 1.25)  # one scale for all; strengths are each condition's own
        if conditions.index(condition) % 4:
            axes.set(ylabel="", yticklabels=[])
    _legend(figure)
    _save(figure, out, "stress")
    return True


def _figure(panels: int, wide: int) -> Figure | None:
    """A figure with that many panels, None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    wide = max(1, min(wide, panels))
    high = -(-panels // wide)
    figure = Figure(figsize=(4.2 * wide, 3.2 * high + 0.6), layout="constrained")
    for number in range(panels):
        figure.add_subplot(high, wide, number + 1)
    return figure


def _band(axes: Axes, x: Sequence[float], values: Sequence[Mapping[str, float | None]], name: str, number: int) -> None:
    """A curve of means with a standard error to either side, where there is one."""
    colour = _COLOURS[number % len(_COLOURS)]
    means = [value["mean"] or 0.0 for value in values]
    errors = [value["se"] or 0.0 for value in values]
    axes.plot(x, means, "o-", color=colour, label=name, markersize=3.5, linewidth=1.4)
    low, high = ([m + sign * e for m, e in zip(means, errors, strict=True)] for sign in (-1, 1))
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def _shots_axis(axes: Axes, shots: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, [str(n) for n in shots])
    axes.minorticks_off()
    axes.set_xlabel("shots")


def _legend(figure: Figure) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, max(1, len(labels))), frameon=False)


def _save(figure: Figure, out: Path, name: str) -> None:
    """As SVG and PNG, the same bytes for the same study."""
    import matplotlib

    for kind in FORMATS:
        picture = io.BytesIO()
        metadata: dict[str, Any] = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        with matplotlib.rc_context({"svg.hashsalt": "semi", "svg.fonttype": "none"}):
            figure.savefig(picture, format=kind, dpi=130, metadata=metadata)
        write_bytes(out / f"{name}.{kind}", picture.getvalue())
