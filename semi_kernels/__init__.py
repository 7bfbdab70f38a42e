"""Kernels for adapters on frozen weights: isometry, low-rank update and 4-bit weight in a single pass.

Each operation has a plain PyTorch reference and is the same function everywhere; SEMI_KERNELS=reference|triton|auto
chooses. Knows nothing of modalities.
"""

from semi_kernels.fused_lora import absorb, fused_lora
from semi_kernels.linear_4bit import nf4_linear, q4_linear
from semi_kernels.masked_linear import masked_nf4_linear, pack_mask, unpack_mask
from semi_kernels.projector_mlp import Layer, projector_mlp
from semi_kernels.weights import NF4Weight, Q4Weight

__all__ = [
    "Layer",
    "NF4Weight",
    "Q4Weight",
    "absorb",
    "fused_lora",
    "masked_nf4_linear",
    "nf4_linear",
    "pack_mask",
    "projector_mlp",
    "q4_linear",
    "unpack_mask",
]
