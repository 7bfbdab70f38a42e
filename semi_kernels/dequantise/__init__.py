"""Packed weights to dense ones, with an adapter merged on the way."""

from semi_kernels.dequantise.op import dequantise

__all__ = ["dequantise"]
