"""The two layers of a projector in one call."""

from semi_kernels.projector_mlp.op import Layer, projector_mlp

__all__ = ["Layer", "projector_mlp"]
