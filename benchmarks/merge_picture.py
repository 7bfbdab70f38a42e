"""A picture of a merge: its shared vector and masks over a patch of one weight, and what each method loses.

    python -m benchmarks.merge_picture --out docs/merge-masks.png
    python -m benchmarks.merge_picture one.mmer other.mmer --tensor KEY --at 0 0 --size 48 --out picture.png

Of merges that are named it shows what they hold: the first three that have masks, and the residuals of all, from their
certificates. Without any it makes some by every method, of three models that were never trained: a random Llama,
in which each of them changes half of all entries, drawn anew for each, by Gaussian noise with 2 % of the weights' rms.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks.llamas import Llama, Shape, Values, drawn, same, tuned, write_model
from semi.artifacts import write_bytes
from semi.errors import InputError
from semi.merge.artifact import Artifact
from semi.merge.checkpoint import Checkpoint
from semi.merge.config import MergeConfig
from semi.merge.methods import METHODS
from semi.merge.run import run_merge

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANDOM = Llama(hidden=64, inner=96, layers=2, heads=4, kv=32, vocabulary=128, tied=True)
NAMES = ("first", "second", "third")
CHANGED = 0.5
"""Share of the entries that a random model changes."""
SHOWN = ("mmer", "optimal", "ternary")
"""Methods whose masks are shown of random models."""

_COLOURS = ("#2a7f3f", "#c0504d", "#4472c4", "#8064a2", "#d08a1d", "#4bacc6")
_EMPTY, _CLEAR = "#ffffff", "#d9d9d9"


@dataclass(frozen=True)
class Look:
    """What a merge shows.

    Attributes:
        label: what to call it.
        key: the weight.
        shared: its vector in the patch, float32 (size, size).
        masks: of each model, in {-1, 0, 1}, (size, size), by name; empty where the method has none.
        residuals: of each model, by name.
    """

    label: str
    key: str
    shared: Tensor
    masks: dict[str, Tensor]
    residuals: dict[str, float]


def look(folder: Path, key: str | None, at: tuple[int, int], size: int, label: str | None = None) -> Look:
    """Read a merge.

    Args:
        folder: of the merge.
        key: the weight; None: the first one that is merged and no embedding.
        at: the patch's first row and column.
        size: rows and columns of the patch.
        label: None: the method, and how the vector is stored.

    Raises:
        InputError: the merge has no such weight, or nothing lies in the patch.
        ArtifactError: the merge is damaged.
    """
    rows, columns = (slice(start, start + size) for start in at)
    with Artifact.open(folder) as artifact:
        merged = [entry.key for entry in artifact.of("merged", "rows")]
        key = key or next((name for name in merged if "embed" not in name), merged[0])
        codes = [code for _, code in artifact.code(key)]
        shared = torch.cat([code.shared for code in codes])[rows, columns]
        if not shared.numel():
            raise InputError("nothing lies in the patch", got=f"from {at} on", expected=artifact.entries[key].shape)
        masks = [code.masks for code in codes if code.masks is not None]
        own = torch.cat(masks, dim=1)[:, rows, columns].int() if masks else []
        figures = artifact.manifest["info"]["certificate"]["models"]
        residuals = {name: lost for name in artifact.models if (lost := figures[name]["residual"]) is not None}
        named = label or f"{artifact.method}, {artifact.tau}"
        return Look(named, key, shared, dict(zip(artifact.models, own, strict=bool(masks))), residuals)


def random_merges(folder: Path) -> Iterator[tuple[str, Path]]:
    """Merges of random models by every method, written below a folder: the method, and where."""
    base = write_model(folder / "base", RANDOM, drawn(0))
    with Checkpoint.open(base) as checkpoint:
        models = [write_model(folder / name, RANDOM, _partly(checkpoint, i)) for i, name in enumerate(NAMES, 1)]
    entries = [{"name": model.name, "path": str(model)} for model in models]
    for method in METHODS:
        config = {"base_model": str(base), "models": entries, "merge": {"method": method}}
        run_merge(MergeConfig.model_validate(config), folder / f"{method}.mmer")
        yield method, folder / f"{method}.mmer"


def draw(masked: Sequence[Look], measured: Sequence[Look], title: str) -> Figure:
    """A row of panels for each of `masked`, their vector and masks, and the residuals of `measured`."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for one in (*masked, *measured) for name in one.residuals))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    wide = 1 + max((len(one.masks) for one in masked), default=1)
    figure = Figure(figsize=(2.1 * wide, 2.2 * len(masked) + 0.28 * len(measured) + 1.4), layout="constrained")
    heights = [2.2] * len(masked) + [0.28 * len(measured) + 0.7]
    grid = figure.add_gridspec(len(heights), wide, height_ratios=heights)
    for row, one in enumerate(masked):
        _show_vector(figure.add_subplot(grid[row, 0]), one)
        for column, (name, mask) in enumerate(one.masks.items(), 1):
            _show_mask(figure.add_subplot(grid[row, column]), one, name, mask, colours[name])
    _show_residuals(figure.add_subplot(grid[-1, :]), measured, colours)
    figure.suptitle(title, fontsize=8)
    return figure


