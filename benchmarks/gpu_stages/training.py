"""Seconds of a training step of a projector's adapter in front of a frozen 4-bit language model."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from gpu_stages import language_model
from gpu_stages.context import Context
from semi_kernels.bench.cases import Case
from semi_kernels.bench.problems import compose, draw
from semi_kernels.bench.providers.ours import projected

BATCH, SOFT, CAPTION = 16, 4, 24


def run(context: Context, state: dict[str, Any]) -> None:
    """state["seconds a step"]: by who computes projector and language model."""
    found: dict[str, float] = state.setdefault("seconds a step", {})
    errors: dict[str, str] = state.setdefault("errors", {})
    for name, kind, ours in (("plain, 16-bit", None, False), ("ours, nf4", "nf4", True), ("ours, 16-bit", None, True)):
        if name in found:
            continue
        context.check("training", state)
        try:
            model = language_model.build(context)
            if kind:
                language_model.replace_linears(model, kind, ours=True)
            found[name] = context.seconds(_step(context, model, ours=ours), 1 if context.tiny else 10)
        except Exception as problem:
            errors[name] = f"{type(problem).__name__}: {' '.join(str(problem).split())}"[:300]
        else:
            errors.pop(name, None)
        state["wrong"] = len(errors)
        state["summary"] = [f"{who}: {1e3 * seconds:.2f} ms a step" for who, seconds in found.items()]
        state["summary"] += [f"{who}: {error}" for who, error in errors.items()]


def _step(context: Context, model: Any, *, ours: bool) -> Any:
    """Forward, loss on the captions alone, backward into the adapter, AdamW."""
    d_lm = model.config.hidden_size
    dtype = "bf16" if context.cuda else "fp32"
    case = Case("projector_mlp", BATCH, 64 if context.tiny else 768, d_lm * SOFT, "full", 8, 1, dtype, hidden=d_lm)
    problem = draw(case, context.device)
    leaves = problem.leaves()[1:]
    problem.x.requires_grad_(False)  # embeddings of a frozen encoder
    optimiser = torch.optim.AdamW(leaves, lr=1e-4)
    ids = torch.randint(100, (BATCH, CAPTION), device=context.device)
    embedded = model.get_input_embeddings()(ids)

    def step() -> None:
        soft = (projected(problem) if ours else compose(problem)).view(BATCH, SOFT, d_lm)
        logits = model(inputs_embeds=torch.cat([soft.to(embedded.dtype), embedded], dim=1), use_cache=False).logits
        loss = functional.cross_entropy(logits[:, SOFT - 1 : -1].flatten(0, 1).float(), ids.flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step
