"""Products of rows with the adapter of their group: what stays of an adapted layer when the base GEMM is taken away."""

from semi_kernels.grouped.groups import Groups
from semi_kernels.grouped.op import grouped_down, grouped_outer, grouped_up

__all__ = ["Groups", "grouped_down", "grouped_outer", "grouped_up"]
