"""Twenty runs, equal bit for bit, forward and backward."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from gpu_stages.context import Context
from semi_kernels.bench.accuracy import results
from semi_kernels.bench.cases import Case
from semi_kernels.bench.problems import draw
from semi_kernels.bench.providers import OURS

RUNS = 20


def run(context: Context, state: dict[str, Any]) -> None:
    """state["cases"]: by case, how many of the runs differ from the first."""
    found: dict[str, Any] = state.setdefault("cases", {})
    base = Case("fused_lora", 64, 768, 2048, mode="full")
    if context.tiny:
        base = replace(base, M=17, K=64, N=96, r=4, dtype="fp32")
    large = base if context.tiny else replace(base, M=1024)
    cases = [replace(case, quantisation=kind) for case in (base, large) for kind in ("dense", "nf4", "q4_1")]
    cases += [replace(base, G=3), replace(large, G=3), replace(base, isometry="hadamard")]
    cases += [replace(base, kernel="projector_mlp", hidden=base.N)]
    cases += [replace(base, kernel="masked_nf4_linear", quantisation="nf4", r=0)]
    for case in cases:
        name = f"{case.kernel} {case.M}x{case.K}->{case.N} {case.dtype} {case.quantisation} G={case.G} {case.isometry}"
        if found.get(name) == 0:
            continue
        context.check("determinism", state)
        try:
            problem = draw(case, context.device)
            prepared = OURS.prepare(problem)
            first = results(problem, prepared)
            others = (results(problem, prepared) for _ in range(RUNS - 1))
            found[name] = sum(not all(map(torch.equal, first, other)) for other in others)
        except Exception as error:
            found[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        state["wrong"] = sum(different != 0 for different in found.values())
        state["summary"] = [f"{len(found)} cases of {RUNS} runs, {state['wrong']} of them not equal in every bit"]
