"""Isometry, frozen base weight, adapters and activation of a linear layer, fused."""

from semi_kernels.fused_lora.absorb import absorb
from semi_kernels.fused_lora.op import fused_lora

__all__ = ["absorb", "fused_lora"]
