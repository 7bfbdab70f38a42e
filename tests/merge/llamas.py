"""Tiny Llamas to merge, as transformers folders: a base, a fine-tune, a multimodal one with more tokens, an adapter."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from semi.merge.artifact import Artifact
from semi.merge.config import MergeConfig
from semi.merge.run import run_merge
from tests.merge.conftest import write_adapter, write_checkpoint

EMBEDDINGS, Q = "model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"
NORM = "model.norm.weight"
TOWER = {"vision_tower.patch.weight": torch.arange(24.0).view(2, 3, 2, 2), "vision_tower.ids": torch.arange(3)}
EXTRA = 2
"""Tokens of the vision model beyond the base's 300."""


@dataclass(frozen=True)
class Merged:
    """A merge of text (a full model), vision (multimodal, with a prefix and more tokens) and lora, and its inputs.

    Attributes:
        folder: of the artifact.
        base: the base's folder.
        tensors: of each model by the base's keys, in float32, further rows included.
    """

    folder: Path
    base: Path
    tensors: Mapping[str, Mapping[str, Tensor]]

    def open(self) -> Artifact:
        return Artifact.open(self.folder)


def tuned(tensors: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Small changes everywhere, but for some entries, in which fine-tunes agree with their base exactly."""
    draw = torch.Generator().manual_seed(seed)
    return {
        key: tensor
        + 0.05 * torch.randn(tensor.shape, generator=draw) * (torch.rand(tensor.shape, generator=draw) > 0.1)
        for key, tensor in tensors.items()
    }


def merge_llamas(
    folder: Path,
    write_lm: Callable[..., Path],
    *,
    method: str = "mmer",
    tied: bool = True,
    dtype: torch.dtype = torch.float32,
    **settings: Any,
) -> Merged:
    """Write the models below a folder, and merge them."""
    base, draw = write_lm(folder / "base", tied=tied), torch.Generator().manual_seed(3)
    tensors = {key: tensor.to(dtype).float() for key, tensor in load_file(base / "model.safetensors").items()}
    tensors[Q][0, :4] = -0.0
    write_checkpoint(base, tensors, dtype=dtype)
    models = {"text": tuned(tensors, 1), "vision": tuned(tensors, 2), "lora": dict(tensors)}
    models["vision"][Q][0, :4] = -0.0
    for name in [key for key in (EMBEDDINGS, "lm_head.weight") if key in tensors]:
        further = torch.randn(EXTRA, tensors[name].shape[1], generator=draw)
        models["vision"][name] = torch.cat([models["vision"][name], further])
    models = {name: {key: tensor.to(dtype).float() for key, tensor in own.items()} for name, own in models.items()}
    rows, columns = tensors[Q].shape
    a, b = 0.3 * torch.randn(2, columns, generator=draw), 0.3 * torch.randn(rows, 2, generator=draw)
    models["lora"][Q] = tensors[Q] + 2 * (b @ a)

    _like(base, write_checkpoint(folder / "text", models["text"], dtype=dtype))
    prefixed = {f"language_model.{key}": tensor.to(dtype) for key, tensor in models["vision"].items()}
    _like(base, write_checkpoint(folder / "vision", prefixed | TOWER, shards=2), vocab_size=300 + EXTRA)
    module = Q.removesuffix(".weight")
    write_adapter(folder / "lora", {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b})
    config = {
        "base_model": str(base),
        "models": [
            {"name": "text", "path": str(folder / "text")},
            {
                "name": "vision",
                "path": str(folder / "vision"),
                "llm_prefix": "language_model.",
                "keep": ["vision_tower"],
            },
            {"name": "lora", "path": str(folder / "lora"), "adapter": "lora"},
        ],
        "merge": {"method": method} | ({"trim": 0.5} if method in ("mmer", "ties", "dare") else {}),
    }
    run_merge(MergeConfig.model_validate(config | settings), folder / "merged.mmer")
    return Merged(folder / "merged.mmer", base, models)


def _like(base: Path, folder: Path, **changes: Any) -> None:
    for file in base.iterdir():
        if file.suffix in (".json", ".jinja") and file.name != "config.json":
            shutil.copy(file, folder)
    config = json.loads((base / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
