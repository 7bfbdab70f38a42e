"""The least time a case can take on a GPU, and the least that a peer's own way of computing it can take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from semi_kernels.bench.cases import REFLECTIONS, Case
from semi_kernels.bench.hardware import Hardware

INSTRUCTIONS = {"dense": 0.0, "nf4": 3.5, "q4_1": 2.5}
"""Instructions that decode a weight, at the least: take its bits out; for NF4 a shuffle and a product with its scale,
for Q4_1 one multiply-add; half of a conversion that packs two results."""
ROUNDS = 3  # of Hadamard isometries


@dataclass(frozen=True)
class Work:
    """What cannot be avoided."""

    bytes: int
    """Every input read once, every output written once."""
    flops: int
    """Of matrix products."""
    decoded: int = 0
    """4-bit weights decoded, each once."""

    def __add__(self, other: Work) -> Work:
        return Work(self.bytes + other.bytes, self.flops + other.flops, self.decoded + other.decoded)


@dataclass(frozen=True)
class Floor:
    """A floor and what it is the largest of, in microseconds; None where a roof is not known."""

    us: float | None
    terms: dict[str, Any]


def floor(case: Case, hardware: Hardware, t_null_us: float | None = None) -> Floor:
    """max(bytes / bandwidth, flops / peak, shuffles / (32 x SMs x clock), decode / (128 x SMs x clock)) + t_null.

    Args:
        t_null_us: median of an empty kernel in the same mode and run; None where it was not measured.
    """
    needed = work(case)
    per_clock = (hardware.multiprocessors or 0) * (hardware.clock or 0) or None
    shuffles = needed.decoded if case.quantisation == "nf4" else 0
    terms = {
        "bytes_us": _over(needed.bytes, hardware.bandwidth),
        "flops_us": _over(needed.flops, _peak(case, hardware)),
        "shuffles_us": _over(shuffles, per_clock and 32 * per_clock),
        "decode_us": _over(INSTRUCTIONS[case.quantisation] * needed.decoded, per_clock and 128 * per_clock),
    }
    measured = [term for term in terms.values() if term is not None]
    unknown = terms["bytes_us"] is None or terms["flops_us"] is None
    return Floor(
        None if unknown else max(measured) + (t_null_us or 0.0),
        {**terms, "t_null_us": t_null_us, "gpu": hardware.name, "roofs": hardware.source},
    )


def roof(case: Case, passes: Iterable[Work] | None, hardware: Hardware, t_null_us: float | None = None) -> float | None:
    """The least time of kernels that run one after the other, each reading and writing memory, in microseconds."""
    if passes is None:
        return None
    times = [(_over(p.bytes, hardware.bandwidth), _over(p.flops, _peak(case, hardware))) for p in passes]
    if any(term is None for pair in times for term in pair):
        return None
    return sum(max(b or 0.0, f or 0.0) for b, f in times) + (t_null_us or 0.0)


def work(case: Case) -> Work:
    """What a case must read, write and compute."""
    if case.kernel == "isometry":
        moved = 2 * case.M * case.K * case.itemsize
        return _isometry(case) + Work(moved, 0)
    layers = [(case.K, case.N)]
    if case.kernel == "projector_mlp":
        layers = [(case.K, case.hidden), (case.hidden, case.N)]
    total = Work(0, 0)
    if case.mode in ("fwd", "full"):
        ends = Work((case.M * (layers[0][0] + layers[-1][1])) * case.itemsize, 0)
        total += sum((_forward(case, K, N) for K, N in layers), ends) + _isometry(case)
    if case.mode in ("bwd", "full"):
        total += sum((_backward(case, K, N) for K, N in layers), _isometry(case))
    return total


def weight_bytes(case: Case, K: int, N: int) -> int:
    """A weight as it is stored: NF4 with nested scales, Q4_1 with fp16 scale and minimum every 32."""
    if case.quantisation == "dense":
        return K * N * case.itemsize
    if case.quantisation == "q4_1":
        return K * N // 2 + K * N // 32 * 4
    blocks = -(-K * N // 64)
    return -(-K * N // 2) + blocks + -(-blocks // 256) * 4 + 256 * 4 + 4


def _forward(case: Case, K: int, N: int) -> Work:
    """Without what enters and leaves."""
    e, M, r = case.itemsize, case.M, case.r
    adapters = min(case.G, M) if case.adapted else 0  # an adapter that no row uses need not be read
    stored = weight_bytes(case, K, N) + (N * e if case.biased else 0)
    stored += adapters * (r * (K + N) + (N if case.biased else 0)) * e + (4 * M if case.G > 1 else 0)
    if case.kernel == "masked_nf4_linear":
        stored += K * N * e + -(-K * N // 8)
    saved = M * N * e if case.mode == "full" and case.gelu else 0  # the value before GELU
    flops = 2 * M * K * N + (2 * M * r * (K + N) if case.adapted else 0)
    return Work(stored + saved, flops, K * N if case.quantisation != "dense" else 0)


def _backward(case: Case, K: int, N: int) -> Work:
    """dx, and of the adapter dA, dB and its bias: W is frozen."""
    e, M, r = case.itemsize, case.M, case.r
    read = M * N * e * (2 if case.gelu else 1) + weight_bytes(case, K, N)
    if case.kernel == "masked_nf4_linear":
        read += K * N * e + -(-K * N // 8)
    flops = 2 * M * K * N
    written = M * K * e
    if case.adapted:
        read += M * K * e + case.G * r * (K + N) * e
        written += case.G * (r * (K + N) + (N if case.biased else 0)) * e
        flops += 4 * M * r * (K + N)  # dS, dB, dA, and the adapter's part of dx
    return Work(read + written, flops, K * N if case.quantisation != "dense" else 0)


def _isometry(case: Case) -> Work:
    """Reading it and applying it, in the operation that x is loaded for anyway."""
    d, M = case.K, case.M
    if case.isometry == "householder":
        return Work(4 * REFLECTIONS * (d + REFLECTIONS), 4 * M * REFLECTIONS * d)
    if case.isometry == "signed_permutation":
        return Work(12 * d, 0)
    if case.isometry == "hadamard":
        return Work(12 * d * ROUNDS, 0)  # its additions are no matrix products; they hide behind the loads
    if case.isometry == "haar":
        return Work(2 * d * d, 2 * M * d * d)  # half a matrix of reflections in fp32
    return Work(0, 0)


def _peak(case: Case, hardware: Hardware) -> float | None:
    return hardware.peak_fp32 if case.dtype == "fp32" else hardware.peak


def _over(amount: float, rate: float | None) -> float | None:
    """Microseconds."""
    if not amount:
        return 0.0
    return 1e6 * amount / rate if rate else None
