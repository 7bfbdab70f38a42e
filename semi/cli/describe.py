"""`semi describe`: text for samples."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from semi.candidates import CANDIDATES
from semi.cli._common import BASE, JSON, LANGUAGE_MODEL, emit_json


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `semi adapt` wrote.")],
    samples: Annotated[list[str], typer.Argument(metavar="SAMPLE...", help="Samples, inline or as paths.")],
    ask: Annotated[str | None, typer.Option("--ask", help="A question, e.g. 'Is it walking?'.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 48,
    candidates: Annotated[
        int,
        typer.Option("--candidates", min=1, help="Texts to choose from, see `semi.candidates`; 1 is quickest."),
    ] = CANDIDATES,
    language_model: LANGUAGE_MODEL = None,
    base: BASE = None,
    as_json: JSON = False,
) -> None:
    """Describe samples, or answer a question about each of them."""
    from semi.integration import Integration

    integration = Integration.load(folder, language_model=language_model, base=base)
    readings = integration.read(
        [as_sample(s) for s in samples], ask=ask, max_new_tokens=max_new_tokens, candidates=candidates
    )
    if as_json:
        emit_json([{"sample": sample} | asdict(r) for sample, r in zip(samples, readings, strict=True)])
        return
    for sample, reading in zip(samples, readings, strict=True):
        typer.echo(f"{sample}: {reading.text}")
        if reading.unlike_anything_seen:
            nearest = reading.nearest[0]
            typer.echo(
                f"  unlike anything seen: nearest is {nearest.label!r} at {nearest.distance:.1f} spacings", err=True
            )


def as_sample(text: str) -> Any:
    """An inline sample from the command line: a JSON list is a vector, anything else is text for the modality."""
    if text.startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text
