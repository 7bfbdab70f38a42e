"""The bench of the kernels: what they cost, what they could cost at the least, and what their peers cost."""

from semi_kernels.bench.cases import DTYPES, KERNELS, Case, grid, small, tiny
from semi_kernels.bench.compare import Change, compare, regressions
from semi_kernels.bench.report import COLUMNS, Row, document, read, write_csv, write_json
from semi_kernels.bench.run import NO_WIN, Bench

__all__ = [
    "COLUMNS",
    "DTYPES",
    "KERNELS",
    "NO_WIN",
    "Bench",
    "Case",
    "Change",
    "Row",
    "compare",
    "document",
    "grid",
    "read",
    "regressions",
    "small",
    "tiny",
    "write_csv",
    "write_json",
]
