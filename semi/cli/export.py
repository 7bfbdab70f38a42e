"""`semi export`: an integration for machines without PyTorch."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from semi.cli._common import FORCE, JSON, emit_json
from semi.errors import InputError


class Format(StrEnum):
    """What can be written."""

    ONNX = "onnx"
    PEFT = "peft"


class Start(StrEnum):
    """What the graph reads."""

    SAMPLE = "sample"
    EMBEDDING = "embedding"


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `semi adapt` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    format: Annotated[Format, typer.Option("--format", help="peft: the adapter as a LoRA folder.")] = Format.ONNX,
    start: Annotated[
        Start, typer.Option("--from", help="What the graph reads: with the encoder's network in it, or without.")
    ] = Start.SAMPLE,
    check: Annotated[
        list[str] | None,
        typer.Option("--check", metavar="SAMPLE", help="A sample to compare with PyTorch; may be given again."),
    ] = None,
    force: FORCE = False,
    as_json: JSON = False,
) -> None:
    """Write encoder, alignment and projector as ONNX, with labels and a runner that needs no PyTorch."""
    import logging

    from semi.artifacts import require_free

    if format == Format.PEFT:
        from semi.export.peft import export_peft

        if check or start != Start.SAMPLE:
            raise InputError("--from and --check are of --format onnx", do="leave them out")
        require_free(out, force=force)
        info = export_peft(folder, out, force=force)
        if as_json:
            emit_json(info)
        else:
            typer.echo(f"{out}: LoRA for {', '.join(info['layers'])} of the shared projector")
        return
    from semi.cli.describe import as_sample
    from semi.export.folder import export

    for name in ("torch.onnx", "onnxscript"):  # they tell of packages that nothing here uses, and of small steps
        logging.getLogger(name).setLevel(logging.ERROR)
    require_free(out, force=force)
    info = export(folder, out, start=start.value, check=[as_sample(sample) for sample in check or ()], force=force)
    if as_json:
        emit_json(info)
        return
    shape = ", ".join(map(str, info["input"]["shape"]))
    typer.echo(f"{out}: {format.upper()} of {info['modality']}, from {info['input']['dtype']} ({shape})")
    typer.echo(f"a sample is {info['input']['meaning']}")
    if info["parity"] is None:
        typer.echo("not compared with PyTorch: give it a sample, --check SAMPLE", err=True)
    else:
        typer.echo(f"soft tokens differ from PyTorch's by at most {info['parity']:.1e}")
    typer.echo(f"next: python {shlex.quote(str(out / 'runner.py'))} {shlex.quote(str(out))} sample.npy")
