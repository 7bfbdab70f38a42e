"""Prompts with samples in them: the chat template cut at its placeholders, ready for soft tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from semi.errors import ArtifactError, InputError

PLACEHOLDER = "<|modality|>"
_ANSWER = "\ue000"
"""Stands for an answer while the chat template is filled in; a private character, so nobody's words."""


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation about samples.

    Attributes:
        soft: the sample's soft tokens (t, d_lm), or of several samples in a tuple; None: the turn shows no sample.
        instruction: what the user says with it.
        answer: what the assistant says: the sample's caption.
    """

    soft: Tensor | tuple[Tensor, ...] | None
    instruction: str
    answer: str

    @property
    def samples(self) -> tuple[Tensor, ...]:
        """The soft tokens of each of its samples."""
        if self.soft is None:
            return ()
        return self.soft if isinstance(self.soft, tuple) else (self.soft,)

    @property
    def content(self) -> str:
        """The user's words, with a placeholder where each sample goes."""
        return with_placeholders(self.instruction, len(self.samples)) if self.samples else self.instruction


@dataclass(frozen=True)
class Prompt:
    """Token ids between the placeholders: segment, sample, segment, sample, ..., segment."""

    segments: tuple[tuple[int, ...], ...]

    @property
    def samples(self) -> int:
        """How many samples the prompt takes."""
        return len(self.segments) - 1


def render(tokenizer: Any, messages: Sequence[dict[str, str]]) -> Prompt:
    """Messages through the chat template, up to where the assistant answers, cut at every placeholder.

    Raises:
        ArtifactError: the tokenizer has no chat template, or a broken one.
    """
    return _cut(tokenizer, _filled(tokenizer, messages))


def render_turns(tokenizer: Any, contents: Sequence[str]) -> list[Prompt]:
    """A prompt for each turn of a conversation: all that stands between the answer before it and its own.

    Args:
        contents: what the user says, turn by turn.

    Raises:
        ArtifactError: as `render`.
    """
    messages = [{"role": "user", "content": contents[0]}]
    for content in contents[1:]:
        messages += [{"role": "assistant", "content": _ANSWER}, {"role": "user", "content": content}]
    return [_cut(tokenizer, part) for part in _filled(tokenizer, messages).split(_ANSWER)]


def _filled(tokenizer: Any, messages: Sequence[dict[str, str]]) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise ArtifactError(
            f"the language model {tokenizer.name_or_path} has no chat template",
            got="a tokenizer without `chat_template`",
            expected="an instruction-tuned model",
            do="use the -Instruct or -chat version of the model",
        )
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise ArtifactError(
            f"the chat template of the language model {tokenizer.name_or_path} does not work",
            got=error.message,
            do="fetch or copy the model again",
        ) from error
    return text


def _cut(tokenizer: Any, text: str) -> Prompt:
    parts = text.split(PLACEHOLDER)
    return Prompt(tuple(tuple(tokenizer.encode(part, add_special_tokens=False)) for part in parts))


def with_placeholders(instruction: str, samples: int) -> str:
    """The instruction with one placeholder a sample: as the user put them, else all in front.

    Raises:
        InputError: the instruction has placeholders, but not one for each sample.
    """
    found = instruction.count(PLACEHOLDER)
    if found == 0:
        return PLACEHOLDER * samples + "\n" + instruction
    if found != samples:
        raise InputError(
            f"the instruction has {found} {PLACEHOLDER} placeholders for {samples} samples",
            got=found,
            expected=samples,
            do="give one placeholder for each sample, or none",
        )
    return instruction
