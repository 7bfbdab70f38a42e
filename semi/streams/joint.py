"""The projectors of several integrations as one: a pass for samples of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from semi.adapters import ProjectorAdapter
from semi.integration import Integration
from semi.projector import Projector


class JointProjector:
    """Soft tokens of samples of several integrations.

    Integrations of one foundation that took no gradient step are its projector and an adapter each: samples of several
    of them go through the projector together, each row with the adapter of its own (`semi_kernels.fused_lora`, G > 1).
    The saved folders hold merged projectors, from which the foundation's comes back by subtraction: soft tokens are
    within 1e-5 of those of the merged ones, relative to the largest. An integration that was trained further has a
    projector like no other. Its samples have a pass of their own.

    Args:
        integrations: by the names that `soft` is given; all on the device of their language model.
    """

    def __init__(self, integrations: Mapping[str, Integration]) -> None:
        self._integrations = dict(integrations)
        alike: dict[Any, list[str]] = {}
        for name, integration in integrations.items():
            alike.setdefault(_origin(integration) or name, []).append(name)
        stacks = [_Stack.of({name: integrations[name] for name in names}) for names in alike.values() if len(names) > 1]
        self._stacks = {name: stack for stack in stacks for name in stack.places}

    @property
    def shared(self) -> list[set[str]]:
        """Which integrations go together."""
        return [set(stack.places) for stack in dict.fromkeys(self._stacks.values())]

    @torch.no_grad()
    def soft(self, samples: Sequence[tuple[str, Tensor]]) -> list[Tensor]:
        """Soft tokens (t_i * soft_tokens, d_lm) of each sample.

        Args:
            samples: of each the name of its integration and its embedding (d_enc,) or (t_i, d_enc).
        """
        passes: dict[Any, list[int]] = {}
        for i, (name, _) in enumerate(samples):
            passes.setdefault(self._stacks.get(name, name), []).append(i)
        found: dict[int, Tensor] = {}
        for members in passes.values():
            found |= dict(zip(members, self._one_pass([samples[i] for i in members]), strict=True))
        return [found[i] for i in range(len(samples))]

    def _one_pass(self, samples: Sequence[tuple[str, Tensor]]) -> list[Tensor]:
        aligned = [self._aligned(name, embedding) for name, embedding in samples]
        names = [name for name, _ in samples]
        if len(set(names)) == 1:  # merged, it costs less
            soft = self._integrations[names[0]].projector.soft(torch.cat(aligned)[None])[0]
        else:
            soft = self._stacks[names[0]].soft(names, aligned)
        per_vector = self._integrations[names[0]].projector.soft_tokens
        return list(torch.split(soft, [len(rows) * per_vector for rows in aligned]))

    def _aligned(self, name: str, embedding: Tensor) -> Tensor:
        """(t, d)."""
        integration = self._integrations[name]
        rows = embedding.reshape(-1, embedding.shape[-1]).to(integration.language_model.device)
        aligned: Tensor = integration.alignment(rows)
        return aligned


@dataclass(frozen=True, eq=False)
class _Stack:
    """A foundation's projector and the adapters of some integrations."""

    projector: Projector
    adapter: ProjectorAdapter
    """Stacked; as wide as the widest."""
    places: dict[str, int]
    """Of each integration's adapter in it."""

    @classmethod
    def of(cls, integrations: Mapping[str, Integration]) -> _Stack:
        members = [(each.projector, _adapter(each)) for each in integrations.values()]
        widest = max(members, key=lambda member: member[0].sizes["d_in"])
        width = widest[0].sizes["d_in"]
        adapter = ProjectorAdapter.stack([_widened(adapter, width) for _, adapter in members])
        return cls(_before(*widest), adapter, {name: i for i, name in enumerate(integrations)})

    def soft(self, names: Sequence[str], aligned: Sequence[Tensor]) -> Tensor:
        """Aligned rows (t_i, d_i) -> soft tokens of all of them, one after the other."""
        width = self.adapter.A[0].shape[1]
        x = torch.cat([pad(rows, (0, width - rows.shape[1])) for rows in aligned])  # (sum of t_i, width)
        places = [self.places[name] for name, rows in zip(names, aligned, strict=True) for _ in rows]
        rows = torch.tensor(places, device=x.device)
        return self.projector.soft(x, self.adapter, rows=rows).flatten(0, 1)


def _origin(integration: Integration) -> Any:
    """The same for integrations whose projectors differ by their adapters alone; None: this one's was trained."""
    record, adapter = integration.record, integration.adapter
    if adapter is None or record.settings["steps"] != 0 or not record.foundation:
        return None
    sizes = {name: size for name, size in integration.projector.sizes.items() if name != "d_in"}
    return record.foundation, tuple(sizes.values()), tuple(adapter.base)


def _adapter(integration: Integration) -> ProjectorAdapter:
    """On the projector's device."""
    adapter, device = integration.adapter, integration.language_model.device
    if adapter is None:
        raise TypeError("an integration without an adapter shares no projector")
    A, B, bias = ([each.to(device) for each in part] for part in (adapter.A, adapter.B, adapter.bias))
    return ProjectorAdapter(A, B, bias, adapter.base)


def _widened(adapter: ProjectorAdapter, width: int) -> ProjectorAdapter:
    """For an input that is padded with zeros."""
    first, *others = adapter.A
    return ProjectorAdapter([pad(first, (0, 0, 0, width - len(first))), *others], adapter.B, adapter.bias, adapter.base)


def _before(merged: Projector, adapter: ProjectorAdapter) -> Projector:
    """The projector that became `merged` by its `merge(adapter)`.

    Of a layer whose base path is off nothing is left in it but the bias; nothing else of it is used either.
    """
    before = Projector(**merged.sizes).to(adapter.A[0].device).requires_grad_(False)
    for i in range(len(adapter.A)):
        weight, bias = (merged.get_parameter(f"layers.{i}.{name}") for name in ("weight", "bias"))
        before.get_parameter(f"layers.{i}.weight").copy_(weight - (adapter.A[i] @ adapter.B[i]).T)
        before.get_parameter(f"layers.{i}.bias").copy_(bias - adapter.bias[i])
    return before
