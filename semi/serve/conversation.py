"""Messages with samples in them to what the language model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from semi.errors import SemiError
from semi.integration import Integration
from semi.prompts import PLACEHOLDER, Prompt, render
from semi.recall import Recollection
from semi.serve.limits import Limits
from semi.serve.reader import Read
from semi.serve.refusal import Refusal, wrong_input
from semi.serve.schema import Message, ModalityPart, TextPart


def samples_of(messages: Sequence[Message], modalities: Sequence[str], limits: Limits) -> dict[str, ModalityPart]:
    """The parts of a conversation that hold samples, in their order, by their places in the request.

    Raises:
        Refusal: the conversation is none that can be answered, or is too long.
    """
    found: dict[str, ModalityPart] = {}
    characters = 0
    for i, message in enumerate(messages):
        for j, part in enumerate(message.parts):
            where = f"messages.{i}.content" + ("" if isinstance(message.content, str) else f".{j}")
            if isinstance(part, TextPart):
                characters += len(part.text)
                if PLACEHOLDER in part.text:
                    told = f"{PLACEHOLDER} stands for samples; put a part with the sample there"
                    raise Refusal(400, "invalid_value", told, where)
            elif message.role != "user":
                raise Refusal(400, "invalid_value", "samples come in messages of the user", where)
            elif part.modality not in modalities:
                told = f"no modality {part.modality!r} here; there are {', '.join(modalities)}"
                raise Refusal(400, "unknown_modality", told, f"{where}.modality")
            else:
                found[where] = part
    if messages[-1].role != "user":
        raise Refusal(400, "invalid_value", "the last message is none of the user", "messages")
    if characters > limits.characters:
        told = f"{characters} characters of text; {limits.characters} are allowed"
        raise Refusal(400, "text_too_long", told, "messages")
    return found


def prompt_of(
    tokenizer: Any, messages: Sequence[Message], read: Sequence[Read], instructions: Mapping[str, str]
) -> tuple[Prompt, list[Tensor]]:
    """The prompt of a conversation, and the soft tokens that go into it.

    In front, after what the system says, stand the pairs that the integrations show beside the first sample of each
    modality, as `semi describe` shows them.

    Args:
        read: the samples of the messages.
        instructions: of the modalities, for a message that holds samples alone.

    Raises:
        Refusal: the chat template does not take such a conversation.
    """
    own = [{"role": message.role, "content": _content(message, instructions)} for message in messages]
    first = {each.modality: each for each in reversed(read)}
    turns = [turn for modality in dict.fromkeys(each.modality for each in read) for turn in first[modality].shown]
    shown = [
        {"role": role, "content": text}
        for turn in turns
        for role, text in (("user", turn.content), ("assistant", turn.answer))
    ]
    system = next(i for i, message in enumerate(messages) if message.role != "system")
    soft = [tokens for turn in turns for tokens in turn.samples] + [each.soft for each in read]
    try:
        return render(tokenizer, [*own[:system], *shown, *own[system:]]), soft
    except SemiError as error:  # the template's own rules, on whose turn it is
        raise wrong_input(error, "messages") from error


def recall_of(
    messages: Sequence[Message], read: Sequence[Read], integrations: Mapping[str, Integration]
) -> Recollection | None:
    """What has a say in the answer where nothing but one sample is asked about, and as its pairs were."""
    if len(messages) != 1 or len(read) != 1:
        return None
    integration = integrations[read[0].modality]
    content = _content(messages[0], {read[0].modality: integration.record.instruction})
    return integration.recalled(read[0].embedding, content.removeprefix(f"{PLACEHOLDER}\n"))


def _content(message: Message, instructions: Mapping[str, str]) -> str:
    """Its parts as text, samples as placeholders; what is said after something begins a new line."""
    parts = message.parts
    if all(isinstance(part, ModalityPart) for part in parts):
        last = parts[-1]
        parts.append(TextPart(type="text", text=instructions[last.modality] if isinstance(last, ModalityPart) else ""))
    text = ""
    for part in parts:
        if isinstance(part, TextPart):
            text += f"\n{part.text}" if text else part.text
        else:
            text += PLACEHOLDER
    return text
