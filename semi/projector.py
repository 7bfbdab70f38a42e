"""The projector: a small MLP, shared by all modalities, from embeddings to the language model's soft tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semi.adapters import ProjectorAdapter
from semi.errors import InputError


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
        for i, layer in enumerate(self._linears()):
            x = _linear(x, layer, adapter, i, rows)
            if i == 0:
                x = nn.functional.gelu(x, approximate="tanh")
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


def _linear(x: Tensor, layer: nn.Linear, adapter: ProjectorAdapter | None, i: int, rows: Tensor | None) -> Tensor:
    if adapter is None:
        return nn.functional.linear(x, _narrowed(layer.weight, x.shape[-1]), layer.bias)
    A, B, bias = adapter.A[i], adapter.B[i], adapter.bias[i]
    if adapter.stacked:
        if rows is None:
            raise InputError("a stacked adapter needs `rows`", got=None, expected="one adapter index per row of x")
        A, B = A[rows], B[rows]  # (n, in, r), (n, r, out)
        bias = bias[rows].reshape(len(rows), *[1] * (x.ndim - 2), -1)
        y = torch.einsum("n...i,nir,nro->n...o", x, A, B)
    else:
        if x.shape[-1] != A.shape[0]:
            raise InputError(f"layer {i} of the adapter does not fit", got=tuple(x.shape), expected=f"(..., {len(A)})")
        y = (x @ A) @ B
    y = y + layer.bias + bias
    return y + nn.functional.linear(x, _narrowed(layer.weight, x.shape[-1])) if adapter.base[i] else y


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
