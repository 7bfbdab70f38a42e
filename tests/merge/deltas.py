"""Random deltas for the tests of merging."""

from __future__ import annotations

from typing import Literal

import torch
from hypothesis import strategies as st
from torch import Tensor

Kind = Literal["gaussian", "coarse", "sparse"]


def deltas(*shape: int, seed: int = 0, kind: Kind = "gaussian") -> Tensor:
    """float32; `coarse`: of few values, many equal, opposite or zero; `sparse`: most are zero, of either sign."""
    tau = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    if kind == "coarse":
        return (tau * 2).round() / 4
    return tau * (tau.abs() > 1.5) if kind == "sparse" else tau


@st.composite
def blocks(draw: st.DrawFn, models: st.SearchStrategy[int] | None = None) -> Tensor:
    """(N, rows, columns) of any kind."""
    n = draw(models if models is not None else st.integers(1, 6))
    kind: Kind = draw(st.sampled_from(["gaussian", "coarse", "sparse"]))
    return deltas(n, draw(st.integers(1, 7)), draw(st.integers(1, 40)), seed=draw(st.integers(0, 9999)), kind=kind)
