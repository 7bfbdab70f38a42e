"""The page over HTTP, for one person at this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable

import gradio as gr
import uvicorn
from fastapi import FastAPI

from semi.ui.loopback import HOST, Loopback
from semi.ui.style import CSS, LABELS, theme

LARGEST = "2gb"
"""A file that is dropped."""


def application(page: gr.Blocks) -> FastAPI:
    """The page as an ASGI application."""
    outer = FastAPI(openapi_url=None)
    outer.add_middleware(Loopback)
    mounted: FastAPI = gr.mount_gradio_app(
        outer,
        page,
        path="",
        server_name=HOST,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=LARGEST,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css_paths=CSS,
        js=LABELS,
    )
    return mounted


def serve(page: gr.Blocks, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve the page until the process is interrupted.

    Args:
        ready: called when the page can be asked for.
    """
    config = uvicorn.Config(application(page), log_level="warning", timeout_graceful_shutdown=3)
    ready()
    uvicorn.Server(config).run(sockets=[listening])
