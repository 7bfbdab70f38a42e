"""all-MiniLM-L6-v2, read from its safetensors file: mean pooling, then unit length, as its model card says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from semi_plugin_text.pooling import encode_by_length

MAX_TOKENS = 256  # sentence_bert_config.json of the model; longer texts are cut


class MiniLM:
    """Sentence embeddings of width 384 and length 1 (cosine similarity is the inner product)."""

    id = "text/minilm-l6-v2@1"
    width = 384

    def __init__(self, folder: Path) -> None:
        # Built directly rather than by from_pretrained: no hub look-up, no progress bar, no report of unused weights.
        config = BertConfig.from_json_file(str(folder / "config.json"))
        config._attn_implementation = "eager"  # faster than sdpa for phrases of ten tokens on a CPU
        self._model = BertModel(config, add_pooling_layer=False)
        state = load_file(folder / "model.safetensors")
        unused = ("pooler.", "embeddings.position_ids")
        self._model.load_state_dict({key: value for key, value in state.items() if not key.startswith(unused)})
        self._model.train(False)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, 384), float32, of n strings; an empty list gives (0, 384)."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(samples))]
        return encode_by_length(tokens, self.width, self._forward)

    @torch.inference_mode()
    def _forward(self, ids: torch.Tensor) -> np.ndarray:
        hidden = self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state  # (b, t, 384)
        pooled: torch.Tensor = torch.nn.functional.normalize(hidden.mean(1), dim=-1)  # (b, 384)
        return pooled.numpy()
