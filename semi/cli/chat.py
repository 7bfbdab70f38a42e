"""`semi chat`: a conversation about one or several samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semi.cli.describe import as_sample


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `semi adapt` wrote.")],
    samples: Annotated[list[str] | None, typer.Argument(metavar="[SAMPLE...]", help="Samples to talk about.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 96,
) -> None:
    """Talk about samples, line by line: /sample S adds one, /new begins again, /quit ends."""
    from semi.chat import Conversation
    from semi.errors import SemiError
    from semi.integration import Integration

    integration = Integration.load(folder)
    conversation = Conversation(integration, max_new_tokens=max_new_tokens)
    for sample in samples or []:
        conversation.add(as_sample(sample))
    while True:
        try:
            line = typer.prompt("you", prompt_suffix="> ", default="", show_default=False, err=True).strip()
        except typer.Abort:  # end of input
            return
        word, _, rest = line.partition(" ")
        if word == "/quit":
            return
        if word == "/new":
            conversation = Conversation(integration, max_new_tokens=max_new_tokens)
        elif word == "/sample":
            try:
                conversation.add(as_sample(rest.strip()))
            except SemiError as error:  # a typo must not end the conversation
                typer.echo(str(error), err=True)
        elif line:
            typer.echo(conversation.say(line))
