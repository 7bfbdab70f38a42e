"""Who is measured: our kernels and their peers, each computing the same function in its own way."""

from semi_kernels.bench.providers.base import Prepared, Provider
from semi_kernels.bench.providers.four_bit import BITSANDBYTES, UNSLOTH
from semi_kernels.bench.providers.ours import OURS
from semi_kernels.bench.providers.plain import COLUMNS, COMPILED, EAGER

PROVIDERS: tuple[Provider, ...] = (OURS, EAGER, COMPILED, BITSANDBYTES, UNSLOTH, COLUMNS)

__all__ = ["BITSANDBYTES", "COLUMNS", "COMPILED", "EAGER", "OURS", "PROVIDERS", "UNSLOTH", "Prepared", "Provider"]
