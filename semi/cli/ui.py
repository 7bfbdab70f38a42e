"""`semi ui`: a web page for this machine, to add sensors and to look at them."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from socket import socket
from typing import Annotated

import typer

from semi.cli._common import FOUNDATION
from semi.errors import InputError

DIR = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where integrations are saved and found.")]
STUDY = Annotated[
    Path | None, typer.Option("--study", metavar="DIR", help="What `semi study sample-efficiency` filled: its curves.")
]


def command(
    folder: DIR = Path("."),
    foundation: FOUNDATION = "smollm2-135m",
    study: STUDY = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 7860,
) -> None:
    """A web page for this machine: add a sensor from about 32 pairs, maps, live recordings, curves, health."""
    if find_spec("gradio") is None:
        raise InputError("the page needs gradio, which is not here", do="pip install 'semi-llm[ui]'")
    if not folder.is_dir():
        taken = folder.exists()
        do = "name a folder" if taken else f"mkdir {folder}"
        raise InputError(f"{folder} is no folder", got="a file" if taken else "nothing there", do=do)
    from semi.hub import find_foundation
    from semi.ui.loopback import listen
    from semi.ui.summary import read_summary

    if study is not None:
        read_summary(study)
    with listen(port) as listening:
        _serve(find_foundation(foundation), folder, study, listening)


def _serve(foundation: Path, folder: Path, study: Path | None, listening: socket) -> None:
    """All that is heavy to import; what could be refused has been."""
    # gradio reads them when it is imported: nothing is reported, and files that come in go where they are deleted.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that they are deleted

    from semi.ui.workshop import Workshop

    workshop = Workshop(foundation, folder)
    try:
        os.environ["GRADIO_TEMP_DIR"] = str(workshop.uploads)

        from semi.ui.page import page
        from semi.ui.server import serve

        with suppress(KeyboardInterrupt):  # how people end it
            address = f"http://{listening.getsockname()[0]}:{listening.getsockname()[1]}"
            serve(page(workshop, study), listening, lambda: typer.echo(f"{address}  (Ctrl-C ends it)"))
    finally:
        if not workshop.close():
            os._exit(0)  # Python's own end aborts when a thread is in the midst of PyTorch
