"""A language model, a text encoder and a foundation of a few thousand weights: real files, no network."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from semi.foundation import Foundation, FoundationConfig
from semi.hypernetwork import RidgeHyperNetwork
from semi.language_model import LanguageModel
from semi.projector import Projector

torch.set_num_threads(2)  # the tests' own choice; the library never makes it

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = "describe this what is it a red green blue small large cat dog house car tree on the table with two of many"

TEXT_ENCODER = """
    import hashlib

    import numpy as np

    from semi.modality import Modality
    from semi.plugins import hookimpl


    class WordHash:
        '''Mean of one fixed Gaussian vector a word, of unit length.'''

        id = "tiny-text/word-hash@1"
        width = 16

        def encode(self, samples):
            rows = np.stack([np.mean([self._word(w) for w in text.lower().split()], axis=0) for text in samples])
            return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

        def _word(self, word):
            seed = int.from_bytes(hashlib.sha256(word.strip(",.").encode()).digest()[:4], "little")
            return np.random.default_rng(seed).standard_normal(self.width)


    class TinyText(Modality):
        name = "tiny-text"
        instruction = "Repeat this."

        def encoder(self, name=None):
            return WordHash()


    @hookimpl
    def semi_modality(name):
        return TinyText() if name == "tiny-text" else None
"""


def write_language_model(folder: Path, *, tied: bool = True, chat: bool = True, width: int = 32) -> Path:
    """A random Llama of 2 layers and 300 tokens with a byte-level tokenizer, as a folder of safetensors."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        [WORDS] * 4,
        trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    wrapper: Any = PreTrainedTokenizerFast
    tokenizer = wrapper(tokenizer_object=core, eos_token="<|im_end|>", bos_token="<|im_start|>")
    if chat:
        tokenizer.chat_template = CHAT
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=width,
        intermediate_size=width + width // 2,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        initializer_range=0.3,  # large, so that a wrong position or mask shows in the loss
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def write_lm() -> Callable[..., Path]:
    return write_language_model


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("tiny-lm"))


@pytest.fixture(scope="session")
def language_model(tiny_lm: Path) -> LanguageModel:
    return LanguageModel.load(str(tiny_lm), precision="fp32", device="cpu")


@pytest.fixture(scope="session")
def tiny_text_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that, on sys.path, is an installed distribution with the modality `tiny-text`."""
    site = tmp_path_factory.mktemp("site")
    (site / "semi_plugin_tiny_text.py").write_text(dedent(TEXT_ENCODER))
    metadata = site / "semi_plugin_tiny_text-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: semi-plugin-tiny-text\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[semi.modalities]\ntiny-text = semi_plugin_tiny_text\n")
    return site


@pytest.fixture
def tiny_text(tiny_text_site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the installed tiny text modality."""
    monkeypatch.syspath_prepend(tiny_text_site)
    importlib.invalidate_caches()
    yield "tiny-text"
    sys.modules.pop("semi_plugin_tiny_text", None)


@pytest.fixture(scope="session")
def foundation_folder(tiny_lm: Path, tiny_text_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved foundation with random weights; every part of it is read through its ordinary loader."""
    language_model = LanguageModel.load(str(tiny_lm), precision="fp32", device="cpu")
    encoder = _module(tiny_text_site / "semi_plugin_tiny_text.py").WordHash()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        projector = Projector(16, 24, 32, soft_tokens=2)
        hypernetwork = RidgeHyperNetwork(projector, d_correction=8)
    config = FoundationConfig(language_model.source(), {"modality": "tiny-text", "id": encoder.id})
    folder = tmp_path_factory.mktemp("foundation") / "tiny"
    Foundation(config, language_model, encoder, projector, hypernetwork).save(folder)
    return folder


@pytest.fixture
def tiny_foundation(foundation_folder: Path, tiny_text: str) -> Foundation:
    return Foundation.load(foundation_folder, device="cpu")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def with_intercept() -> Callable[[Tensor, Tensor, float, Tensor], Tensor]:
    """Ridge regression with an unpenalised intercept by its normal equations in float64: (x, t, penalty, queries)."""

    def solve(x: Tensor, t: Tensor, penalty: float, query: Tensor) -> Tensor:
        X = torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
        ridge = penalty * torch.eye(X.shape[1], dtype=torch.float64)
        ridge[-1, -1] = 0
        weights = torch.linalg.solve(X.T @ X + ridge, X.T @ t.double())
        predicted: Tensor = torch.cat([query.double(), torch.ones(len(query), 1, dtype=torch.float64)], dim=1) @ weights
        return predicted

    return solve
