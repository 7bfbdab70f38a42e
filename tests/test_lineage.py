"""Input embeddings are found in the files of any model, and tell fine-tunes from strangers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from semi.errors import ArtifactError
from semi.language_model import LanguageModel
from semi.lineage import FARTHEST, read_input_embeddings, require_near

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "LlamaConfig": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
    "GPT2Config": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16},
    "BloomConfig": {"hidden_size": 16, "n_layer": 1, "n_head": 2},
}


@pytest.mark.parametrize("stripped", [False, True], ids=["whole names", "names of the decoder"])
@pytest.mark.parametrize("config", ARCHITECTURES)
def test_they_are_read_from_the_files(tmp_path: Path, config: str, stripped: bool) -> None:
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_config(getattr(transformers, config)(vocab_size=30, **ARCHITECTURES[config]))
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    if stripped:  # as the hub has them of GPT-2 and Bloom
        start = f"{model.base_model_prefix}."
        save_file({key.removeprefix(start): tensor for key, tensor in load_file(file).items()}, file)
    assert torch.equal(read_input_embeddings(str(tmp_path)), model.get_input_embeddings().weight)


def test_a_language_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no folder"):
        read_input_embeddings(str(tmp_path / "gone"))
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        read_input_embeddings(str(tmp_path))


@pytest.mark.parametrize(
    ("share", "near"), [(0.0, True), (0.9 * FARTHEST, True), (1.1 * FARTHEST, False), (3.0, False)]
)
def test_how_far_is_too_far(
    language_model: LanguageModel, tiny_lm: Path, share: float, near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = language_model.input_embeddings()
    away = torch.randn(own.shape, generator=torch.Generator().manual_seed(0))
    moved = torch.cat([own + away * (share * own.norm() / away.norm()), torch.ones(3, own.shape[1])])  # and more tokens
    monkeypatch.setattr(language_model, "input_embeddings", lambda: moved)
    if near:
        require_near(tiny_lm, language_model, str(tiny_lm))
        return
    with pytest.raises(ArtifactError, match="its input embeddings are other ones"):
        require_near(tiny_lm, language_model, str(tiny_lm))
