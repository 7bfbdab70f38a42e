"""Which implementation computes an operation, and why: policy, apart from the kernels."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec

import torch
from torch import Tensor

MODES = ("auto", "triton", "reference")
_HAS_TRITON = find_spec("triton") is not None
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


FEW_ROWS = 128
"""Rows up to which one launch does everything: up to there, bringing the weight in is what costs."""
WIDEST_MIXED = 4096
"""Longest row whose Walsh-Hadamard rounds fit into the registers of one program: 16 entries a thread of 8 warps."""
MOST_REFLECTIONS = 64
"""Beyond, matrix products do better than a kernel: V T V^T costs what a dense matrix does."""


def mode() -> str:
    """`SEMI_KERNELS`: auto (Triton on a GPU, the reference elsewhere), triton (never the reference) or reference."""
    chosen = os.environ.get("SEMI_KERNELS", "auto")
    if chosen not in MODES:
        raise ValueError(f"SEMI_KERNELS: got {chosen!r}, expected {', '.join(MODES)}")
    return chosen


def use_triton(*tensors: Tensor | None) -> bool:
    """Whether kernels compute an operation on these tensors.

    Raises:
        ValueError: SEMI_KERNELS=triton, and they cannot.
    """
    chosen = mode()
    if chosen == "reference":
        return False
    obstacle = _obstacle([t for t in tensors if t is not None])
    if obstacle and chosen == "triton":
        raise ValueError(f"SEMI_KERNELS=triton: {obstacle}; unset SEMI_KERNELS to use the PyTorch reference")
    return not obstacle and (chosen == "triton" or all(t is None or t.is_cuda for t in tensors))


def _obstacle(tensors: list[Tensor]) -> str | None:
    """Why kernels cannot compute with these tensors."""
    if not has_triton():
        return "triton is not installed"
    odd = next((t.dtype for t in tensors if t.is_floating_point() and t.dtype not in DTYPES), None)
    if odd is not None:
        return f"no kernel computes in {odd}"
    if not interpreting() and not all(t.is_cuda for t in tensors):
        return "a tensor is not on a GPU, and Triton's interpreter (TRITON_INTERPRET=1) was not chosen"
    return None


def device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Makes the GPU that holds the tensor the current one: Triton launches there, wherever its arguments are."""
    return torch.cuda.device(tensor.get_device()) if tensor.is_cuda else nullcontext()


def has_triton() -> bool:
    """Whether Triton is installed; it is not imported."""
    return _HAS_TRITON


def interpreting() -> bool:
    """Whether Triton runs kernels on the CPU, to check them."""
    return os.environ.get("TRITON_INTERPRET") == "1"
