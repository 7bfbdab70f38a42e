"""Prefill and decoding of a whole language model: tokens a second and memory, with its linears in several forms."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from gpu_stages.context import Context
from semi_kernels import NF4Weight, Q4Weight, nf4_linear, q4_linear

PROMPT, STEPS = 512, 32


class FourBitLinear(nn.Module):
    """A linear layer over a 4-bit weight: our operation, or decoding to 16 bits on every call."""

    def __init__(self, linear: nn.Linear, kind: str, *, ours: bool) -> None:
        super().__init__()
        dense = linear.weight.detach()
        self.weight = NF4Weight.from_float(dense) if kind == "nf4" else Q4Weight.from_float(dense)
        self.bias = linear.bias
        self.ours = ours

    def forward(self, x: Tensor) -> Tensor:
        if not self.ours:
            return nn.functional.linear(x, self.weight.dequantize(x.dtype), self.bias)
        if isinstance(self.weight, NF4Weight):
            return nf4_linear(x, self.weight, bias=self.bias)
        return q4_linear(x, self.weight, bias=self.bias)


def run(context: Context, state: dict[str, Any]) -> None:
    """state["forms"]: by form of the linears, what was measured."""
    forms: dict[str, Any] = state.setdefault("forms", {})
    state["model"] = describe(context)
    for name, convert in variants(context):
        if "error" not in forms.get(name, {"error": "not measured yet"}):
            continue
        context.check("language_model", state)
        forms[name] = _form(context, convert)
        state["wrong"] = sum("error" in found for found in forms.values())
        state["summary"] = [state["model"], *(f"{form}: {_told(found)}" for form, found in forms.items())]


def _form(context: Context, convert: Callable[[nn.Module], object]) -> dict[str, Any]:
    """One form measured, or why it could not be: the others are still worth having."""
    try:
        gc.collect()
        before = torch.cuda.memory_allocated(context.device) if context.cuda else 0
        model = build(context)
        convert(model)
        gc.collect()
        if context.cuda:
            torch.cuda.empty_cache()
        return _measure(context, model, before)
    except Exception as problem:
        return {"error": f"{type(problem).__name__}: {' '.join(str(problem).split())}"[:300]}


def variants(context: Context) -> Iterator[tuple[str, Callable[[nn.Module], object]]]:
    """Names of the forms, and what turns the 16-bit model into each."""
    yield "16-bit, plain", lambda model: None
    for kind in ("nf4", "q4_1"):
        yield f"{kind}, ours", lambda model, kind=kind: replace_linears(model, kind, ours=True)  # type: ignore[misc]
    if find_spec("bitsandbytes"):
        yield "nf4, bitsandbytes", _bitsandbytes
    yield "nf4, decoded by plain PyTorch", lambda model: replace_linears(model, "nf4", ours=False)


def replace_linears(model: nn.Module, kind: str, *, ours: bool) -> None:
    """All but the output layer, as bitsandbytes does."""
    for parent, name, linear in _linears(model):
        setattr(parent, name, FourBitLinear(linear, kind, ours=ours))


def _bitsandbytes(model: nn.Module) -> None:
    bnb: Any = import_module("bitsandbytes.nn")
    for parent, name, linear in _linears(model):
        bias, device = linear.bias is not None, linear.weight.device
        layer = bnb.Linear4bit(linear.in_features, linear.out_features, bias, linear.weight.dtype, quant_type="nf4")
        layer.load_state_dict(linear.state_dict(), strict=False)
        setattr(parent, name, layer.to(device))


def _linears(model: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    return [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear) and name != "lm_head" and child.in_features % 32 == 0
    ]


def build(context: Context) -> Any:
    """The model in 16 bits on the device (fp32 on a CPU), frozen."""
    from transformers import AutoModelForCausalLM, LlamaForCausalLM

    dtype = torch.bfloat16 if context.cuda else torch.float32
    if context.model:
        model: Any = AutoModelForCausalLM.from_pretrained(context.model, dtype=dtype).to(context.device)
    else:
        torch.manual_seed(0)
        with context.device:
            model = LlamaForCausalLM(_config(context)).to(dtype)
    return model.eval().requires_grad_(False)


def describe(context: Context) -> str:
    """What is measured."""
    if context.model:
        return f"language model: {context.model}"
    config = _config(context)
    shape = f"{config.num_hidden_layers} layers of {config.hidden_size} and {config.intermediate_size}"
    return f"language model: RANDOM weights in a Llama of {shape}; its speed is real, its text would not be"


def _config(context: Context) -> Any:
    from transformers import LlamaConfig

    if context.tiny:
        sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
        return LlamaConfig(vocab_size=128, num_key_value_heads=2, **sizes)
    sizes = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32}
    return LlamaConfig(vocab_size=32000, num_key_value_heads=8, **sizes)


@torch.no_grad()
def _measure(context: Context, model: Any, before: int) -> dict[str, Any]:
    prompt, steps = (16, 3) if context.tiny else (PROMPT, STEPS)
    found: dict[str, Any] = {}
    if context.cuda:
        found["weights_mb"] = (torch.cuda.memory_allocated(context.device) - before) / 1e6
        torch.cuda.reset_peak_memory_stats(context.device)
    for batch in (1, 8):
        ids = torch.randint(100, (batch, prompt), device=context.device)
        rounds = 1 if context.tiny else 5
        seconds = context.seconds(lambda ids=ids: model(input_ids=ids, use_cache=False, logits_to_keep=1), rounds)
        found[f"prefill, batch {batch}, tokens/s"] = batch * prompt / seconds
        found[f"decoding, batch {batch}, tokens/s"] = batch * steps / _decode(context, model, ids[:, :64], steps)
    if context.cuda:
        found["peak_mb"] = (torch.cuda.max_memory_allocated(context.device) - before) / 1e6
        try:
            found["decoding in a CUDA graph, batch 1, tokens/s"] = 1 / _decode_in_graph(model, context.device)
        except Exception as problem:
            torch.cuda.synchronize()
            found["no CUDA graph"] = f"{type(problem).__name__}: {str(problem).splitlines()[0]}"[:300]
    return found


def _decode(context: Context, model: Any, ids: Tensor, steps: int) -> float:
    """Seconds of greedy steps after a prompt."""
    from transformers import DynamicCache

    def generate() -> float:
        cache = DynamicCache()
        logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        token = logits[:, -1:].argmax(-1)
        return context.seconds_once(lambda: _steps(model, cache, token, steps))

    generate()
    return generate()


def _steps(model: Any, cache: Any, token: Tensor, steps: int) -> None:
    for _ in range(steps):
        logits = model(input_ids=token, past_key_values=cache, use_cache=True).logits
        token = logits[:, -1:].argmax(-1)


def _decode_in_graph(model: Any, device: torch.device) -> float:
    """Seconds of one step at one place of a cache of fixed size, replayed: what is left when Python costs nothing."""
    from transformers import StaticCache

    cache = StaticCache(config=model.config, max_cache_len=128)
    ids = torch.randint(100, (1, 64), device=device)
    model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    token, place = ids[:, -1:].clone(), torch.tensor([64], device=device)

    def step() -> Tensor:
        arguments = {"past_key_values": cache, "use_cache": True, "position_ids": place[None], "cache_position": place}
        logits: Tensor = model(input_ids=token, **arguments).logits
        return logits

    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
        stream.synchronize()
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded, stream=stream):
            step()
        times = []
        for _ in range(30):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            recorded.replay()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1e3)
    return float(sorted(times)[len(times) // 2])


def _told(found: dict[str, Any]) -> str:
    numbers = {name: f"{value:,.0f}" if isinstance(value, float) else value for name, value in found.items()}
    return ", ".join(f"{name}: {value}" for name, value in numbers.items())
