"""Verbs that plugins bring: `semi --help` lists them by metadata, and one is loaded when it is typed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from semi.plugins import PluginInfo, list_plugins, load_command

if TYPE_CHECKING:
    from collections.abc import Iterator


def offered() -> Iterable[PluginInfo]:
    """The verbs of plugins that can be used, or failed in this process."""
    return (p for p in list_plugins() if p.kind == "command" and p.state in ("available", "loaded", "failed"))


def mounted(name: str) -> MountedVerb | None:
    """The verb of that name, whatever its state: typing it tells what is wrong with it."""
    offer = next((p for p in list_plugins() if (p.kind, p.name) == ("command", name)), None)
    return MountedVerb(offer) if offer else None


class MountedVerb(TyperCommand):
    """Stands in for a plugin's command and hands everything that follows its name to it, `--help` included."""

    def __init__(self, offer: PluginInfo) -> None:
        super().__init__(
            name=offer.name,
            help=f"Of {offer.distribution} {offer.version}.",
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
            add_help_option=False,
        )

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Everything is the plugin's to parse."""
        ctx.args = args
        return args

    def invoke(self, ctx: Any) -> Any:
        """Load the command and run it as `semi name`."""
        command = load_command(str(self.name))
        if isinstance(command, typer.Typer):
            command = typer.main.get_command(command)
        with _one_way_to_exit(), command.make_context(ctx.command_path, list(ctx.args)) as context:
            return command.invoke(context)


@contextmanager
def _one_way_to_exit() -> Iterator[None]:
    """click ends a program by an exception that is not the one of typer's own copy of click."""
    try:
        yield
    except Exception as error:
        click = sys.modules.get("click")
        if click is not None and isinstance(error, click.exceptions.Exit):
            raise typer.Exit(error.exit_code) from error
        if click is not None and isinstance(error, click.exceptions.Abort):
            raise typer.Abort() from error
        raise
