"""The encoder "chemberta": a small RoBERTa with random weights, saved as the published one is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from semi_plugin_molecules.modality import Molecules
from transformers import AutoModel, AutoTokenizer, RobertaConfig, RobertaForMaskedLM

from semi.errors import InputError, PairsError

pytest.importorskip("semi_plugin_text", reason="needs pip install 'semi-plugin-molecules[hub]'")
SMILES = ("CC(=O)Oc1ccccc1C(=O)O", "CCO", "c1ccccc1", "C" * 50)


@pytest.fixture(scope="module")
def chemberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """config.json, vocab.json, merges.txt and pytorch_model.bin of a RobertaForMaskedLM."""
    folder = tmp_path_factory.mktemp("chemberta")
    letters = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"CcOoNn()=#123456789[]+-.@H/\\lB", "CC", "cc"]
    (folder / "vocab.json").write_text(json.dumps({token: place for place, token in enumerate(letters)}))
    (folder / "merges.txt").write_text("#version: 0.2\nC C\nc c\n")
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=40, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    config.architectures = ["RobertaForMaskedLM"]
    config.save_pretrained(folder)
    torch.save(RobertaForMaskedLM(config).state_dict(), folder / "pytorch_model.bin")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_embeddings_are_those_of_transformers(chemberta: Path) -> None:
    encoder = Molecules().encoder(f"chemberta:{chemberta}")
    found = encoder.encode(SMILES)
    assert (found.shape, found.dtype, encoder.width) == ((4, 16), np.float32, 16)
    tokenizer, model = AutoTokenizer.from_pretrained(chemberta), AutoModel.from_pretrained(chemberta).eval()
    for row, smiles in zip(found, SMILES, strict=True):
        ids = tokenizer(smiles, truncation=True, max_length=38, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            mean = model(input_ids=ids).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=1e-6)


def test_an_embedding_belongs_to_the_molecule(chemberta: Path) -> None:
    encoder = Molecules().encoder(f"chemberta:{chemberta}")
    one, other, salt = encoder.encode(
        ["CC(=O)Oc1ccccc1C(=O)O", "O=C(O)c1ccccc1OC(C)=O", "CC(=O)Oc1ccccc1C(=O)[O-].[Na+]"]
    )
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one, salt)
    whole = Molecules().encoder(f"chemberta-whole:{chemberta}")
    assert whole.id != encoder.id
    assert not np.array_equal(*whole.encode(["CC(=O)O", "CC(=O)[O-].[Na+]"]))
    with pytest.raises(PairsError, match="invalid SMILES"):
        encoder.encode(["C1CC"])


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "semi_plugin_text.sentence", None)
    with pytest.raises(InputError) as error:
        Molecules().encoder("chemberta")
    assert "pip install 'semi-plugin-molecules[hub]'" in str(error.value)


def test_what_cannot_be_loaded_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        Molecules().encoder(f"chemberta:{tmp_path}")
    assert '--encoder "chemberta:FOLDER"' in str(error.value)
