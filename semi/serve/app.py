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
from semi.serve.guard import Guard
from semi.serve.keys import Keys
from semi.serve.metrics import Metrics
from semi.serve.refusal import Refusal
from semi.serve.routes import openai_routes
from semi.serve.schema import FaultAnswer, Health

STATUSES = (400, 401, 404, 408, 413, 421, 429, 500, 502, 503, 504)
CODES = {404: "not_found", 405: "method_not_allowed"}


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
        # the first of them, and nothing of what was sent: it may be large, or no JSON
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:]))
        return refused(Refusal(400, "invalid_request", f"{where}: {first['msg']}" if where else first["msg"], where))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        answer = refused(Refusal(error.status_code, CODES.get(error.status_code, "invalid_request"), error.detail))
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
