"""Recurrent layers that ONNX runs over sequences of any length."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GRULayer(nn.Module):
    """(T, d_in) -> the states (T, d) of one layer, from the state 0.

    torch.export unrolls nn.GRU over the length that it sees. So where it traces, ONNX's own operator takes its place,
    whose gates come in the order update, reset, new, and not reset, update, new.
    """

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        self.gru = gru

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            states: Tensor = self.gru(x)[0]
            return states
        of_input, of_state, *biases = (_reordered(weight) for weight in self.gru.all_weights[0])
        d = self.gru.hidden_size
        found = torch.onnx.ops.symbolic(
            "GRU",
            (x[:, None], of_input[None], of_state[None], torch.cat(biases)[None]),
            {"hidden_size": d, "linear_before_reset": 1},
            dtype=x.dtype,
            shape=(x.shape[0], 1, 1, d),  # (T, directions, batch, d)
        )
        return found[:, 0, 0]


def _reordered(weight: Tensor) -> Tensor:
    return weight.reshape(3, -1, *weight.shape[1:])[[1, 0, 2]].reshape(weight.shape)
