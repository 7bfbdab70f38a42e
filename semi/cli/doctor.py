"""`semi doctor`: is everything in place, and if not, how to mend it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict

import typer

from semi.cli._common import JSON, emit_json, print_table


def command(as_json: JSON = False) -> None:
    """Check the installation, the machine, fetched assets and every plugin; exit code 1 if something fails."""
    from semi.doctor import examine

    with redirect_stdout(sys.stderr):  # some packages print when they are imported
        checks = examine()
    healthy = all(check.state != "fail" for check in checks)
    if as_json:
        emit_json({"ok": healthy, "checks": [asdict(check) for check in checks]})
    else:
        print_table(("state", "check", "found"), [(check.state, check.name, check.cause) for check in checks])
        for check in checks:
            if check.fix:
                typer.echo(f"{check.name}: {check.fix}")
        typer.echo(_verdict([check.state for check in checks]))
    if not healthy:
        raise typer.Exit(1)


def _verdict(states: Sequence[str]) -> str:
    failed, warned = states.count("fail"), states.count("warn")
    if failed:
        return f"{failed} of {len(states)} checks failed"
    return "everything works" + (f", {warned} of {len(states)} checks with a warning" if warned else "")
