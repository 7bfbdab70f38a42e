"""Small models with random weights, of the kinds that the hub has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

TEXTS = ["a small dog and three ships", "an ester of acetic acid", "slowly sailing"]


def save_tokenizer(folder: Path) -> int:
    """A WordPiece tokenizer of a few hundred pieces; returns how many."""
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    core.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    )
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    wrapper: Any = PreTrainedTokenizerFast
    wrapper(tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", model_max_length=30).save_pretrained(folder)
    return int(core.get_vocab_size())


def bert_config(vocabulary: int) -> BertConfig:
    return BertConfig(
        vocab_size=vocabulary, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40,
    )  # fmt: skip


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    BertModel(bert_config(save_tokenizer(folder))).save_pretrained(folder)
    return folder
