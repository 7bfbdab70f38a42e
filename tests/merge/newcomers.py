"""A model to add to the merge of `tests.merge.llamas`: multimodal, with a token more than the base's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from semi.merge.adding import AddConfig
from tests.merge.conftest import write_checkpoint
from tests.merge.llamas import EMBEDDINGS, Merged, _like, tuned

NEW = "imu"
ENCODER = {"encoder.weight": torch.arange(6.0).view(2, 3)}


def newcomer(merged: Merged, folder: Path, **settings: Any) -> tuple[AddConfig, dict[str, Tensor]]:
    """Its configuration, and its tensors by the base's keys."""
    stored = load_file(merged.base / "model.safetensors")
    dtype = next(iter(stored.values())).dtype
    tensors = tuned({key: tensor.float() for key, tensor in stored.items()}, 9)
    further = torch.randn(1, tensors[EMBEDDINGS].shape[1], generator=torch.Generator().manual_seed(4))
    for name in [key for key in (EMBEDDINGS, "lm_head.weight") if key in tensors]:
        tensors[name] = torch.cat([tensors[name], further])
    prefixed = {f"llm.{key}": tensor.to(dtype) for key, tensor in tensors.items()}
    _like(merged.base, write_checkpoint(folder, prefixed | ENCODER), vocab_size=301)
    said = {"name": NEW, "path": str(folder), "llm_prefix": "llm.", "keep": ["encoder"]}
    return AddConfig.model_validate(said | settings), {key: t.to(dtype).float() for key, t in tensors.items()}
