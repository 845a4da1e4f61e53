"""The application: the page, the predictions, the model, and how the server fares."""

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
from melascope.web.analysis import Finding, Judging, Question, Wish
from melascope.web.assets import Asset, assets
from melascope.web.errors import Refusal, busy
from melascope.web.forms import fhir, negotiate
from melascope.web.limits import Limits
from melascope.web.queue import Desk
from melascope.web.security import Guard
from melascope.web.upload import Purse, receive

HEALTH, METRICS, OPENAPI = "/healthz", "/metrics", "/openapi.json"
PREDICTIONS, MODEL = "/v1/predictions", "/v1/model"


def create_app(
    card: Card,
    judging: Judging,
    workers: int,
    token: str | None = None,
    hosts: Collection[str] | None = None,
    limits: Limits | None = None,
) -> ASGIApp:
    """Make the application.

    Args:
        card: of the model; requests may ask for any of its operating points.
        judging: who judges, a `Judge` or a `Crew`.
        workers: threads that ask it.
        token: that requests must bear, except for the page itself, the description of the API and `/healthz`.
        hosts: names that browsers may know this server by; None for any.
        limits: of what is taken.
    """
    limits = limits or Limits()
    sensitivities = [point.sensitivity for point in card.operating_points[TARGETS[0]]]
    desk, purse = Desk(judging, workers, limits.waiting), Purse(limits.held_bytes)
    counted = metrics.Meters(card.identity)
    counted.open.set_function(lambda: desk.open)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

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
    app.add_exception_handler(Refusal, _refused)
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
            raise Refusal(422, f"sensitivity is one of {', '.join(f'{known:g}' for known in sensitivities)}")
        if heat is not None and heat not in card.calibration:
            raise Refusal(422, f"this model did not learn {heat}")
        if int(request.headers.get("content-length", 0)) > limits.request_bytes:
            raise Refusal(413, f"more than {limits.request_bytes // 2**20} MiB", Connection="close")
        if desk.open >= limits.waiting:
            raise busy("too many images are waiting")
        with purse.open() as share:
            sent = request.headers.get("content-type", "")
            uploads = await receive(request.stream(), sent, limits, purse, share)
            wish = _wish(form, heat, picture)
            findings = await desk.run([Question(upload, sensitivity, wish) for upload in uploads])
        for finding in findings:
            counted.image(finding.answer.status)
        if form.media_type == negotiate.FHIR:
            media_type = f"{negotiate.FHIR}; fhirVersion={form.fhir_version}"
            return _json(fhir.bundle(findings, card.at(sensitivity), form.fhir_version), media_type)
        if form.media_type == negotiate.DICOM:
            return _captures(findings)
        rows = [_row(finding, heat, picture) for finding in findings]
        return _json({"predictions": rows, "note": schema.NOTE}, negotiate.JSON)

    @app.get(MODEL, response_model=schema.Model, summary="The model that answers", responses=openapi.GUARDED)
    async def model() -> Response:
        told = {
            "identity": card.identity,
            "note": schema.NOTE,
            "version": __version__,
            "sensitivities": sensitivities,
            "targets": [target for target in TARGETS if target in card.calibration],
            "limits": {name: getattr(limits, name) for name in ("files", "file_bytes", "request_bytes")},
            "card": card.document(),
        }
        return _json(told, negotiate.JSON)

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
    return Guard(app, counted, [*public, PREDICTIONS, MODEL, METRICS], token, public, hosts)


def _wish(form: negotiate.Form, heat: str | None, picture: bool) -> Wish:
    if form.media_type == negotiate.DICOM:
        return Wish(panel=heat or TARGETS[0], capture=True)
    if form.media_type == negotiate.FHIR:
        return Wish(panel=heat)
    return Wish(heat=heat, picture=picture)


def _row(finding: Finding, heat: str | None, picture: bool) -> dict[str, Any]:
    row = finding.answer.row()
    if heat:
        drawn = {"target": heat, "png": _base64(finding.heat), "responds": finding.responds}
        row["heat"] = drawn if finding.heat else None
    if picture:
        row["picture"] = _base64(finding.picture)
    return row


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _json(content: object, media_type: str) -> Response:
    return Response(json.dumps(content, allow_nan=False), media_type=media_type)


def _captures(findings: Sequence[Finding]) -> Response:
    """One DICOM file as it is, several as parts, as DICOMweb sends them."""
    files = []
    for finding in findings:
        if finding.capture is None:
            raise Refusal(
                422, f"{finding.answer.path}: {finding.answer.reason}; no secondary capture can be made"
            )
        files.append(finding.capture)
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
    return cast(Refusal, error).response()


async def _invalid(request: Request, error: Exception) -> Response:
    first = cast(RequestValidationError, error).errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return Refusal(422, f"{where}: {first['msg']}").response()


async def _broken(request: Request, error: Exception) -> Response:
    return Refusal(500, str(error)).response()


async def _failed(request: Request, error: Exception) -> Response:
    # The error itself reaches the guard, which logs where it happened.
    return Refusal(500, "the server failed; its log says where").response()
