"""The HTTP API of one release: the routes of its task, in OpenAI's shapes, and the page where a person tries it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from ..contracts.errors import UserError
from .answers import as_refusal
from .canary import Canary, SplitRoutes
from .chat import ChatBody
from .engine import Engine
from .errors import ApiError
from .exchange import Exchanges
from .guard import Guard
from .protocol import CompletionBody, Feedback, as_api_error
from .routes import ApiLimits, Routes, no_such_model
from .service import UPLOADS, Service

PAGE = Path(__file__).parent / "page"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Stated here, since browsers are told not to guess, and a machine's own table may be wrong."""


def create_app(
    service: Service,
    engine: Engine,
    *,
    api_key: str | None = None,
    hosts: Collection[str] | None = None,
    origins: Sequence[str] = (),
    on_request: Callable[[dict[str, Any]], None] | None = None,
    answered: Callable[[str], bool] | None = None,
    canary: tuple[Canary, Service] | None = None,
    limits: ApiLimits | None = None,
) -> FastAPI:
    """The app that serves `service` on `engine`; its shutdown closes the engine.

    Args:
        api_key: the bearer token that clients must send; None leaves the API open.
        hosts: names that requests may call this server by; None allows any.
        origins: web pages of other origins that may use the API (CORS).
        on_request: called, on a thread of its own, with the facts of each finished request and with each feedback.
        answered: whether an id is of an answer given before this server was started, on which feedback is taken, too.
        canary: a second release that is given a share of the requests, and its model in memory.
    """
    limits = limits or ApiLimits()
    exchanges = Exchanges(on_request, answered)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()
        exchanges.close()

    # The interactive documentation would load scripts from a CDN; the schema itself stays, at /openapi.json.
    app = FastAPI(title=service.name, docs_url=None, redoc_url=None, lifespan=lifespan)
    current = Routes(service, engine, exchanges, limits)
    routes: Routes | SplitRoutes = current
    if canary is not None:
        plan, second = canary
        routes = SplitRoutes(current, Routes(second, engine, exchanges, limits, also=service.name), plan)
    if service.task.endpoint == "completions":
        app.post("/v1/completions")(routes.completions)
    elif service.task.endpoint == "chat/completions":
        app.post("/v1/chat/completions")(routes.chat)
    elif service.task.endpoint in UPLOADS:
        app.post(service.route)(routes.transcriptions)
    elif service.task.endpoint == "audio/speech":
        app.post(service.route)(routes.speech)
    elif service.task.endpoint == "images/generations":
        app.post(service.route)(routes.images)
    else:
        app.post(service.route)(routes.whole)
    if service.explains:
        app.post("/v1/explain")(routes.explain)
    _mount_common(app, service, engine, exchanges, canary[1] if canary else None)
    _mount_page(app)
    _mount_errors(app, service)
    uploads = service.task.endpoint in UPLOADS
    app.add_middleware(
        Guard, api_key=api_key, hosts=hosts, body_bytes=limits.upload_bytes if service.holds_files else limits.body_bytes,
        forms=service.route if uploads else None, origins=origins,
    )  # fmt: skip
    if origins:
        headers = ["authorization", "content-type"]
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=headers)
    return app


def _mount_common(app: FastAPI, service: Service, engine: Engine, exchanges: Exchanges, canary: Service | None) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, Any]:
        """Whether the server answers, and how much it has to do."""
        return {"status": "ok", "model": service.name, "active": engine.active, "waiting": engine.waiting}

    own = {"id": service.name, "object": "model", "created": service.created, "owned_by": "lodestar"}
    known = {service.name: own, **{name: {**own, "id": name, "parent": service.name} for name in service.adapters}}
    if canary is not None:
        known[canary.name] = {**own, "id": canary.name, "created": canary.created}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The model of this release, and each adapter beside it as one of its own."""
        return {"object": "list", "data": list(known.values())}

    @app.get("/v1/models/{name:path}")
    async def one_model(name: str) -> dict[str, Any]:
        """The model of this name."""
        if name not in known:
            raise no_such_model(name, service)
        return known[name]

    card = service.describe()

    @app.get("/api/release")
    async def release() -> dict[str, Any]:
        """What the page shows: the model's card and examples to try."""
        return card

    @app.post("/v1/feedback")
    def feedback(body: Feedback) -> dict[str, Any]:
        """What a person thought of an answer, or what came of it."""
        if not exchanges.knows(body.id):
            raise ApiError(404, f"There is no answer {body.id!r}. Send the id of one.", param="id", code="not_found")
        exchanges.tell({"route": "/v1/feedback", **body.model_dump()})
        return {"object": "feedback", "id": body.id, "rating": body.rating, "outcome": body.outcome}


def _mount_page(app: FastAPI) -> None:
    def mount(path: str, file: Path) -> None:
        async def page() -> FileResponse:
            return FileResponse(file, media_type=MEDIA_TYPES[file.suffix], headers={"Cache-Control": "no-cache"})

        app.add_api_route(path, page, methods=["GET", "HEAD"], include_in_schema=False)

    for file in (path for path in PAGE.rglob("*") if path.is_file()):
        mount("/" if file.name == "index.html" else f"/{file.relative_to(PAGE).as_posix()}", file)


def _mount_errors(app: FastAPI, service: Service) -> None:
    fields = list((ChatBody if service.task.endpoint == "chat/completions" else CompletionBody).model_fields)
    also = "POST /v1/explain, " if service.explains else ""
    served = f"POST {service.route}, {also}GET /v1/models, POST /v1/feedback, GET /healthz and the page at /"

    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(UserError)
    async def wrong(_: Request, error: UserError) -> JSONResponse:
        return as_refusal(error).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return as_api_error(error.errors(), fields).response()

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        message = str(error.detail)
        if error.status_code in (404, 405):
            message = f"There is no {request.method} {request.url.path} here. This release serves {served}."
        code = "not_found" if error.status_code == 404 else None
        return ApiError(error.status_code, message, code=code, headers=error.headers).response()

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> JSONResponse:
        return ApiError(500, "The server failed to answer; its log says why.", code="internal_error").response()
