"""`semi chat`: a conversation about one or several samples."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from semi.cli._common import BASE, LANGUAGE_MODEL
from semi.cli.describe import as_sample
from semi.errors import InputError, SemiError


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `semi adapt` wrote.")],
    samples: Annotated[list[str] | None, typer.Argument(metavar="[SAMPLE...]", help="Samples to talk about.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 96,
    language_model: LANGUAGE_MODEL = None,
    base: BASE = None,
) -> None:
    """Talk about samples, line by line: /sample S adds one, /new begins again, /quit ends."""
    from semi.chat import Conversation
    from semi.integration import Integration

    integration = Integration.load(folder, language_model=language_model, base=base)
    conversation = Conversation(integration, max_new_tokens=max_new_tokens)
    for sample in samples or []:
        conversation.add(as_sample(sample))
    for line in _lines():
        word, _, rest = line.partition(" ")
        if word == "/quit":
            return
        try:
            if word == "/new":
                conversation = Conversation(integration, max_new_tokens=max_new_tokens)
            elif word == "/sample":
                conversation.add(as_sample(rest.strip()))
            elif line:
                typer.echo(conversation.say(line))
        except SemiError as error:  # a typo must not end the conversation
            typer.echo(f"error: {error}", err=True)


def _lines() -> Iterator[str]:
    """What the user says, line by line; a prompt is shown only to somebody who types."""
    typing = sys.stdin.isatty()
    while True:
        try:
            line = (
                typer.prompt("you", prompt_suffix="> ", default="", show_default=False, err=True) if typing else input()
            )
        except (typer.Abort, EOFError):
            return
        except UnicodeDecodeError as error:
            raise InputError("what was typed is not UTF-8", got=f"byte {error.object[error.start]:#04x}") from error
        yield line.strip()
