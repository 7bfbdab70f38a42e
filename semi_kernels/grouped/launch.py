"""Launches of the kernels: outputs, grid, tiles."""

from __future__ import annotations

import torch
from torch import Tensor

from semi_kernels import dispatch
from semi_kernels.grouped import kernel, policy, reference
from semi_kernels.grouped.policy import Tiles
from semi_kernels.tiles import ceil_div


def group_rows(rows: Tensor, G: int) -> tuple[Tensor, Tensor]:
    """One launch where comparing all pairs of rows is cheaper than sorting them."""
    M = rows.shape[0]
    if M > policy.RANKED or (M + 1) * (G + 2) >= 1 << 31:
        return reference.group_rows(rows, G)  # the same sort on a GPU: five launches or more, no waiting
    order = torch.empty(M, dtype=torch.int32, device=rows.device)
    offsets = torch.empty(G + 1, dtype=torch.int32, device=rows.device)
    grid = (ceil_div(M + G + 1, 32),)
    with dispatch.device_of(rows):
        kernel.rank_kernel[grid](
            rows.contiguous(), order, offsets, M, G, BQ=32, BM=128, num_warps=4, enable_fp_fusion=False
        )
    return order, offsets


def grouped_down(
    x: Tensor, A: Tensor, order: Tensor, offsets: Tensor, scale: float, tiles: Tiles | None = None
) -> Tensor:
    """One launch, two where K is summed in parts."""
    (M, K), (G, _, r) = x.shape, A.shape
    t = tiles or policy.down(M, K, r, x.dtype)
    A = _near(A)
    S = torch.empty(M, r, dtype=x.dtype, device=x.device)
    if not S.numel():
        return S
    out = S if t.parts == 1 else torch.empty(t.parts, M, r, dtype=torch.float32, device=x.device)
    with dispatch.device_of(x):
        kernel.down_kernel[((M // t.rows + G) * t.parts * ceil_div(r, t.rank),)](
            x, A, order, offsets, out, scale, M, G, *x.stride(), *A.stride(),
            K=K, R=r, BM=t.rows, BK=t.columns, BR=t.rank, SPLITS=t.parts,
            num_warps=t.num_warps, num_stages=t.num_stages, enable_fp_fusion=False,
        )  # fmt: skip
        if t.parts > 1:
            kernel.sum_splits_kernel[(ceil_div(M * r, policy.BLOCK),)](
                out, S, scale, M * r, SPLITS=t.parts, BLOCK=policy.BLOCK, num_warps=4, enable_fp_fusion=False
            )
    return S


def grouped_up(
    y: Tensor | None,
    S: Tensor,
    B: Tensor,
    order: Tensor,
    offsets: Tensor,
    bias: Tensor | None,
    scale: float,
    activation: str | None,
    preactivation: bool,
    tiles: Tiles | None = None,
) -> list[Tensor]:
    """One launch."""
    (M, r), (G, _, N) = S.shape, B.shape
    t = tiles or policy.up(M, N, r, S.dtype)
    B = _near(B)
    outputs = [torch.empty(M, N, dtype=S.dtype, device=S.device) for _ in range(1 + preactivation)]
    if not M * N:
        return outputs
    with dispatch.device_of(S):
        kernel.up_kernel[((M // t.rows + G) * ceil_div(N, t.columns),)](
            y, S, B, bias, order, offsets, outputs[0], outputs[1] if preactivation else None, scale, G,
            *(y.stride() if y is not None else (1, 1)), *S.stride(), *B.stride(),
            *(bias.stride() if bias is not None else (1, 1)),
            N=N, R=r, BM=t.rows, BN=t.columns, BR=t.rank, GELU=activation is not None,
            num_warps=t.num_warps, num_stages=t.num_stages, enable_fp_fusion=False,
        )  # fmt: skip
    return outputs


def grouped_outer(
    x: Tensor, d: Tensor, order: Tensor, offsets: Tensor, column_sum: bool, tiles: Tiles | None = None
) -> list[Tensor]:
    """One launch, two where groups are summed in parts."""
    (M, K), r, G = x.shape, d.shape[1], offsets.shape[0] - 1
    t = tiles or policy.outer(M, K, r, x.dtype)
    out = torch.empty(G, K, r, dtype=torch.float32, device=x.device)
    outputs = [out, torch.empty(G, K, dtype=torch.float32, device=x.device)] if column_sum else [out]
    if not K * (r + column_sum):
        return outputs
    sums = outputs[1] if column_sum else None
    n, width, count = K * r, K * (r + column_sum), G
    into, into_sums, strides = out, sums, (n, K)
    if t.parts:
        count = M // t.parts + G
        into = torch.empty(count, width, dtype=torch.float32, device=x.device)
        into_sums, strides = into[:, n:] if column_sum else None, (width, width)
    with dispatch.device_of(x):
        kernel.outer_kernel[(count * ceil_div(K, t.columns) * ceil_div(max(r, 1), t.rank),)](
            x, d, order, offsets, into, into_sums, G, t.parts, *x.stride(), *d.stride(), *strides,
            K=K, R=r, BM=t.rows, BK=t.columns, BR=t.rank, DIRECT=not t.parts,
            num_warps=t.num_warps, num_stages=t.num_stages, enable_fp_fusion=False,
        )  # fmt: skip
        if t.parts:
            kernel.sum_tiles_kernel[(ceil_div(width, policy.BLOCK) * G,)](
                into, out, sums, offsets, t.parts, n, width - n, BLOCK=policy.BLOCK, num_warps=4, enable_fp_fusion=False
            )
    return outputs


def _near(A: Tensor) -> Tensor:
    """(G, a, b) whose offsets within an adapter fit 32 bits."""
    _, a, b = A.shape
    return A if a * A.stride(1) + b * A.stride(2) < 1 << 31 else A.contiguous()
