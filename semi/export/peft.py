"""A projector adapter as a LoRA folder of PEFT: its low-rank updates and biases, for the shared projector's layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semi.adapters import ProjectorAdapter
from semi.artifacts import open_output, save_tensors, sha256_of, write_json
from semi.artifacts.manifest import MANIFEST
from semi.errors import InputError
from semi.integration import Parts, read_parts

KIND = "peft"
FILES = ("adapter_config.json", "adapter_model.safetensors")
_MERGED = "use the projector of integration.safetensors: it is whole, with everything in it"


def export_peft(
    folder: str | Path, out: str | Path, *, width: int | None = None, force: bool = False
) -> dict[str, Any]:
    """Write what the hypernetwork wrote for an integration as a LoRA folder of PEFT. No language model is loaded.

    Args:
        folder: the integration.
        out: the folder to write.
        width: columns of the first layer that it is for, where these are more than embeddings have; the rest meets
            padding zeros. None: as many.
        force: replace what semi made in `out`.

    Returns:
        The manifest's `info`; its `layers` are those that the LoRA is for.

    Raises:
        ArtifactError: the integration is incomplete or damaged.
        InputError: it is no adapter of the shared projector's layers: it was trained further, a base path is off.
        OutputError: `out` is taken or cannot be written to.
    """
    config, tensors = lora(_adapter_of(read_parts(folder)), width)
    known = {"integration": sha256_of(Path(folder) / MANIFEST), "width": width}
    with open_output(out, kind=KIND, config=known, force=force) as output:
        write_json(output.path / FILES[0], config)
        save_tensors(output.path / FILES[1], tensors)
        info = known | {"layers": config["target_modules"]}
        output.finish(FILES, info)
    return info


def lora(adapter: ProjectorAdapter, width: int | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """adapter_config.json and tensors of a LoRA for modules `layers.0`, `layers.1`, ... that computes the adapter.

    PEFT adds scale * (B A x + bias) to a layer's output (https://arxiv.org/abs/2106.09685, `lora_bias`); with
    lora_alpha = r the scale is 1, which ours is folded into already. A layer without any update is left out.

    Raises:
        InputError: the adapter is stacked, a base path is off, or it is wider than `width`.
    """
    if adapter.stacked:
        raise InputError("a stacked adapter is no LoRA of one model", do="export its adapters one by one")
    if off := [i for i, base in enumerate(adapter.base) if not base]:
        raise InputError(
            "the adapter stands in place of a layer, which a LoRA cannot: it only adds to one",
            got=f"base path off in layer {', '.join(map(str, off))}, as the ridge hypernetwork writes it",
            expected="adapters of the attention hypernetwork, which the shipped foundation does not have",
            do=_MERGED,
        )
    ranks: dict[str, int] = {}
    tensors: dict[str, Tensor] = {}
    for i, (A, B, bias) in enumerate(zip(adapter.A, adapter.B, adapter.bias, strict=True)):
        if A.shape[1] == 0 and not bias.any():
            continue
        if A.shape[1] == 0:  # nothing but a bias: PEFT has no rank 0
            A, B = A.new_zeros(len(A), 1), B.new_zeros(1, B.shape[1])
        if i == 0:
            A = _padded(A, width)
        ranks[f"layers.{i}"] = A.shape[1]
        root = f"base_model.model.layers.{i}.lora_"
        tensors |= {f"{root}A.weight": A.T, f"{root}B.weight": B.T, f"{root}B.bias": bias}
    if not tensors:
        raise InputError("the adapter changes nothing", do=_MERGED)
    rank = max(ranks.values())
    others = {name: each for name, each in ranks.items() if each != rank}
    config = {
        "peft_type": "LORA",
        "target_modules": list(ranks),
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": others,
        "alpha_pattern": others,
        "lora_bias": True,
        "bias": "none",
        "inference_mode": True,
        "base_model_name_or_path": None,
        "task_type": None,
    }
    return config, {name: tensor.detach().float() for name, tensor in tensors.items()}


def _adapter_of(parts: Parts) -> ProjectorAdapter:
    settings = parts.record.settings
    if parts.adapter is None:
        raise InputError(
            "the integration has no adapter: its projector was trained as a whole",
            got=f"method {settings['method']!r}",
            expected="method 'semi', with the attention hypernetwork",
            do=_MERGED,
        )
    if settings["steps"]:
        raise InputError(
            "the integration is no longer its adapter: training went on and changed the whole projector",
            got=f"{settings['steps']} steps",
            expected="0 steps",
            do=f"adapt with --steps 0, or {_MERGED}",
        )
    return parts.adapter


def _padded(A: Tensor, width: int | None) -> Tensor:
    """A (in, r) with rows of zeros up to `width`."""
    if width is not None and width < len(A):
        raise InputError("the adapter is wider than the layer", got=f"{len(A)} numbers", expected=f"at most {width}")
    return A if width is None else torch.cat([A, A.new_zeros(width - len(A), A.shape[1])])
