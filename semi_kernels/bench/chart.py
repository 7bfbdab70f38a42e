"""A picture of a run: time over rows for every provider, with the floor below them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from semi_kernels.bench.report import Row

_PANEL = ("K", "N", "quantisation", "isometry", "mode", "G", "dtype", "launch")


def draw(found: dict[str, Any], path: Path) -> None:
    """Write a PNG with a panel for each layer, quantisation, isometry, mode and launch that has several M.

    Raises:
        ValueError: matplotlib is not installed, or nothing was measured.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError("chart: got no matplotlib, expected it; pip install 'semi-llm[plot]'") from error
    panels: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in found["rows"]:
        if row["p50_us"] is not None:
            panels[(row["kernel"], *(row[name] for name in _PANEL))].append(row)
    several = {key: rows for key, rows in panels.items() if len({row["M"] for row in rows}) > 1} or panels
    if not several:
        raise ValueError("chart: got no measured row, expected at least one")
    across = min(4, len(several))
    down = -(-len(several) // across)
    figure = Figure(figsize=(4.2 * across, 3.4 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).flatten()
    for axis in axes[len(several) :]:
        axis.remove()
    for axis, (key, rows) in zip(axes, several.items(), strict=False):
        _panel(axis, key, rows, on_gpu=found["gpu"] is not None)
    figure.suptitle(f"{found['gpu'] or 'CPU, no GPU'} · torch {found['torch']} · {found['revision']}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=120)


def _panel(axis: Any, key: tuple[Any, ...], rows: list[Row], *, on_gpu: bool) -> None:
    kernel, K, N, quantisation, isometry, mode, G, dtype, launch = key
    providers = dict.fromkeys(row["provider"] for row in rows)
    for provider in providers:
        own = sorted((row for row in rows if row["provider"] == provider), key=lambda row: int(row["M"]))
        M = [row["M"] for row in own]
        wide = 2.2 if provider == "ours" else 1.1
        axis.plot(M, [row["p50_us"] for row in own], marker="o", markersize=3, linewidth=wide, label=provider)
        axis.fill_between(M, [row["p20_us"] for row in own], [row["p80_us"] for row in own], alpha=0.15)
    floors = {row["M"]: row["floor_us"] for row in rows if row["floor_us"] is not None}
    if floors and on_gpu:  # the floor of a GPU has no place beside a CPU's times
        axis.plot(sorted(floors), [floors[M] for M in sorted(floors)], "k--", linewidth=1, label="floor")
    extras = [isometry] * (isometry != "none") + [f"G = {G}"] * (G > 1)
    axis.set_title(f"{kernel} {K} → {N}, {', '.join([quantisation, dtype, mode, launch, *extras])}", fontsize=8)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("rows M")
    axis.set_ylabel("microseconds")
    axis.legend(fontsize=7)
