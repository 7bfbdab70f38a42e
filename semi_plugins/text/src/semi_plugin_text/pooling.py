"""Token ids to one embedding a text, such that no text feels its batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch

BATCH = 64


def encode_by_length(
    tokens: Sequence[list[int]], width: int, embed: Callable[[torch.Tensor], np.ndarray]
) -> np.ndarray:
    """Embeddings (n, width), float32, of n lists of token ids, in their order.

    Padding changes the arithmetic in the last digits, so a batch holds texts of one token count and needs none.

    Args:
        tokens: the ids of each text.
        width: of an embedding.
        embed: ids (b, t) to embeddings (b, width).
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, ids in enumerate(tokens):
        by_length[len(ids)].append(index)
    result = np.empty((len(tokens), width), dtype=np.float32)
    for group in by_length.values():
        for start in range(0, len(group), BATCH):
            rows = group[start : start + BATCH]
            result[rows] = embed(torch.tensor([tokens[row] for row in rows]))
    return result
