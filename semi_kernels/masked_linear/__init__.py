"""A layer of a decoupled merge: a frozen weight plus one modality's share of a common task vector."""

from semi_kernels.masked_linear.bits import pack_mask, unpack_mask
from semi_kernels.masked_linear.op import masked_nf4_linear

__all__ = ["masked_nf4_linear", "pack_mask", "unpack_mask"]