def _show_vector(axes: Axes, one: Look) -> None:
    most = float(one.shared.abs().max()) or 1.0
    axes.imshow(one.shared.numpy(), cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title("shared vector", fontsize=8)
    axes.set_ylabel(one.label, fontsize=9)


def _show_mask(axes: Axes, one: Look, name: str, mask: Tensor, colour: str) -> None:
    """White: the vector is zero; grey: the model gets nothing of it; black: it gets it with the other sign."""
    from matplotlib.colors import ListedColormap

    kinds = torch.where(one.shared == 0, 0, torch.where(mask == 0, 1, torch.where(mask > 0, 2, 3)))
    shades = ListedColormap([_EMPTY, _CLEAR, colour, "#111111"])
    axes.imshow(kinds.numpy(), cmap=shades, vmin=0, vmax=3, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"mask of {name}", fontsize=8)


def _show_residuals(axes: Axes, measured: Sequence[Look], colours: dict[str, str]) -> None:
    thick = 0.8 / len(colours)
    for i, (name, colour) in enumerate(colours.items()):
        places = [at - 0.4 + (i + 0.5) * thick for at, one in enumerate(measured) if name in one.residuals]
        values = [one.residuals[name] for one in measured if name in one.residuals]
        axes.barh(places, values, thick, color=colour, label=name)
    axes.set_yticks(range(len(measured)), [one.label for one in measured], fontsize=8)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("residual: share of a model's change that does not come back; 1 is the base alone", fontsize=8)
    axes.legend(fontsize=8, frameon=False)


def save(figure: Figure, out: Path) -> None:
    """As PNG, the same bytes for the same picture."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    write_bytes(out, picture.getvalue())


def _partly(base: Checkpoint, seed: int) -> Values:
    """The entries of a base, of which a random share has Gaussian changes."""
    chance = torch.Generator().manual_seed(seed)

    def values(key: str, shape: Shape) -> Iterator[Tensor]:
        for old, new in zip(same(base)(key, shape), tuned(base, seed)(key, shape), strict=True):
            yield torch.where(torch.rand(len(old), generator=chance) < CHANGED, new, old)

    return values


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("merges", type=Path, nargs="*", help="what `semi merge run` wrote; random ones if not given")
    parser.add_argument("--tensor", help="key of the weight; the first one that is no embedding if not given")
    parser.add_argument("--at", type=int, nargs=2, default=(0, 0), metavar=("ROW", "COLUMN"), help="where it begins")
    parser.add_argument("--size", type=int, default=48, help="rows and columns of the patch")
    parser.add_argument("--out", type=Path, required=True, help="a PNG")
    given: Any = parser.parse_args(arguments)
    patch = (given.tensor, tuple(given.at), given.size)
    if given.merges:
        measured = [look(folder, *patch, label=folder.stem) for folder in given.merges]
        masked, what = [one for one in measured if one.masks][:3], "Merges"
    else:
        with tempfile.TemporaryDirectory() as folder:
            measured = [look(path, *patch, label=method) for method, path in random_merges(Path(folder))]
        masked = [one for one in measured if one.label in SHOWN]
        what = f"Random changes of {CHANGED:.0%} of the entries, no trained models"
    row, column = given.at
    title = f"{what}; {measured[0].key}, {given.size} rows from {row}, {given.size} columns from {column}"
    save(draw(masked, measured, title), given.out)


if __name__ == "__main__":
    main()
