"""The routes: what can be asked of the service, and what it answers."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import __version__
from ..console import one_line
from ..runtime.errors import PscrError
from ..runtime.image import load
from ..runtime.map_picture import draw, encode
from ..runtime.pipeline import Result
from ..runtime.quality_map import QualityMap, quality_map
from ..runtime.scorer import Scorer
from ..tables.fields import record
from . import page
from .access import needs_token
from .errors import Problem, of_pscr_error, raise_for
from .limits import Hold
from .metrics import CONTENT_TYPE
from .middleware import Guard
from .schemas import Health, ImageScore, ProblemAnswer, QualityMapAnswer, Scores, body, refusals
from .service import Service

GONE = 499  # nginx's number for a client that did not wait; nobody sees it but the log and the metrics
_DESCRIPTION = "Quality scores for AI-generated images, without a reference. No image is stored."
_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}


def application(service: Service) -> Guard:
    """The ASGI application of an open service."""
    app = FastAPI(
        title="pscr",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # FastAPI's own pages load scripts from other hosts
        redoc_url=None,
        openapi_url=None,  # the page adds it, when it is complete
        redirect_slashes=False,
        dependencies=[Depends(_known_parameters)],
    )
    _handlers(app)
    _scoring(app, service)
    _watching(app, service)
    page.add(app, _described(app, service), service.access.token is not None)
    for route in app.routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")  # after the description; uvicorn leaves the body out
    return Guard(app, service)


def _known_parameters(request: Request) -> None:
    """Refuse a query with a parameter that the route does not have, or has twice.

    Raises:
        Problem: 422.
    """
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    for name, _ in request.query_params.multi_items():
        if name not in known:
            found = f"a parameter named '{one_line(name[:60])}', or twice"
            expected = f"expected {' or '.join(known) or 'none'}, once"
            raise Problem(422, "INVALID_ARGUMENT", f"{found}; {expected}; see /docs")
        known.remove(name)


def _scoring(app: FastAPI, service: Service) -> None:
    limits, scorer = service.limits, service.scorer
    known = {"model": scorer.manifest.name, "version": scorer.manifest.version}

    @app.post(
        "/v1/score",
        summary="Score one image, or several",
        response_model=Scores,
        response_model_exclude_unset=True,  # a diagnosis that nobody asked for
        responses=refusals(400, 401, 408, 413, 415, 421, 422, 500, 503),
        openapi_extra=body(limits.images, limits.formats),
    )
    async def score(request: Request, diagnose: bool = False) -> Any:
        """The body is an image file; or multipart/form-data, with a part named `image` for each.

        An image that is alone and has no score is an error, with the Status as its code. Of several, each has a status
        of its own, in the order in which they were sent. With `diagnose=1` each has what it looks like, such as blur.
        """
        service.check_diagnosis(diagnose)
        with Hold(service.held) as hold:
            uploads = await service.receive(request, hold)
            results = await service.score(request, [upload.data for upload in uploads], diagnose)
        if len(results) == 1:
            raise_for(results[0])
        named = [_image_score(upload.name, one, diagnose) for upload, one in zip(uploads, results, strict=True)]
        return Scores(**known, results=named)

    @app.post(
        "/v1/map",
        summary="Show where in an image the quality is good or bad",
        response_model=QualityMapAnswer,
        responses={
            **refusals(400, 401, 408, 413, 415, 421, 422, 500, 503),
            200: {"description": "The picture, or the numbers.", "content": {"image/png": {"schema": page.BINARY}}},
        },
        openapi_extra=body(1, limits.formats),
    )
    async def quality(request: Request, format: Literal["png", "json"] = "png") -> Any:
        """The body is an image file. The picture shows it beside its map; dark is low, the frame marks the worst."""
        with Hold(service.held) as hold:
            uploads = await service.receive(request, hold)
            if len(uploads) > 1:
                raise Problem(422, "INVALID_ARGUMENT", f"{len(uploads)} images; expected one; map them one by one")
            data = uploads[0].data
            service.check_format(data)
            work = _picture if format == "png" else _numbers
            answer = await service.in_map_thread(request, lambda own: work(own, data, limits.map_pixels))
        if isinstance(answer, bytes):
            return Response(answer, media_type="image/png")
        return JSONResponse({**known, **answer})


def _watching(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the process works", response_model=Health, responses=refusals(421, 422, 503))
    async def healthy() -> Any:
        """For a supervisor: where this is not 200, the process should be started again."""
        if not service.batcher.alive:
            raise Problem(503, "INTERNAL", "a thread of the service has ended; start it again")
        return Health(status="ok")

    @app.get(
        "/readyz",
        summary="Whether an image would be taken now",
        response_model=Health,
        responses=refusals(421, 422, 503),
    )
    async def ready() -> Any:
        """For a load balancer: 503 where the queue is full or the service stops."""
        if not service.ready:
            raise Problem(503, "QUEUE_FULL", "no image would be taken now; send requests to another one", 1)
        return Health(status="ok")

    @app.get("/v1/info", summary="The model, what runs it, and the limits", responses=refusals(401, 421, 422))
    async def info() -> dict[str, Any]:
        """As `pscr info --json`, with the service's limits."""
        return service.facts()

    @app.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses={**refusals(401, 421, 422), 200: {"description": "Counts and times.", "content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        """Requests, images by status, times by stage, batch sizes, queue, memory."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)


def _handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(PscrError)
    async def pscr_error(request: Request, error: PscrError) -> Response:
        return of_pscr_error(error).response()

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:  # Starlette raises it again, for the log
        return Problem(500, "INTERNAL", "a fault of the service; its log has more; report it").response()

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=GONE)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(map(str, first.get("loc", ())))
        found = f"{where}: {first.get('msg', 'not valid')}"
        return Problem(422, "INVALID_ARGUMENT", one_line(found[:300])).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "INVALID_ARGUMENT")
        answer = Problem(error.status_code, code, f"{error.detail}; see /docs").response()
        answer.headers.update(error.headers or {})
        return answer


def _described(app: FastAPI, service: Service) -> dict[str, Any]:
    """The OpenAPI description, with what FastAPI cannot know: the problems' type and the token."""
    schema = app.openapi()
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    schemas["ProblemAnswer"] = ProblemAnswer.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    if service.access.token is not None:
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                if needs_token(method.upper(), path):
                    operation["security"] = [{"token": []}]
    return schema


def _image_score(name: str, result: Result, diagnosed: bool) -> ImageScore:
    values = record(result, diagnosed)
    low, high = values.pop("low"), values.pop("high")
    del values["path"]
    return ImageScore(name=name, interval=None if low is None else [low, high], **values)


def _mapped(scorer: Scorer, data: bytes, most: int) -> tuple[Any, QualityMap]:
    pixels = load(data, max_pixels=most)
    return pixels, quality_map(scorer, pixels, pixel_format="rgb")


def _picture(scorer: Scorer, data: bytes, most: int) -> bytes:
    return encode(draw(*_mapped(scorer, data, most)))


def _numbers(scorer: Scorer, data: bytes, most: int) -> dict[str, Any]:
    found = _mapped(scorer, data, most)[1]
    values = [[round(value, 6) for value in row] for row in found.values.tolist()]
    corners = {"corners_y": found.corners_y.tolist(), "corners_x": found.corners_x.tolist()}
    size = {"width": found.width, "height": found.height, "window": found.window, "stride": found.stride}
    size |= {"view_width": found.view[1], "view_height": found.view[0]}
    return {**size, **corners, "values": values}
