"""Write docs/cli.md from the command line itself: `make docs`. A test compares the two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from semi.cli import app

PAGE = Path(__file__).with_name("cli.md")
HEAD = """\
# Command line

Exit codes: 0 fine, 1 the work failed, 2 wrong usage or input, 130 interrupted. Progress goes to
stderr: a bar on a terminal, a line every ten seconds elsewhere; `--quiet` shows none.
`SEMI_CACHE` names the folder for fetched models and data, `SEMI_DEBUG=1` shows tracebacks.

This page is made from the program by `make docs`.
"""


def render() -> str:
    """The page: every verb with its usage, arguments and options."""
    root = get_command(app)
    return "\n".join([HEAD, *_section(root, typer.Context(root, info_name="semi"))])


def _section(command: Any, context: typer.Context) -> Iterator[str]:
    """Lines for a verb and the verbs below it."""
    verbs = getattr(command, "commands", {})
    parameters = [parameter for parameter in command.get_params(context) if parameter.name != "help"]
    if context.parent is not None:
        yield f"## `{context.command_path}`\n"
    yield f"{command.help}\n"
    if not verbs:
        yield f"```\n{' '.join([context.command_path, *map(_usage, filter(_in_usage, parameters))])} [OPTIONS]\n```\n"
    if parameters:
        yield "| | | default |\n|---|---|---|\n" + "\n".join(map(_row, parameters)) + "\n"
    for name, verb in verbs.items():
        yield from _section(verb, typer.Context(verb, info_name=name, parent=context))


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _in_usage(parameter: Any) -> bool:
    return _is_argument(parameter) or bool(parameter.required)


def _usage(parameter: Any) -> str:
    value = _value(parameter) + ("..." if parameter.nargs == -1 else "")
    if not _is_argument(parameter):
        return f"{parameter.opts[0]} {value}"
    return value if parameter.required else f"[{value}]"


def _value(parameter: Any) -> str:
    return (parameter.metavar or str(parameter.name).upper()).strip("[].")


def _row(parameter: Any) -> str:
    options = ", ".join(f"`{option}`" for option in [*parameter.opts, *parameter.secondary_opts])
    if _is_argument(parameter):
        name = f"`{_value(parameter)}`"
    else:
        name = options if parameter.is_flag else f"{options} `{_value(parameter)}`"
    return f"| {name} | {parameter.help or ''} | {_default(parameter)} |".replace("  ", " ")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.default is None or parameter.default is False:
        return ""
    return f"`{parameter.opts[0]}`" if parameter.default is True else f"`{parameter.default}`"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
