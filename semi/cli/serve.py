"""`semi serve`: integrations over HTTP."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semi.errors import InputError

if TYPE_CHECKING:
    from semi.serve.backend import Backend
    from semi.serve.limits import Limits

KEY = (
    "What clients have to send, as with OpenAI; several are possible. Better in SEMI_API_KEY, which `ps` does not show."
)
LIMIT = "NAME=NUMBER, e.g. body_bytes=1000000; docs/serve.md has all of them."


class BackendName(StrEnum):
    """Who writes text."""

    TRANSFORMERS = "transformers"
    VLLM = "vllm"


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="What `semi adapt` wrote, one a modality.")],
    host: Annotated[str, typer.Option("--host", help="Others than this machine need a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8000,
    key: Annotated[list[str] | None, typer.Option("--key", envvar="SEMI_API_KEY", help=KEY)] = None,
    backend: Annotated[
        BackendName, typer.Option("--backend", help="Who writes text: this process, or a vLLM server.")
    ] = BackendName.TRANSFORMERS,
    backend_url: Annotated[
        str | None, typer.Option("--backend-url", metavar="URL", help="Of vLLM, e.g. http://127.0.0.1:8001.")
    ] = None,
    backend_model: Annotated[
        str | None, typer.Option("--backend-model", help="As vLLM names it, where it has several.")
    ] = None,
    backend_key: Annotated[
        str | None, typer.Option("--backend-key", envvar="SEMI_BACKEND_KEY", help="Of vLLM, if it wants one.")
    ] = None,
    limit: Annotated[list[str] | None, typer.Option("--limit", metavar="NAME=NUMBER", help=LIMIT)] = None,
    device: Annotated[str | None, typer.Option("--device", help="E.g. cpu or cuda.")] = None,
) -> None:
    """Serve integrations over one language model, in the shape of OpenAI's API."""
    if (backend is BackendName.VLLM) != (backend_url is not None):
        raise InputError("--backend vllm and --backend-url come together", got=backend_url, do="give both or neither")
    from semi.serve.beforehand import listen, require_integrations

    keys, limits = key or [], _limits(limit or [])
    require_integrations(folders)

    def vllm() -> Backend:
        from semi.serve.vllm import VLLM

        return VLLM(backend_url or "", backend_model, backend_key)

    with listen(host, port, keys) as listening, suppress(KeyboardInterrupt):  # how people end it
        from semi.weights import find_device

        find_device(device)
        try:
            from semi.serve.server import serve
        except ImportError as error:
            raise InputError(
                "serving needs packages that are not here", got=error, do="pip install 'semi-llm[serve]'"
            ) from error
        serve(
            folders,
            listening,
            keys=keys,
            limits=limits,
            backend=vllm if backend_url else None,
            device=device,
            tell=lambda text: typer.echo(f"serving {text}", err=True),
        )


def _limits(texts: list[str]) -> Limits:
    from semi.serve.limits import Limits

    known = {name: type(value) for name, value in vars(Limits()).items()}
    chosen = {}
    for text in texts:
        name, _, number = text.partition("=")
        if name not in known:
            raise InputError("there is no such limit", got=name, expected=", ".join(known))
        try:
            chosen[name] = known[name](number)
        except ValueError:
            kind = "a whole number" if known[name] is int else "a number"
            raise InputError(f"the limit {name} is no number", got=number, expected=kind) from None
    return Limits(**chosen)
