"""A tiny base with three fine-tunes and a LoRA adapter, as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

SHAPES = {
    "model.embed_tokens.weight": (11, 8),
    "model.layers.0.self_attn.q_proj.weight": (8, 8),
    "model.layers.0.self_attn.q_proj.bias": (8,),
    "model.layers.0.mlp.up_proj.weight": (12, 8),
    "model.layers.0.mlp.down_proj.weight": (8, 12),
    "model.norm.weight": (8,),
    "lm_head.weight": (11, 8),
}
Q, UP, DOWN = (key for key in SHAPES if key.endswith("_proj.weight"))


def write_checkpoint(
    folder: Path,
    tensors: Mapping[str, Tensor],
    shards: int = 1,
    dtype: torch.dtype | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """A folder as transformers writes it: tensors dealt out to shards in turn, in `dtype` (None: their own)."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Tensor]] = [{} for _ in range(shards)]
    for number, (key, tensor) in enumerate(tensors.items()):
        parts[number % shards][key] = tensor.to(dtype or tensor.dtype).contiguous()
    names = [f"model-{number + 1:05d}-of-{shards:05d}.safetensors" for number in range(shards)]
    if shards == 1:
        names = ["model.safetensors"]
    else:
        index = {key: name for name, part in zip(names, parts, strict=True) for key in part}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    for name, part in zip(names, parts, strict=True):
        save_file(part, folder / name)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_adapter(folder: Path, tensors: Mapping[str, Tensor], **settings: Any) -> Path:
    """An adapter's folder as PEFT writes it; names and settings as they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    defaults = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "use_dora": False}
    (folder / "adapter_config.json").write_text(json.dumps(defaults | settings))
    tensors = {f"base_model.model.{name}": tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def random_base(seed: int = 0) -> dict[str, Tensor]:
    """Tensors of the tiny base."""
    draw = torch.Generator().manual_seed(seed)
    return {key: torch.randn(shape, generator=draw) for key, shape in SHAPES.items()}


def tuned(base: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The base with small seeded changes everywhere."""
    draw = torch.Generator().manual_seed(seed)
    return {key: tensor + 0.1 * torch.randn(tensor.shape, generator=draw) for key, tensor in base.items()}


def flip(path: Path) -> None:
    """Change the last bit of a file."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.fixture
def base() -> dict[str, Tensor]:
    return random_base()


@pytest.fixture
def base_folder(tmp_path: Path, base: dict[str, Tensor]) -> Path:
    return write_checkpoint(tmp_path / "base", base)


@pytest.fixture
def tunes(base: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Three fine-tunes, by name."""
    return {name: tuned(base, seed) for seed, name in enumerate(("text", "vision", "audio"), start=1)}


@pytest.fixture
def factors() -> dict[str, Tensor]:
    """Of two layers, rank 2, by their names in an adapter."""
    draw = torch.Generator().manual_seed(7)
    return {
        f"{key.removesuffix('.weight')}.lora_{part}.weight": torch.randn(shape, generator=draw)
        for key in (Q, UP)
        for part, shape in (("A", (2, SHAPES[key][1])), ("B", (SHAPES[key][0], 2)))
    }


@pytest.fixture
def lora_folder(tmp_path: Path, factors: dict[str, Tensor]) -> Path:
    """An adapter of two layers with s = 2."""
    return write_adapter(tmp_path / "lora", factors)
