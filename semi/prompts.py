"""Prompts with samples in them: the chat template cut at its placeholders, ready for soft tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from semi.errors import ArtifactError, InputError

PLACEHOLDER = "<|modality|>"


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
    if not getattr(tokenizer, "chat_template", None):
        raise ArtifactError(
            f"the language model {tokenizer.name_or_path} has no chat template",
            got="a tokenizer without `chat_template`",
            expected="an instruction-tuned model",
            do="use the -Instruct or -chat version of the model",
        )
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise ArtifactError(
            f"the chat template of the language model {tokenizer.name_or_path} does not work",
            got=error.message,
            do="fetch or copy the model again",
        ) from error
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
