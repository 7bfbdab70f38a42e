"""The application: routes, errors in one shape, and the guard in front of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException

import semi
from semi.serve.engine import Engine
from semi.serve.guard import ROUTES, Guard
from semi.serve.keys import Keys
from semi.serve.metrics import Metrics
from semi.serve.refusal import Refusal
from semi.serve.routes import openai_routes
from semi.serve.schema import BRANCH, FaultAnswer, Health

STATUSES = (400, 401, 404, 405, 408, 413, 421, 429, 500, 502, 503, 504)
INSTEAD = {"/v1/completions": "/v1/chat/completions", "/v1/responses": "/v1/chat/completions"}
"""Of OpenAI's routes that are not served."""

NOT_JSON = "the body is not JSON"
LONGEST = 100
"""Characters of what a client sent that are said back."""


def create_app(engine: Engine, metrics: Metrics, keys: Sequence[str] = ()) -> FastAPI:
    """An ASGI application that serves an engine, and closes it when it ends.

    Args:
        metrics: those that the engine counts in.
        keys: of which a client has to know one; without any, requests have to come to this machine by its own name.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        yield
        await engine.close()

    app = FastAPI(
        title="semi",
        version=semi.__version__,
        docs_url=None,  # these pages fetch scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses={status: {"model": FaultAnswer} for status in STATUSES},
    )
    app.include_router(openai_routes(engine))

    @app.get("/healthz")
    async def healthz() -> Health:
        """Whether the server answers."""
        return Health()

    @app.get("/metrics", response_class=PlainTextResponse)
    async def counts() -> Response:
        """Counts in the text form of Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    def refused(refusal: Refusal) -> Response:
        metrics.refused.labels(refusal.code).inc()
        return Response(refusal.content, refusal.status, refusal.headers, "application/json")

    @app.exception_handler(Refusal)
    async def refusal(request: Request, error: Refusal) -> Response:
        return refused(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return refused(_invalid(request, error))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        answer = refused(_unknown(request, error))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        return refused(Refusal(500, "internal_error", "the server made a mistake"))

    described = app.openapi

    def openapi() -> dict[str, Any]:
        """As FastAPI has it, less the status that it would give for what is answered with 400."""
        page = described()
        for path in page["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        return page

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the page
    app.add_middleware(Guard, keys=Keys(keys), limits=engine.limits, metrics=metrics)
    return app


def _invalid(request: Request, error: RequestValidationError) -> Refusal:
    """The first that is wrong, and nothing of what was sent: it may be large, or no JSON."""
    first = error.errors()[0]
    if first["type"] == "json_invalid" or (first["type"], first["loc"]) == ("missing", ("body",)):
        return Refusal(400, "invalid_request", NOT_JSON)
    kind = request.headers.get("content-type", "")
    if first["loc"] == ("body",) and "json" not in kind:
        told = f"Content-Type is {kind[:LONGEST]!r}; it has to be application/json"
        return Refusal(400, "invalid_request", told)
    where = ".".join(str(name) for name in first["loc"][1:] if not str(name).startswith(BRANCH))
    return Refusal(400, "invalid_request", f"{where}: {first['msg']}" if where else first["msg"], where or None)


def _unknown(request: Request, error: HTTPException) -> Refusal:
    """A route that is not there, or is asked in another way."""
    path = request.url.path
    if error.status_code == 404:
        do = f"use {INSTEAD[path]}" if path in INSTEAD else f"there are {', '.join(sorted(ROUTES))}"
        return Refusal(404, "not_found", f"{path[:LONGEST]} is not served; {do}")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return Refusal(405, "method_not_allowed", f"{path} takes {allowed}, not {request.method}")
    # FastAPI says so of bytes that are no text, and of lists in lists in lists
    return Refusal(error.status_code, "invalid_request", NOT_JSON if error.status_code == 400 else error.detail)
