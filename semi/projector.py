"""The projector: a small MLP, shared by all modalities, from embeddings to the language model's soft tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from semi.adapters import ProjectorAdapter
from semi.errors import InputError
from semi_kernels import fused_lora
from semi_kernels.dispatch import use_triton


class Projector(nn.Module):
    """Linear, GELU(tanh), Linear (SEMI section 3.1).

    Args:
        d_in: width of what it reads (d_proj for the shared projector).
        d_hidden: width between the two layers.
        d_lm: width of the language model's input embeddings.
        soft_tokens: soft tokens written for each embedding.
    """

    def __init__(self, d_in: int, d_hidden: int, d_lm: int, soft_tokens: int = 1) -> None:
        super().__init__()
        self.d_lm, self.soft_tokens = d_lm, soft_tokens
        self.layers = nn.ModuleList([nn.Linear(d_in, d_hidden), nn.Linear(d_hidden, soft_tokens * d_lm)])

    @property
    def sizes(self) -> dict[str, int]:
        """The constructor's arguments that rebuild a projector of this shape."""
        first, last = self._linears()
        return {
            "d_in": first.in_features,
            "d_hidden": last.in_features,
            "d_lm": self.d_lm,
            "soft_tokens": self.soft_tokens,
        }

    def forward(self, x: Tensor, adapter: ProjectorAdapter | None = None, *, rows: Tensor | None = None) -> Tensor:
        """(..., d) -> (..., soft_tokens * d_lm).

        An x narrower than the first layer counts as padded with zeros. With a stacked adapter, `rows` (n,) says which
        adapter each x[i] uses.
        """
        rows = _for_each_row(rows, x) if adapter is not None and adapter.stacked else None
        kernels = use_triton(x)
        for i, layer in enumerate(self._linears()):
            x = _layer(x, layer, adapter, i, rows, activation="gelu_tanh" if i == 0 else None, kernels=kernels)
        return x

    def soft(self, x: Tensor, adapter: ProjectorAdapter | None = None, *, rows: Tensor | None = None) -> Tensor:
        """(n, d) or (n, t, d) -> soft tokens (n, t * soft_tokens, d_lm)."""
        y: Tensor = self(x, adapter, rows=rows)
        return y.reshape(x.shape[0], -1, self.d_lm)

    def merge(self, adapter: ProjectorAdapter) -> Projector:
        """A projector of its own weights that computes `self(x, adapter)`; its d_in is the adapter's."""
        if adapter.stacked:
            raise InputError("a stacked adapter cannot be merged", do="merge one of its adapters")
        merged = Projector(adapter.A[0].shape[0], self.sizes["d_hidden"], self.d_lm, self.soft_tokens)
        for i, (old, new) in enumerate(zip(self._linears(), merged._linears(), strict=True)):
            update = (adapter.A[i] @ adapter.B[i]).T  # (out, in)
            if adapter.base[i]:
                update = update + _narrowed(old.weight, update.shape[1])
            new.weight.data = update.detach().to(old.weight.dtype).contiguous()
            new.bias.data = (old.bias + adapter.bias[i]).detach().clone()
        return merged

    def _linears(self) -> tuple[nn.Linear, nn.Linear]:
        first, last = self.layers
        if not isinstance(first, nn.Linear) or not isinstance(last, nn.Linear):
            raise TypeError("the layers of a projector are nn.Linear")
        return first, last


def _for_each_row(rows: Tensor | None, x: Tensor) -> Tensor:
    """rows (n,) -> x's leading shape (n, ...): all of an x[i] uses one adapter."""
    if rows is None or rows.shape != x.shape[:1]:
        got = None if rows is None else tuple(rows.shape)
        expected = f"one adapter index per row of x {tuple(x.shape)}"
        raise InputError("a stacked adapter needs `rows`", got=got, expected=expected)
    return rows.reshape(-1, *[1] * (x.ndim - 2)).expand(x.shape[:-1]) if x.ndim > 2 else rows


def _layer(
    x: Tensor,
    layer: nn.Linear,
    adapter: ProjectorAdapter | None,
    i: int,
    rows: Tensor | None,
    *,
    activation: Literal["gelu_tanh"] | None,
    kernels: bool,
) -> Tensor:
    """(..., in) -> (..., out): with `kernels` a single one, unless the layer's own weight is learning."""
    A, B, bias = (None, None, None) if adapter is None else (adapter.A[i], adapter.B[i], adapter.bias[i])
    if A is not None and x.shape[-1] != A.shape[-2]:
        expected = f"(..., {A.shape[-2]})"
        raise InputError(f"layer {i} of the adapter does not fit", got=tuple(x.shape), expected=expected)
    base = adapter is None or adapter.base[i]
    weight = _narrowed(layer.weight, x.shape[-1]) if base else layer.weight[:, :1].expand(-1, x.shape[-1])
    learning = base and layer.weight.requires_grad and torch.is_grad_enabled()
    if kernels and not learning:
        return fused_lora(
            x,
            weight.detach(),
            A,
            B,
            bias=layer.bias,
            adapter_bias=bias,
            rows=rows,
            activation=activation,
            base=base,
        )
    # The same in plain operations: on a CPU, checks and registration of the fused one are 20 % of a layer of 32 rows.
    y = nn.functional.linear(x, weight, layer.bias) if base else layer.bias
    if rows is not None:
        y = y + fused_lora(x, weight.detach(), A, B, adapter_bias=bias, rows=rows, base=False)
    elif A is not None and B is not None:
        y = y + nn.functional.linear(x @ A, B.T, bias)
    return nn.functional.gelu(y, approximate="tanh") if activation else y


def _narrowed(weight: Tensor, width: int) -> Tensor:
    """The columns of weight (out, in) that an input of `width` meets; the rest would meet padding zeros."""
    if width > weight.shape[1]:
        raise InputError(
            "the embedding is wider than the projector",
            got=width,
            expected=f"at most {weight.shape[1]}",
            do="align it first (semi.alignment.FeatureSelection, PCA or Nystroem)",
        )
    return weight[:, :width]
