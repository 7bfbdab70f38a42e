"""The tensors of a case, drawn at random, and the function that every provider has to compute."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from semi_kernels.bench.cases import REFLECTIONS, Case
from semi_kernels.isometry import KINDS, Isometry
from semi_kernels.masked_linear import pack_mask
from semi_kernels.weights import NF4Weight, Q4Weight, Weight

SCALE = 0.5


@dataclass
class Layer:
    """One frozen linear layer with its adapter."""

    weight: Weight  # (N, K)
    bias: Tensor | None  # (N,)
    A: Tensor | None  # (G, K, r)
    B: Tensor | None  # (G, r, N)
    adapter_bias: Tensor | None  # (G, N)

    def dense(self, dtype: torch.dtype) -> Tensor:
        """The weight as numbers, (N, K)."""
        return self.weight.to(dtype) if isinstance(self.weight, Tensor) else self.weight.dequantize(dtype)

    def leaves(self) -> list[Tensor]:
        """What is trained."""
        return [t for t in (self.A, self.B, self.adapter_bias) if t is not None]


@dataclass
class Problem:
    """Inputs of one call; `clone` gives another set of them elsewhere in memory."""

    case: Case
    x: Tensor  # (M, K)
    dy: Tensor  # (M, N)
    layers: list[Layer]
    rows: Tensor | None = None  # (M,) int32
    isometry: Isometry | None = None
    tau: Tensor | None = None  # (N, K)
    mask: Tensor | None = None
    """Packed bits of which entries of tau count, as `masked_nf4_linear` takes them."""
    bits: Tensor | None = None  # (N, K) bool, the same unpacked
    bnb: Any = None
    """(packed, quant_state) of the first layer's NF4 weight where bitsandbytes made it."""
    matrix: Tensor | None = None  # (K, K): the isometry as the peers apply it

    @property
    def first(self) -> Layer:
        """The only layer, but for the projector."""
        return self.layers[0]

    def leaves(self) -> list[Tensor]:
        """What gradients are taken of: x and the adapters."""
        return [self.x, *(leaf for layer in self.layers for leaf in layer.leaves())]

    def clone(self, seed: int) -> Problem:
        """The same weights elsewhere in memory, and another x."""
        other = deepcopy(self)
        generator = torch.Generator(self.x.device).manual_seed(seed)
        with torch.no_grad():
            other.x.copy_(torch.randn(self.x.shape, generator=generator, device=self.x.device))
        return other

    @property
    def nbytes(self) -> int:
        """Of all tensors, about."""
        tensors = [self.x, self.dy, *self.leaves(), self.tau, self.bits, self.matrix]
        held = sum(t.nbytes for t in tensors if t is not None)
        return held + sum(layer.weight.nbytes for layer in self.layers)


def draw(case: Case, device: torch.device, seed: int = 0) -> Problem:
    """Random inputs of a case; gradients are asked for where its mode needs them."""
    generator = torch.Generator(device).manual_seed(seed)
    dtype = case.torch_dtype

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(shape, generator=generator, device=device) * scale).to(dtype)

    trained = case.mode != "fwd"
    problem = Problem(case, normal(case.M, case.K), normal(case.M, case.N), [])
    widths = [case.K, case.hidden, case.N] if case.hidden else [case.K, case.N]
    if case.kernel != "isometry":
        for K, N in pairwise(widths):
            weight, bnb = _weight(case, normal(N, K, scale=K**-0.5))
            problem.bnb = problem.bnb or bnb
            layer = Layer(weight, normal(N) if case.biased else None, None, None, None)
            if case.adapted:
                layer.A = normal(case.G, K, case.r, scale=K**-0.5).requires_grad_(trained)
                layer.B = normal(case.G, case.r, N, scale=case.r**-0.5).requires_grad_(trained)
                layer.adapter_bias = normal(case.G, N).requires_grad_(trained) if case.biased else None
            problem.layers.append(layer)
    problem.x.requires_grad_(trained)
    if case.G > 1:
        problem.rows = torch.randint(case.G, (case.M,), generator=generator, device=device, dtype=torch.int32)
    if case.isometry != "none":
        options: dict[str, Any] = {"k": REFLECTIONS} if case.isometry == "householder" else {}
        on_cpu = torch.Generator().manual_seed(seed)
        problem.isometry = KINDS[case.isometry].sample(case.K, generator=on_cpu, device=device, **options)
        problem.matrix = problem.isometry.matrix().to(dtype)
    if case.kernel == "masked_nf4_linear":
        problem.tau = normal(case.N, case.K, scale=0.1 * case.K**-0.5)
        problem.bits = torch.rand(case.N, case.K, generator=generator, device=device) < 0.5
        problem.mask = pack_mask(problem.bits)
    return problem


def compose(problem: Problem, dtype: torch.dtype | None = None) -> Tensor:
    """What the case computes, in plain PyTorch and in `dtype` (None: the case's own): (M, N).

    In float64 it is the reference; in the case's dtype the eager composition that people write.
    """
    case, x = problem.case, problem.x
    if dtype is not None:
        x = x.to(dtype)
        if problem.isometry is not None:
            x = problem.isometry.apply(x)  # not the matrix, which is rounded to the case's dtype
    elif problem.matrix is not None:
        x = x @ problem.matrix
    dtype = dtype or case.torch_dtype
    for i, layer in enumerate(problem.layers):
        weight = layer.dense(dtype)
        if problem.tau is not None and problem.bits is not None:
            weight = weight + problem.bits * problem.tau.to(dtype)
        x = add_adapter(functional.linear(x, weight, cast(layer.bias, dtype)), x, layer, problem.rows, dtype)
        if case.gelu or i + 1 < len(problem.layers):
            x = functional.gelu(x, approximate="tanh")
    return x


def add_adapter(y: Tensor, x: Tensor, layer: Layer, rows: Tensor | None, dtype: torch.dtype) -> Tensor:
    """y + SCALE (x A_g) B_g + bias_g. Several adapters are one wide one, of which each row keeps its own columns."""
    A, B, bias = (cast(t, dtype) for t in (layer.A, layer.B, layer.adapter_bias))
    if A is not None and B is not None:
        G, K, r = A.shape
        s = x @ A.transpose(0, 1).reshape(K, G * r)  # (M, G r)
        if rows is not None:
            own = rows[:, None] == torch.arange(G, device=x.device)  # (M, G)
            s = (s.view(-1, G, r) * own[:, :, None].to(dtype)).view(-1, G * r)
        # Not torch.add(alpha=...): torch.compile 2.13 drops alpha on a CPU when it fuses the sum into the product.
        y = y + (SCALE * s) @ B.reshape(G * r, -1)
    if bias is not None:
        y = y + (bias[0] if rows is None else bias[rows.long()])
    return y


def cast(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """The tensor in a dtype, or None."""
    return None if tensor is None else tensor.to(dtype)


def _weight(case: Case, weight: Tensor) -> tuple[Weight, Any]:
    if case.quantisation == "q4_1":
        return Q4Weight.from_float(weight), None
    if case.quantisation == "dense":
        return weight, None
    try:
        from bitsandbytes.functional import quantize_4bit
    except ImportError:
        return NF4Weight.from_float(weight), None
    made = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    return NF4Weight.from_bitsandbytes(*made), made
