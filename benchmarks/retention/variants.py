"""What is compared: every method of `semi merge`, what may be chosen of it, and controls of its masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from zlib import crc32

import torch
from torch import Tensor

from semi.errors import InputError
from semi.merge.artifact import Artifact
from semi.merge.checkpoint import Checkpoint
from semi.merge.codes import masks_on
from semi.merge.inventory import Block, Inventory
from semi.merge.restore import add, restore

Control = Literal["random", "other", "shuffled"]
CONTROLS: dict[Control, str] = {
    "random": "random mask of equal density",
    "other": "mask of another modality",
    "shuffled": "own mask, shuffled in each row",
}


@dataclass(frozen=True)
class Variant:
    """A method and what is tried of it.

    Attributes:
        merge: the section `merge` of its configuration.
        alphas: factors of the shared vector, of which the split `choose` finds the best for all models together.
        lambdas: of masks, of which the split `choose` finds each model's best.
        controls: wrong masks to try.
        mask: the section `mask`.
        label_free: whether lambda is chosen by the merge itself, on the questions of the split `choose` alone.
    """

    merge: Mapping[str, Any]
    alphas: tuple[float, ...] = ()
    lambdas: tuple[float, ...] = ()
    controls: tuple[Control, ...] = ()
    mask: Mapping[str, Any] = field(default_factory=dict)
    label_free: bool = False


_ALPHAS = (0.2, 0.3, 0.5, 0.7, 1.0, 1.4)
_LAMBDAS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.25)
VARIANTS: dict[str, Variant] = {
    "task arithmetic": Variant({"method": "task_arithmetic"}, alphas=_ALPHAS),
    "TIES": Variant({"method": "ties"}, alphas=_ALPHAS),
    "DARE": Variant({"method": "dare"}, alphas=_ALPHAS),
    "EMR": Variant({"method": "emr"}),
    "TALL-masks": Variant({"method": "tall"}, lambdas=_LAMBDAS),
    "MMER": Variant({"method": "mmer"}, lambdas=_LAMBDAS, controls=tuple(CONTROLS)),
    "MMER, lambda without labels": Variant({"method": "mmer"}, label_free=True),
    "MMER, untrimmed": Variant({"method": "mmer", "trim": 1.0}),
    "MMER, row scales": Variant({"method": "mmer"}, mask={"scale": "row"}),
    "optimal": Variant({"method": "optimal"}, controls=tuple(CONTROLS)),
    "optimal, half a bit": Variant({"method": "optimal"}, mask={"rule": "budget", "bits": 0.5}),
    "optimal, v in nf4": Variant({"method": "optimal", "tau": "nf4"}),
    "ternary": Variant({"method": "ternary"}),
    "ternary, v in nf4": Variant({"method": "ternary", "tau": "nf4"}),
}


@dataclass(frozen=True)
class Change:
    """What is done to a merge before a model is given back: nothing, or one of these.

    Attributes:
        alpha: factor of the shared vector.
        lambda_: of a mask of the rule `tall` that takes the place of the stored one.
        control: a wrong mask.
    """

    alpha: float = 1.0
    lambda_: float | None = None
    control: Control | None = None


UNCHANGED = Change()


def restored(
    artifact: Artifact, base: Checkpoint, model: str, change: Change, inventory: Inventory | None
) -> Iterator[tuple[str, Block, Tensor]]:
    """A model's merged tensors as a merge gives them back, (rows, columns) in blocks, after a change.

    Row scales stay the model's own with a wrong mask, too.

    Args:
        artifact: the merge; without models that were added to it, if there is a change.
        base: its base.
        model: whose tensors.
        change: what is done.
        inventory: of the models that were merged, for a change of lambda.
    """
    density = _density(artifact, model) if change.control == "random" else 0.0
    workspace = None if inventory is None or change.lambda_ is None else inventory.workspace()
    for entry in artifact.of("merged", "rows"):
        if change == UNCHANGED:
            yield from ((entry.key, block, rows) for block, rows in restore(artifact, base, model, entry.key))
            continue
        scales = artifact.scales(model, entry.key)
        other = _next(list(artifact.models), model)
        for block, code in artifact.code(entry.key, [model, other]):
            mask = None if code.masks is None else _changed(code.masks, code.shared, change, density, model, block)
            if change.lambda_ is not None:
                tau = _delta(inventory, block, model, workspace)
                mask = masks_on(tau, code.shared, torch.tensor([change.lambda_]))[0]
            delta = change.alpha * (code.shared if mask is None else code.shared * mask)
            if scales is not None:
                delta = delta * scales[block.start : block.stop, None]
            yield entry.key, block, add(base.read(entry.key, block.start, block.stop), delta)


def _delta(inventory: Inventory | None, block: Block, model: str, workspace: Tensor | None) -> Tensor:
    """tau of one model, (1, rows, columns)."""
    if inventory is None:
        raise InputError("a change of lambda needs the models that were merged", do="give their inventory")
    at = list(inventory.models).index(model)
    return inventory.deltas(block, workspace)[at : at + 1]


def _changed(own: Tensor, shared: Tensor, change: Change, density: float, model: str, block: Block) -> Tensor:
    """A mask (rows, columns) from those of the model and of another one (2, rows, columns)."""
    if change.control == "other":
        return own[1]
    draw = torch.Generator().manual_seed(crc32(f"{model} {block}".encode()))
    numbers = torch.rand(own[0].shape, generator=draw)
    if change.control == "random":
        return (numbers < density) & (shared != 0)
    if change.control == "shuffled":
        return shuffled(own[0], shared != 0, numbers)
    return own[0]


def shuffled(mask: Tensor, support: Tensor, numbers: Tensor) -> Tensor:
    """A mask (rows, columns) with as many entries in each row, anywhere in the support, by random numbers."""
    order = numbers.where(support, 2.0).argsort(1)  # the support first, in random order
    chosen = torch.arange(mask.shape[1]) < mask.sum(1, keepdim=True)
    return torch.zeros_like(mask).scatter(1, order, chosen)


def _density(artifact: Artifact, model: str) -> float:
    """Share of the support of the shared vector that a model's mask keeps."""
    kept = support = 0
    for entry in artifact.of("merged", "rows"):
        for _, code in artifact.code(entry.key, [model]):
            if code.masks is not None:
                kept, support = kept + int(code.masks.sum()), support + int((code.shared != 0).sum())
    return kept / max(1, support)


def _next(names: list[str], name: str) -> str:
    return names[(names.index(name) + 1) % len(names)]
