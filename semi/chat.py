"""A conversation about samples: several turns, several samples, one language model."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from semi.integration import Integration
from semi.prompts import PLACEHOLDER, render, with_placeholders


class Conversation:
    """Turns of a user and the language model; samples added before a turn stand in front of its text."""

    def __init__(self, integration: Integration, *, max_new_tokens: int = 96) -> None:
        self.integration, self.max_new_tokens = integration, max_new_tokens
        self._messages: list[dict[str, str]] = []
        self._soft: list[Tensor] = []
        self._waiting, self._spoken = 0, False
        self._embedding: Tensor | None = None

    def add(self, sample: Any) -> None:
        """Put a sample into the next turn.

        Raises:
            PairsError: it is not a sample of the integration's modality.
        """
        embedding = self.integration.embed([self.integration.modality.parse(sample)])
        if not self._messages and not self._soft:  # the pairs that `describe` would show beside the sample come first
            for turn in (self.integration.shown(embedding) or [[]])[0]:
                self._messages.append({"role": "user", "content": turn.content})
                self._messages.append({"role": "assistant", "content": turn.answer})
                self._soft += turn.samples
        self._soft.append(self.integration.soft(embedding)[0])
        self._embedding = embedding[0]
        self._waiting += 1

    def say(self, text: str) -> str:
        """The model's answer to a turn.

        Raises:
            InputError: the text has placeholders, but not one for each sample that was added; nothing was said then.
        """
        content = with_placeholders(text, self._waiting) if self._waiting or PLACEHOLDER in text else text
        alone = self._waiting == 1 and not self._spoken  # as `describe` would ask
        recall = self.integration.recalled(self._embedding, text) if alone and self._embedding is not None else None
        self._messages.append({"role": "user", "content": content})
        self._waiting, self._spoken = 0, True
        model = self.integration.language_model
        prompt = render(model.tokenizer, self._messages)
        (answer,) = model.generate([self._soft], [prompt], [recall], max_new_tokens=self.max_new_tokens)
        self._messages.append({"role": "assistant", "content": answer})
        return answer
