"""Every operation on the device against float64 on the same rounded inputs, to the standard of the tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gpu_stages.context import Context
from semi_kernels.bench.accuracy import results, truth
from semi_kernels.bench.cases import DTYPES, ISOMETRIES, Case
from semi_kernels.bench.launches import launched
from semi_kernels.bench.problems import Problem, compose, draw
from semi_kernels.bench.providers import EAGER, OURS, Prepared
from semi_kernels.dequantise import dequantise
from semi_kernels.weights import NF4Weight, Q4Weight

NUMERICS = Path(__file__).resolve().parents[2] / "tests" / "semi_kernels" / "numerics.py"
ROWS = (0, 1, 2, 15, 16, 17, 64, 127, 128, 129)
RANKS = (1, 7, 8, 24, 64, 127, 128, 256)


def run(context: Context, state: dict[str, Any]) -> None:
    """state["checks"]: by name, "ok" or what is wrong; checks that were ok are not repeated."""
    checks: dict[str, str] = state.setdefault("checks", {})
    numerics = _numerics()
    for name, check in _all(context, numerics):
        if checks.get(name) == "ok":
            continue
        context.check("correctness", state)
        try:
            check()
            checks[name] = "ok"
        except Exception as problem:
            checks[name] = f"{type(problem).__name__}: {' '.join(str(problem).split())}"[:500]
        state["wrong"] = sum(found != "ok" for found in checks.values())
        state["summary"] = [f"{len(checks)} checks, {state['wrong']} wrong"]
        state["summary"] += [f"WRONG {n}: {found}" for n, found in checks.items() if found != "ok"][:20]
    if context.cuda:
        state["launches"] = _launches(context)
        state["summary"] += [f"{name}: {len(kernels)} launches" for name, kernels in state["launches"].items()]


def _all(context: Context, numerics: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    for case in _cases(tiny=context.tiny):
        yield _name(case), lambda case=case: _close(context, numerics, case)  # type: ignore[misc]
    for kind in ("nf4", "nf4 nested", "q4_1"):
        yield f"decode {kind}", lambda kind=kind: _decodes(context, kind)  # type: ignore[misc]
    for dtype in DTYPES:
        yield f"strided x, {dtype}", lambda dtype=dtype: _strided(context, numerics, dtype)  # type: ignore[misc]


def _cases(*, tiny: bool) -> Iterator[Case]:
    """The important ones first. All M share the K, N and r that kernels are compiled for."""
    base = Case("fused_lora", 17, 320, 192, r=24, mode="full")
    if tiny:
        base = replace(base, K=64, N=96, r=4)
    kinds = ("dense", "nf4", "q4_1")
    for dtype in reversed(DTYPES):
        yield from (replace(base, M=M, dtype=dtype, quantisation=kind) for kind in kinds for M in (1, 17, 64, 129, 300))
        yield from (replace(base, M=M, dtype=dtype, isometry=kind) for kind in ISOMETRIES[1:] for M in (17, 129))
        yield from (replace(base, M=M, dtype=dtype, G=G) for G in (3, 17) for M in (17, 300))
        yield Case("masked_nf4_linear", 17, base.K, base.N, "full", 0, 1, dtype, "nf4")
        yield Case("nf4_linear", 17, base.K, base.N, "full", base.r, 1, dtype, "nf4")
        yield Case("q4_linear", 17, base.K, base.N, "full", base.r, 1, dtype, "q4_1")
        yield Case("projector_mlp", 17, base.K, base.N, "full", base.r, 1, dtype, hidden=base.N)
        for kind in ISOMETRIES[1:]:
            yield Case("isometry", 17, base.K, base.K, "full", 0, 1, dtype, isometry=kind)
        # Blocks that straddle rows, in NF4 alone: Q4_1 has none.
        yield from (replace(base, K=77, N=131, dtype=dtype, quantisation=kind) for kind in ("dense", "nf4"))
    if tiny:
        return
    yield from (replace(base, M=M, quantisation=kind, mode="fwd") for kind in kinds for M in ROWS)
    yield from (replace(base, r=r, quantisation=kind) for r in RANKS for kind in ("dense", "nf4"))
    yield from (replace(base, M=2048, K=1024, N=4096, r=32, quantisation=kind) for kind in kinds)


def _close(context: Context, numerics: Any, case: Case) -> None:
    problem = draw(case, context.device)
    right = truth(problem)
    ours = results(problem, OURS.prepare(problem))
    eager = results(problem, _peer(case, problem))
    names = ("y", "dx", *(f"d{name}{i}" for i in range(len(problem.layers)) for name in ("A", "B", "bias")))
    for name, got, reference, peer in zip(names, ours, right, eager, strict=False):
        try:
            numerics.assert_close_to_float64(got, reference, peer)
        except AssertionError as wrong:
            # The gradients of a 16-bit layer are products of rounded numbers, and eager's own are near the limit.
            error, peers = (numerics.rms(result.double() - reference) for result in (got, peer))
            if name != "y" and bool(error <= 2 * peers) and case.dtype != "fp32":
                continue
            raise AssertionError(f"{name}: {wrong}") from wrong


def _peer(case: Case, problem: Problem) -> Prepared:
    """PyTorch in the same dtype; for Haar with the same reflections, hundreds of which a dense matrix rounds once."""
    if case.isometry != "haar":
        return EAGER.prepare(problem)
    return Prepared(lambda: compose(problem, case.torch_dtype), problem.leaves())


def _decodes(context: Context, kind: str) -> None:
    """Bit for bit what the CPU's reference decodes, which the tests compare with bitsandbytes and gguf."""
    generator = torch.Generator().manual_seed(0)
    for n, k in ((96, 64),) if context.tiny else ((96, 64), (129, 320), (1024, 4096)):
        dense = torch.randn(n, k, generator=generator)
        weight = Q4Weight.from_float(dense) if kind == "q4_1" else NF4Weight.from_float(dense, nested="nested" in kind)
        for dtype in DTYPES.values():
            got = dequantise(weight.to(context.device), dtype=dtype).cpu()
            if not torch.equal(got, weight.dequantize(dtype)):
                raise AssertionError(f"{(n, k)} {dtype}: {int((got != weight.dequantize(dtype)).sum())} entries differ")


