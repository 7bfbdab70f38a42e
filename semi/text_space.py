"""Where captions are predicted: their meaning, and beside it their words as the language model has them.

A sentence embedding has to be spelled out by the projector word for word, and it spells badly what its training never
said. The language model's own input embeddings need no spelling: what they add up to for a caption lies near the soft
tokens that make the language model say it, for words of any field.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from semi.language_model import LanguageModel
from semi.modality import Encoder


class TextSpace:
    """Embeds captions and instructions; itself an encoder of texts.

    Args:
        encoder: of sentences.
        language_model: whose words stand beside the sentence; None: the sentence alone.
    """

    def __init__(self, encoder: Encoder, language_model: LanguageModel | None) -> None:
        self.encoder, self.language_model = encoder, language_model
        self.id, self.width = encoder.id, encoder.width
        if language_model is not None:
            self.id += f"+words/{language_model.precision}-{language_model.sha256[:16]}@1"
            self.width += language_model.d_lm

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings (n, width) float32 of texts: the sentence's, then its words', each of norm about one."""
        return self.with_words(self.encoder.encode(list(texts)), texts)

    def with_words(self, meaning: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """The same for texts whose sentences are embedded, (n, encoder.width)."""
        if self.language_model is None:
            return meaning
        return np.concatenate([meaning, self.language_model.words(texts).cpu().numpy()], axis=1).astype(np.float32)
