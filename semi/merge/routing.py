"""Which tokens of a batch belong to which modality, and layers that are computed for each on its own tokens alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from semi.errors import InputError

TEXT = -1
"""The id of tokens that belong to no modality."""

Compute = Callable[[Tensor, int], Tensor]
"""A layer: tokens (..., d_in) and their modality -> (..., d_out)."""


class Route:
    """The modality of each token of a batch. Every token passes a layer once, whatever the number of modalities.

    Args:
        modality_ids: (B, T) integers: the number of a modality or `TEXT`. A single number: all tokens of any batch.
    """

    def __init__(self, modality_ids: Tensor | int) -> None:
        self._ids = modality_ids
        self._last: dict[int, Route] = {}
        if isinstance(modality_ids, int):
            self.modalities = [modality_ids]
            return
        order = modality_ids.reshape(-1).argsort(stable=True)
        counts = torch.bincount(modality_ids.reshape(-1) - TEXT).tolist()  # of the ids from TEXT on
        self.modalities = [TEXT + number for number, count in enumerate(counts) if count]
        # Of each modality, its tokens in the flat batch.
        self._where = torch.split(order, [count for count in counts if count])
        self._back = order.argsort()

    def apply(self, x: Tensor, layer: Compute, who: str) -> Tensor:
        """The layer's output for each token under that token's modality.

        Args:
            x: (B, T, ...); with fewer tokens they are the last ones, as in decoding with a KV cache. (1, T, ...), such
                as positions, is the same for the whole batch.
            layer: computes tokens of one modality.
            who: the layer's name, for messages.

        Returns:
            (B, T, ...). Where modalities have layers of different widths, as with vocabularies of their own, the
            narrower ones are filled up with -inf.

        Raises:
            InputError: x does not have the tokens of `modality_ids`.
        """
        if isinstance(self._ids, int) or len(self.modalities) == 1:
            return layer(x, self.modalities[0])
        batch, tokens = self._ids.shape
        if x.ndim < 2 or x.shape[0] not in (1, batch) or x.shape[1] > tokens:
            raise InputError(
                f"{who} does not see the tokens that modality_ids are given for",
                got=f"input of shape {tuple(x.shape)}",
                expected=f"({batch}, {tokens}, ...)",
                do="give ids for this batch; a layer that mixes tokens takes batches of one modality only (`use`)",
            )
        if (last := x.shape[1]) < tokens:
            if last not in self._last:
                self._last[last] = Route(self._ids[:, tokens - last :])
            return self._last[last].apply(x, layer, who)
        flat = x.expand(batch, *x.shape[1:]).flatten(0, 1)  # (B T, ...)
        own = zip(self.modalities, self._where, strict=True)
        parts = [layer(flat.index_select(0, where), modality) for modality, where in own]
        width = max(part.shape[-1] for part in parts)
        parts = [pad(p, (0, width - p.shape[-1]), value=-torch.inf) if p.shape[-1] < width else p for p in parts]
        return torch.cat(parts).index_select(0, self._back).view(batch, tokens, *parts[0].shape[1:])
