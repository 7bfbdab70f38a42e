"""What each modality adds to a weight of the base, held in memory: one shared vector, and a bit an entry for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from semi.merge.artifact import Artifact
from semi.merge.checkpoint import Checkpoint
from semi.merge.header import FLOATS
from semi.merge.restore import add, extra_rows
from semi.merge.routing import TEXT
from semi_kernels import pack_mask, unpack_mask

TextPolicy = Literal["merged", "base", "mean", "union"]
"""What tokens of no modality get: all of the shared vector; nothing; the mean of what the modalities get; or those of
its entries that any modality gets. Where the vector has scales for each modality, `merged` and `union` take their mean,
and where masks have signs, the sign of the majority. Models that were added to a merge have no part in it, unless no
other one is left."""


@dataclass(frozen=True)
class Step:
    """m s tau, and a residual, for a weight (rows, columns), as `semi_kernels.masked_nf4_linear` takes it.

    Attributes:
        tau: float32 (rows, columns).
        mask: which entries count, packed bits: uint8 (ceil(rows * columns / 8),).
        scale: of each row, float32 (rows,), or none.
        residual: of a model that was added later, sparse float32 (rows, columns), or none.
    """

    tau: Tensor
    mask: Tensor
    scale: Tensor | None = None
    residual: Tensor | None = None

    def delta(self) -> Tensor:
        """float32 (rows, columns), zero where the mask is clear and there is no residual."""
        step = self.tau if self.scale is None else self.tau * self.scale[:, None]
        masked = torch.where(unpack_mask(self.mask, self.tau.shape), step, 0)
        return masked if self.residual is None else masked.add_(self.residual)


def steps(
    shared: Tensor,
    masks: Tensor | None,
    scales: Tensor | None,
    models: int,
    text: TextPolicy,
    residuals: Mapping[int, Tensor] | None = None,
    merged: int | None = None,
) -> dict[int, Step]:
    """The steps of all modalities of one tensor by their numbers, and that of tokens of no modality, unless it is none.

    Args:
        shared: v, float32 (rows, columns).
        masks: bool, or int8 in {-1, 0, 1}, (N, rows, columns); None: every model gets all of v.
        scales: float32 (N, rows), or none.
        models: N.
        text: the policy for tokens of no modality.
        residuals: of models that have one, by their numbers, sparse float32 (rows, columns).
        merged: how many of the models, the first ones, the policy is about; none or None: all.
    """
    residuals = residuals or {}
    own = masks if masks is not None else torch.ones(models, *shared.shape, dtype=torch.bool)
    signed = own.dtype == torch.int8
    found = {
        # The kernel knows no signs: a signed mask makes a vector of its own.
        i: Step(
            shared * own[i] if signed else shared,
            pack_mask(own[i] != 0),
            None if scales is None else scales[i],
            residuals.get(i),
        )
        for i in range(models)
    }
    merged = merged or models
    if text == "mean":
        mean = torch.stack([found[i].delta() for i in range(merged)]).mean(0)
        found[TEXT] = Step(mean, pack_mask(mean != 0))
    elif text != "base":
        own = own[:merged]
        direction = shared * own.sum(0).sign() if signed else shared
        entries = direction != 0 if text == "merged" else own.any(0) & (direction != 0)
        found[TEXT] = Step(direction, pack_mask(entries), None if scales is None else scales[:merged].mean(0))
    return found


class Weights:
    """A tensor of the base under each modality.

    Args:
        steps: what is added to it, for each modality that gets anything.
        own: the tensor that a modality has in its place (norms, biases).
        rows: further rows below the base's (tokens of the modality's own).
        stored: the base's data type in its files, to which the sum is rounded, as it is in an export.
    """

    def __init__(
        self,
        steps: Mapping[int, Step] | None = None,
        own: Mapping[int, Tensor] | None = None,
        rows: Mapping[int, Tensor] | None = None,
        stored: torch.dtype = torch.float32,
    ) -> None:
        self.stored, self.steps = stored, dict(steps or {})
        self.own, self.rows = dict(own or {}), dict(rows or {})

    def changed(self, modality: int) -> bool:
        """Whether a modality has anything but the base's tensor."""
        return any(modality in parts for parts in (self.steps, self.own, self.rows))

    def of(self, modality: int, base: Tensor) -> Tensor:
        """The tensor of a modality, on the base's device and in its data type.

        Args:
            modality: its number, or `TEXT`.
            base: theta_0.
        """
        if modality in self.own:
            return self.own[modality].to(base)
        weight = base.detach()
        if modality in self.steps:
            whole = weight.float()
            delta = self.steps[modality].delta().view_as(whole)
            weight = add(whole, delta).to(self.stored).to(base.dtype)
        return torch.cat([weight, self.rows[modality].to(base)]) if modality in self.rows else weight


def read_weights(artifact: Artifact, base: Checkpoint, device: torch.device, text: TextPolicy) -> dict[str, Weights]:
    """Every tensor of the base under each modality, in memory.

    Args:
        artifact: the merge.
        base: its base.
        device: where to hold them.
        text: the policy for tokens of no modality. Unless it is `base`, their exact tensors are the modalities' mean.

    Raises:
        ArtifactError: a file has become shorter, or an exact tensor holds no floats.
    """
    weights = {}
    for key, entry in artifact.entries.items():
        if entry.kind == "exact":
            weights[key] = Weights(own=_own(artifact, base, key, device, text))
        else:
            found, rows = _steps(artifact, key, device, text), _rows(artifact, key, device)
            weights[key] = Weights(found, rows=rows, stored=FLOATS[entry.dtype])
    return weights


def _steps(artifact: Artifact, key: str, device: torch.device, text: TextPolicy) -> dict[int, Step]:
    codes = [code for _, code in artifact.code(key)]
    shared = torch.cat([code.shared for code in codes]).to(device)
    masks = [code.masks for code in codes if code.masks is not None]
    scales = [scale for model in artifact.models if (scale := artifact.scales(model, key)) is not None]
    residuals = {
        i: torch.cat([part for _, part in blocks]).to_sparse().to(device)
        for i, model in enumerate(artifact.models)
        if (blocks := artifact.residual(model, key)) is not None
    }
    return steps(
        shared,
        torch.cat(masks, dim=1).to(device) if masks else None,
        torch.stack(scales).to(device) if scales else None,
        len(artifact.models),
        text,
        residuals,
        artifact.merged,
    )


def _own(artifact: Artifact, base: Checkpoint, key: str, device: torch.device, text: TextPolicy) -> dict[int, Tensor]:
    exact = [artifact.exact(model) for model in artifact.models]
    held = [(own if key in own.keys else base).read(key).view(base.info(key).shape) for own in exact]
    found = dict(enumerate(tensor.to(device) for tensor in held))
    return found if text == "base" else found | {TEXT: torch.stack(held[: artifact.merged or None]).mean(0).to(device)}


def _rows(artifact: Artifact, key: str, device: torch.device) -> dict[int, Tensor]:
    found = {i: extra_rows(artifact, model, key) for i, model in enumerate(artifact.models)}
    return {i: rows.to(device) for i, rows in found.items() if rows is not None}
