"""Who writes text: the language model in this process, or one that another server holds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from semi.language_model import LanguageModel
from semi.prompts import Prompt
from semi.recall import Recollection

Finish = Literal["stop", "length"]


@dataclass(frozen=True, eq=False)
class Question:
    """A prompt, and how its answer is to be written."""

    language_model: LanguageModel
    prompt: Prompt
    soft: Sequence[Tensor]
    """Soft tokens (t_i, d_lm) of its samples."""
    max_tokens: int
    temperature: float = 0.0
    """0: the likeliest text."""
    top_p: float = 1.0
    seed: int | None = None
    stops: tuple[str, ...] = ()
    recall: Recollection | None = None
    """What has a say in the answer; a backend that cannot ask it leaves it out."""

    @property
    def tokens(self) -> int:
        """Length of the prompt, soft tokens included."""
        return sum(map(len, self.prompt.segments)) + sum(map(len, self.soft))

    def inputs(self) -> Tensor:
        """Input embeddings (length, d_lm). In the one thread that uses the language model."""
        return self.language_model.splice(self.prompt, self.soft)


@dataclass(frozen=True)
class Piece:
    """What a text grew by."""

    text: str
    tokens: int
    """Written so far, the end of turn not counted."""
    finish: Finish | None = None
    """Why it ends here."""


class Backend(Protocol):
    """Writes texts, several at a time."""

    def write(self, question: Question) -> AsyncGenerator[Piece, None]:
        """The answer piece by piece; the last says why it ends. Whoever closes the generator cancels the rest.

        Raises:
            Refusal: the text could not be written.
        """
        ...

    async def close(self) -> None:
        """End what is being written."""
        ...
