"""The application: the page, predictions, the model, health and metrics."""

import base64
import json
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, Literal, cast

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.types import ASGIApp

from melascope import __version__
from melascope.errors import ModelError
from melascope.labels import TARGETS
from melascope.model.card import Card
from melascope.web import metrics, openapi, schema
from melascope.web.analysis import Analyser, Job, Options, Result
from melascope.web.assets import Asset, assets
from melascope.web.errors import RequestError, busy
from melascope.web.forms import fhir, negotiate
from melascope.web.limits import Limits
from melascope.web.queue import JobQueue
from melascope.web.security import SecurityMiddleware
from melascope.web.upload import MemoryBudget, receive

HEALTH, METRICS, OPENAPI = "/healthz", "/metrics", "/openapi.json"
PREDICTIONS, MODEL = "/v1/predictions", "/v1/model"


def create_app(
    card: Card,
    analyser: Analyser,
    workers: int,
    token: str | None = None,
    hosts: Collection[str] | None = None,
    limits: Limits | None = None,
) -> ASGIApp:
    """Make the application.

    Args:
        card: of the model; requests may ask for any of its operating points.
        analyser: gives the results, such as a `WorkerPool`.
        workers: threads that call it at once.
        token: that requests must carry, except for the page, the description of the API and `/healthz`.
        hosts: names that browsers may use for this server; None for any.
        limits: of what is accepted.
    """
    limits = limits or Limits()
    sensitivities = [point.sensitivity for point in card.operating_points[TARGETS[0]]]
    queue, budget = JobQueue(analyser, workers, limits.waiting), MemoryBudget(limits.held_bytes)
    counted = metrics.Metrics(card.identity)
    counted.open.set_function(lambda: queue.open)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()

    # Without the documentation pages of FastAPI, whose scripts come from elsewhere.
    app = FastAPI(
        title="Melascope",
        version=__version__,
        description=f"Melanoma classification of dermoscopic images. {schema.NOTE}",
        openapi_url=OPENAPI,
        docs_url=None,
        redoc_url=None,
        lifespan=life,
        redirect_slashes=False,
    )
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ModelError, _broken)
    app.add_exception_handler(Exception, _failed)

    @app.post(PREDICTIONS, **openapi.predictions(limits))
    async def predictions(
        request: Request,
        sensitivity: Annotated[float | None, Query(**openapi.sensitivity(sensitivities))] = None,
        heat: Annotated[Literal["malignant", "melanoma"] | None, Query(**openapi.HEAT)] = None,
        picture: Annotated[bool, Query(**openapi.PICTURE)] = False,
    ) -> Response:
        form = negotiate.form_of(request.headers.get("accept", ""))
        if sensitivity is not None and sensitivity not in sensitivities:
            raise RequestError(
                422, f"sensitivity is one of {', '.join(f'{known:g}' for known in sensitivities)}"
            )
        if heat is not None and heat not in card.calibration:
            raise RequestError(422, f"this model was not trained for {heat}")
        if int(request.headers.get("content-length", 0)) > limits.request_bytes:
            raise RequestError(413, f"more than {limits.request_bytes // 2**20} MiB", Connection="close")
        if queue.open >= limits.waiting:
            raise busy("too many images are waiting")
        with budget.open() as reservation:
            sent = request.headers.get("content-type", "")
            uploads = await receive(request.stream(), sent, limits, budget, reservation)
            options = _options(form, sensitivity, heat, picture)
            results = await queue.run([Job(upload, options) for upload in uploads])
        for result in results:
            counted.image(result.answer.status)
        if form.media_type == negotiate.FHIR:
            media_type = f"{negotiate.FHIR}; fhirVersion={form.fhir_version}"
            return _json(fhir.bundle(results, card.at(sensitivity), form.fhir_version), media_type)
        if form.media_type == negotiate.DICOM:
            return _captures(results)
        rows = [_row(result, heat, picture) for result in results]
        return _json({"predictions": rows, "note": schema.NOTE}, negotiate.JSON)

    @app.get(MODEL, response_model=schema.Model, summary="The model that answers", responses=openapi.GUARDED)
    async def model() -> Response:
        described = {
            "identity": card.identity,
            "note": schema.NOTE,
            "version": __version__,
            "sensitivities": sensitivities,
            "targets": [target for target in TARGETS if target in card.calibration],
            "limits": {name: getattr(limits, name) for name in ("files", "file_bytes", "request_bytes")},
            "card": card.document(),
        }
        return _json(described, negotiate.JSON)

    @app.get(HEALTH, response_model=schema.Health, summary="Whether the server answers")
    async def health() -> Response:
        return _json({"status": "ok"}, negotiate.JSON)

    @app.get(METRICS, response_class=Response, summary="Counts and times, for Prometheus", **openapi.METRICS)
    async def show_metrics() -> Response:
        return Response(counted.text(), media_type=metrics.MEDIA_TYPE)

    for path, asset in assets().items():
        app.add_api_route(path, partial(_asset, asset), include_in_schema=False)
    openapi.complete(app, None if token is None else [HEALTH])
    public = [*assets(), HEALTH, OPENAPI]
    return SecurityMiddleware(app, counted, [*public, PREDICTIONS, MODEL, METRICS], token, public, hosts)


def _options(form: negotiate.Form, sensitivity: float | None, heat: str | None, picture: bool) -> Options:
    if form.media_type == negotiate.DICOM:
        return Options(sensitivity, panel=heat or TARGETS[0], capture=True)
    if form.media_type == negotiate.FHIR:
        return Options(sensitivity, panel=heat)
    return Options(sensitivity, heat, picture)


def _row(result: Result, heat: str | None, picture: bool) -> dict[str, Any]:
    row = result.answer.row()
    if heat:
        drawn = {"target": heat, "png": _base64(result.heat), "responds": result.responds}
        row["heat"] = drawn if result.heat else None
    if picture:
        row["picture"] = _base64(result.picture)
    return row


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _json(content: object, media_type: str) -> Response:
    return Response(json.dumps(content, allow_nan=False), media_type=media_type)


def _captures(results: Sequence[Result]) -> Response:
    """One DICOM file as it is, several as parts, as DICOMweb sends them."""
    files = []
    for result in results:
        if result.capture is None:
            raise RequestError(
                422, f"{result.answer.path}: {result.answer.reason}; no secondary capture can be made"
            )
        files.append(result.capture)
    if len(files) == 1:
        return Response(files[0], media_type=negotiate.DICOM)
    boundary = uuid.uuid4().hex
    body = b"".join(
        b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (boundary.encode(), file) for file in files
    )
    kind = f'multipart/related; type="{negotiate.DICOM}"; boundary={boundary}'
    return Response(body + b"--%s--\r\n" % boundary.encode(), media_type=kind)


async def _asset(asset: Asset, request: Request) -> Response:
    headers = {"etag": asset.etag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)


async def _refused(request: Request, error: Exception) -> Response:
    return cast(RequestError, error).response()


async def _invalid(request: Request, error: Exception) -> Response:
    first = cast(RequestValidationError, error).errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return RequestError(422, f"{where}: {first['msg']}").response()


async def _broken(request: Request, error: Exception) -> Response:
    return RequestError(500, str(error)).response()


async def _failed(request: Request, error: Exception) -> Response:
    # The error itself reaches the middleware, which logs its place.
    return RequestError(500, "internal error; the server's log has its place").response()
