"""The command line: one file a verb. Importing it, `semi --help` and `semi plugins` load neither torch nor a plugin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import semi
from semi.cli import (
    adapt,
    bench,
    chat,
    convert,
    demo,
    describe,
    doctor,
    encode,
    eval,
    export,
    fetch,
    merge,
    new_plugin,
    plugins,
    push,
    serve,
    stream,
    study,
    train,
    ui,
)
from semi.cli._common import guard
from semi.cli._mounted import mounted, offered


class _Verbs(TyperGroup):
    """All verbs, those of plugins after semi's own: wrong usage and whatever they raise end as `guard` says."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with guard:
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with guard:
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return own + sorted({offer.name for offer in offered()} - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or mounted(cmd_name)


app = typer.Typer(
    name="semi",
    cls=_Verbs,
    help="Teach a frozen 4-bit large language model a new kind of data from about 32 labelled samples.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Verbs in the order of `semi --help`. Their bodies import what they need; their modules import next to nothing.
_VERBS: dict[str, Callable[..., None]] = {
    "demo": demo.command,
    "fetch": fetch.command,
    "adapt": adapt.command,
    "describe": describe.command,
    "chat": chat.command,
    "stream": stream.command,
    "serve": serve.command,
    "ui": ui.command,
    "eval": eval.command,
    "encode": encode.command,
    "convert": convert.command,
    "export": export.command,
    "push": push.command,
    "bench": bench.command,
    "new-plugin": new_plugin.command,
    "doctor": doctor.command,
}
for _name, _command in _VERBS.items():
    app.command(_name)(_command)
app.add_typer(plugins.app, name="plugins")
app.add_typer(train.app, name="train")
app.add_typer(study.app, name="study")
app.add_typer(merge.app, name="merge")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"semi-llm {semi.__version__}")
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that come before any verb."""
