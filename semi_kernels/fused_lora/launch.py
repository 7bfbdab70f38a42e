"""Launching the one-launch kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from semi_kernels.configurations import H200, Blocks, few_rows, gpu
from semi_kernels.dispatch import Specimen
from semi_kernels.weights.launching import operands, strides, types

KINDS = ("none", "householder", "signed_permutation", "hadamard")


def few_rows_forward(
    x: Tensor,
    weights: Sequence[Tensor],
    layout: str,
    N: int,
    A: Tensor | None,
    B: Tensor | None,
    bias: Tensor | None,
    adapter_bias: Tensor | None,
    rows: Tensor | None,
    isometry: Sequence[Tensor],
    kind: str,
    scale: float,
    activation: str,
    save: bool,
    into: Tensor | None = None,
    positions: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(M, N) after the activation, and before it where `save` asks for it (else empty).

    into (any, d) and positions (M, N // d): store the rows there instead; `into` is what is returned then.
    """
    from semi_kernels.fused_lora.kernel import _fused_lora

    M, K = x.shape
    y = x.new_empty(M, N) if into is None else into
    before = x.new_empty((M, N) if save else (0,))
    if M == 0 or N == 0:
        return y, before
    R = A.shape[2] if A is not None else 0
    V = isometry[0].shape[1] if kind == "householder" else 0
    blocks = few_rows(gpu(x.device), M=M, N=N, layout=layout, itemsize=x.itemsize, rank=padded_rank(R) + padded_rank(V))
    grid = (-(-N // blocks.BN), -(-M // blocks.BM))
    scratch = x.new_empty(grid[0] * grid[1] * blocks.BM * K) if kind == "hadamard" else x
    w = operands(weights, x)
    _fused_lora[grid](
        x, *x.stride(),
        w[0], *strides(weights, layout), *w[1:],
        *_strided(A, 3, x), *_strided(B, 3, x),
        x if bias is None else bias, *_strided(adapter_bias, 2, x), x if rows is None else rows,
        *([*isometry, x, x][:2]), scratch,
        y, y.stride(-2), x if positions is None else positions, before, scale, M,
        N, K, R, padded_rank(R), 1 if A is None else len(A), V, padded_rank(V),
        len(isometry[0]) if kind == "hadamard" else 0, padded(K) if kind == "hadamard" else 0,
        layout, kind, activation, bias is not None, adapter_bias is not None, rows is not None, save,
        0 if positions is None else positions.shape[1],
        blocks.BM, blocks.BN, blocks.BK,
        num_warps=blocks.num_warps, num_stages=blocks.num_stages, enable_fp_fusion=False,
    )  # fmt: skip
    return y, before


def padded(n: int) -> int:
    """The least power of two that holds n."""
    return 1 << max(n - 1, 0).bit_length()


def padded_rank(r: int) -> int:
    """What a dot takes: a power of two from 16 on."""
    return max(16, padded(r))


def _strided(t: Tensor | None, axes: int, unused: Tensor) -> tuple[Any, ...]:
    return (unused, *[0] * axes) if t is None else (t, *t.stride())


def specimens() -> Iterator[Specimen]:
    """A covering selection: each weight, isometry and rank, for few and for many rows of the shapes of section 4."""
    cases = [
        (layout, dtype, rank, "none", M, N, K, False)
        for layout, dtype in (
            ("dense", "bf16"), ("dense", "fp32"), ("nf4", "bf16"), ("nf4_nested", "bf16"), ("nf4_nested", "fp16"),
            ("q4_1", "bf16"), ("none", "bf16"),
        )
        for M, N, K, rank in ((1, 4096, 4096, 32), (128, 2048, 768, 32))
    ]  # fmt: skip
    cases += [("nf4_nested", "bf16", rank, "none", 16, 4096, 4096, False) for rank in (0, 128, 256)]
    cases += [("dense", "bf16", 32, kind, M, 2048, 1536, False) for kind in KINDS[1:] for M in (16, 128)]
    cases += [("dense", "bf16", 32, "none", M, 2048, 768, True) for M in (16, 128)]
    for layout, dtype, rank, kind, M, N, K, rows in cases:
        yield _specimen(layout, dtype, rank, kind, M, N, K, rows)


def _specimen(layout: str, dtype: str, R: int, kind: str, M: int, N: int, K: int, rows: bool) -> Specimen:
    from semi_kernels.fused_lora.kernel import _fused_lora

    V = 8 if kind == "householder" else 0
    itemsize = 4 if dtype == "fp32" else 2
    b: Blocks = few_rows(H200, M=M, N=N, layout=layout, itemsize=itemsize, rank=padded_rank(R) + padded_rank(V))
    constexprs: dict[str, Any] = {
        "N": N, "K": K, "R": R, "RP": padded_rank(R), "G": 3 if rows else 1, "V": V, "VP": padded_rank(V),
        "ROUNDS": 3 if kind == "hadamard" else 0, "KP": padded(K) if kind == "hadamard" else 0, "LAYOUT": layout,
        "ISOMETRY": kind, "ACTIVATION": "gelu_tanh", "HAS_BIAS": True, "HAS_ADAPTER_BIAS": R > 0, "HAS_ROWS": rows,
        "SAVE": False, "PARTS": 0, "BM": b.BM, "BN": b.BN, "BK": b.BK,
    }  # fmt: skip
    constexprs |= {f"{tensor}_column": 1 for tensor in ("x", "w", "a", "b", "adapter_bias")}
    rows_apart = ("x_row", "w_row", "a_group", "a_row", "b_group", "b_row", "adapter_bias_group", "y_row")
    pointers = {name: f"*{dtype}" for name in _fused_lora.arg_names if name.endswith("_ptr")}
    pointers |= types(layout, dtype) | {"rows_ptr": "*i64", "positions_ptr": "*i64"}
    index = "*i64" if kind in ("signed_permutation", "hadamard") else "*fp32"
    pointers |= {"isometry_ptr": index, "isometry2_ptr": "*fp32"}
    signature = {
        name: "constexpr" if name in constexprs else pointers.get(name) or ("fp32" if name == "scale" else "i32")
        for name in _fused_lora.arg_names
    }
    label = f"{layout} {dtype} M={M} {K}->{N} r={R} {kind}{' rows' if rows else ''}"
    return Specimen(_fused_lora, label, signature, constexprs, b.num_warps, b.num_stages, rows_apart)