def _strided(context: Context, numerics: Any, dtype: str) -> None:
    problem = draw(Case("fused_lora", 17, 96, 64, r=8, dtype=dtype), context.device)
    right, eager = truth(problem), results(problem, EAGER.prepare(problem))
    for view in (numerics.strided, numerics.transposed):
        problem.x = view(problem.x)
        numerics.assert_close_to_float64(results(problem, OURS.prepare(problem))[0], right[0], eager[0])


def _launches(context: Context) -> dict[str, list[str]]:
    """Kernels of one call of fused_lora, by case: one up to 128 rows, but for Haar."""
    found = {}
    for kind in ISOMETRIES:
        for quantisation in ("dense", "nf4", "q4_1"):
            for M in (1, 128) if kind == "none" else (64,):
                case = Case("fused_lora", M, 768, 2048, quantisation=quantisation, isometry=kind)  # type: ignore[arg-type]
                problem = draw(case, context.device)
                call = OURS.prepare(problem).call
                with torch.no_grad():
                    found[_name(case)] = launched(call)
    return found


def _name(case: Case) -> str:
    extras = [case.isometry] * (case.isometry != "none") + [f"G={case.G}"] * (case.G > 1)
    shape = f"{case.M}x{case.K}->{case.N} r={case.r}"
    return " ".join([case.kernel, case.mode, shape, case.dtype, case.quantisation, *extras])


def _numerics() -> Any:
    """The tests' own standard; the tests are no package."""
    spec = importlib.util.spec_from_file_location("numerics", NUMERICS)
    if spec is None or spec.loader is None:
        raise ImportError(NUMERICS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
