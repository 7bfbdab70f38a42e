"""What is measured: one operation at one shape, and the grids of them (KERNELS: section 4 of the design)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

KERNELS = ("fused_lora", "projector_mlp", "nf4_linear", "q4_linear", "masked_nf4_linear", "isometry")
ISOMETRIES = ("none", "householder", "signed_permutation", "hadamard", "haar")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
LAYERS = ((768, 2048), (1024, 4096), (4096, 4096), (4096, 14336))
"""K -> N: two layers of projectors, two of language models."""
ROWS = (1, 16, 64, 128, 256, 1024, 8192)
RANK = 32
REFLECTIONS = 8

Mode = Literal["fwd", "bwd", "full"]
Quantisation = Literal["dense", "nf4", "q4_1"]


@dataclass(frozen=True)
class Case:
    """One measurement, without who is measured."""

    kernel: str
    M: int
    K: int
    N: int
    mode: Mode = "fwd"
    r: int = RANK
    G: int = 1
    dtype: str = "bf16"
    quantisation: Quantisation = "dense"
    isometry: str = "none"
    hidden: int = 0
    """Width between the two layers of `projector_mlp`."""

    @property
    def torch_dtype(self) -> torch.dtype:
        """Of the activations, the adapter and a dense weight."""
        return DTYPES[self.dtype]

    @property
    def itemsize(self) -> int:
        """Bytes of an activation."""
        return self.torch_dtype.itemsize

    @property
    def gelu(self) -> bool:
        """Whether the operation ends with GELU: a projector's first layer does, a language model's linears do not."""
        return self.kernel == "fused_lora"

    @property
    def biased(self) -> bool:
        """Whether the base layer has a bias."""
        return self.kernel in ("fused_lora", "projector_mlp")

    @property
    def adapted(self) -> bool:
        """Whether there is an adapter."""
        return self.kernel not in ("isometry", "masked_nf4_linear")

    def asdict(self) -> dict[str, Any]:
        """The columns of a row that say what is measured."""
        return asdict(self)


def grid(kernel: str, dtype: str = "bf16") -> list[Case]:
    """Every case of a kernel on a GPU, the important ones first, so that a cut leaves a whole picture."""
    return list(dict.fromkeys(_grid(kernel, dtype)))


def small(kernel: str, dtype: str = "fp32", *, quick: bool = False) -> list[Case]:
    """Cases that a CPU computes in a minute or two, with `quick` in seconds."""
    layers = ((768, 2048),) if quick else ((768, 2048), (1024, 4096))
    rows = (1, 64, 256) if quick else (1, 16, 64, 256, 1024)
    core = [replace(case, M=M) for case in _layers(kernel, dtype, layers) for M in rows]
    K, N = layers[0]
    if kernel == "fused_lora":
        case = Case(kernel, 64, K, N, dtype=dtype)
        modes: tuple[Mode, ...] = ("full",) if quick else ("bwd", "full")
        core += [replace(case, mode=mode) for mode in modes]
        core += [replace(case, G=3)]
        core += [replace(case, isometry=kind) for kind in (("householder",) if quick else ISOMETRIES[1:])]
    return list(dict.fromkeys(core))


def tiny(kernel: str, dtype: str = "fp32") -> list[Case]:
    """A case or two of every path that take milliseconds: the proof that the bench itself works."""
    core = [replace(case, M=M, r=4) for case in _layers(kernel, dtype, ((64, 96),)) for M in (1, 17)]
    if kernel == "fused_lora":
        case = Case(kernel, 17, 64, 96, r=4, dtype=dtype)
        core += [replace(case, mode="bwd"), replace(case, mode="full", quantisation="nf4"), replace(case, G=3)]
        core += [replace(case, isometry=kind) for kind in ISOMETRIES[1:]]
    return core


def _grid(kernel: str, dtype: str) -> Iterator[Case]:
    layers = _layers(kernel, dtype, LAYERS)
    for M in (1, 64, 1024, 8192, 16, 256, 128):
        yield from (replace(case, M=M) for case in layers)
    if kernel == "isometry":
        return
    first = [case for case in layers if (case.K, case.N) in (LAYERS[0], LAYERS[2])]
    modes: tuple[Mode, ...] = ("full", "bwd")
    if kernel == "masked_nf4_linear":  # its only gradient is that of x
        modes = ("bwd",)
    yield from (replace(case, M=M, mode=mode) for mode in modes for M in (1024, 64, 8192) for case in first)
    if kernel != "fused_lora":
        return
    for M in (64, 16, 1024):
        yield from (replace(case, M=M, isometry=kind) for kind in ISOMETRIES[1:] for case in first)
    three = [replace(case, G=3) for case in first]
    yield from (replace(case, M=M) for M in (64, 1024, 8192) for case in three)
    yield from (replace(case, M=M, mode="full") for M in (64, 1024, 8192) for case in three)
    for other in DTYPES:
        yield from (replace(case, M=M, dtype=other) for M in (64, 1024) for case in first)


def _layers(kernel: str, dtype: str, layers: tuple[tuple[int, int], ...]) -> list[Case]:
    """A kernel's cases of one row."""
    if kernel not in KERNELS:
        raise ValueError(f"bench: got kernel {kernel!r}, expected {', '.join(KERNELS)}")
    if dtype not in DTYPES:
        raise ValueError(f"bench: got dtype {dtype!r}, expected {', '.join(DTYPES)}")
    if kernel == "isometry":
        widths = dict.fromkeys(K for K, _ in layers)
        return [Case(kernel, 1, K, K, r=0, dtype=dtype, isometry=kind) for kind in ISOMETRIES[1:] for K in widths]
    if kernel == "projector_mlp":
        narrow = layers[: max(1, len(layers) // 2)]  # a projector reads an encoder, not a language model
        return [Case(kernel, 1, K, N, hidden=N, dtype=dtype) for K, N in narrow]
    kinds: dict[str, tuple[Quantisation, ...]] = {
        "fused_lora": ("dense", "nf4", "q4_1"),
        "nf4_linear": ("nf4",),
        "q4_linear": ("q4_1",),
        "masked_nf4_linear": ("nf4",),
    }
    rank = 0 if kernel == "masked_nf4_linear" else RANK
    return [Case(kernel, 1, K, N, r=rank, dtype=dtype, quantisation=kind) for kind in kinds[kernel] for K, N in layers]
