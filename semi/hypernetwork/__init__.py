"""Hypernetworks: architectures that read a support set and write an adapter, behind one interface."""

from __future__ import annotations

from typing import Any

from semi.errors import InputError
from semi.hypernetwork.attention import AttentionHyperNetwork
from semi.hypernetwork.base import HyperNetwork
from semi.hypernetwork.ridge import RidgeHyperNetwork
from semi.projector import Projector

KINDS = ("ridge", "attention")


def build(kind: str, settings: dict[str, Any], projector: Projector) -> HyperNetwork:
    """A hypernetwork of `kind` with its settings, for the frozen shared projector, whose sizes need not be given.

    Raises:
        InputError: unknown kind, or settings that it does not have.
    """
    try:
        if kind == "ridge":
            return RidgeHyperNetwork(projector, **settings)
        if kind == "attention":
            sizes = projector.sizes
            d_in, d_hidden, d_out = sizes["d_in"], sizes["d_hidden"], sizes["soft_tokens"] * sizes["d_lm"]
            own: dict[str, Any] = {"d_in": [d_in, d_hidden], "d_out": [d_hidden, d_out], "d_hyper": d_in}
            return AttentionHyperNetwork(**own | settings)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: torch on sizes below zero
        raise InputError(f"settings of the {kind} hypernetwork", got=error) from error
    raise InputError("unknown kind of hypernetwork", got=kind, expected=" or ".join(KINDS))


__all__ = ["KINDS", "AttentionHyperNetwork", "HyperNetwork", "RidgeHyperNetwork", "build"]
