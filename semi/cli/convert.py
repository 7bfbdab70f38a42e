"""`semi convert`: weights of the SEMI authors' code into safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semi.cli._common import FORCE


def command(
    checkpoint: Annotated[Path, typer.Argument(help="A .pt file of the authors' code; nothing in it is executed.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    rank: Annotated[int, typer.Option("--rank", min=1, help="Of the generated adapters.")] = 32,
    alpha: Annotated[float, typer.Option("--alpha", help="Adapters are scaled by alpha / rank.")] = 32.0,
    n_tokens: Annotated[int, typer.Option("--n-tokens", min=1, help="Pairs that the context holds.")] = 128,
    n_heads: Annotated[int, typer.Option("--n-heads", min=1, help="Attention heads.")] = 1,
    force: FORCE = False,
) -> None:
    """Convert a .pt checkpoint; the defaults are the paper's settings."""
    from semi.convert import save_converted

    save_converted(checkpoint, out, force=force, rank=rank, alpha=alpha, n_tokens=n_tokens, n_heads=n_heads)
    typer.echo(f"{out}: projector and hypernetwork of {checkpoint.name}")
