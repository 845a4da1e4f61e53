"""The routes of the API."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from melascope import __version__
from melascope.labels import TARGETS
from melascope.model.card import Card
from melascope.web import openapi, responses, schema
from melascope.web.analysis import Job
from melascope.web.errors import RequestError, busy
from melascope.web.forms import negotiate
from melascope.web.limits import Limits
from melascope.web.metrics import Metrics
from melascope.web.queue import JobQueue
from melascope.web.upload import MemoryBudget, receive

HEALTH, METRICS, OPENAPI = "/healthz", "/metrics", "/openapi.json"
PREDICTIONS, MODEL = "/v1/predictions", "/v1/model"

router = APIRouter()


@dataclass(frozen=True)
class Service:
    """What the routes share, as `app.state.service`."""

    card: Card
    limits: Limits
    queue: JobQueue
    budget: MemoryBudget
    metrics: Metrics

    def check(self, sensitivity: float | None, heat: str | None, length: int) -> None:
        """Refuse what needs no look at the images.

        Raises:
            RequestError: if the model lacks what is requested, or there is no room for the images.
        """
        known = self.card.sensitivities
        if sensitivity is not None and sensitivity not in known:
            raise RequestError(422, f"sensitivity is one of {', '.join(f'{value:g}' for value in known)}")
        if heat is not None and heat not in self.card.calibration:
            raise RequestError(422, f"this model was not trained for {heat}")
        if length > self.limits.request_bytes:
            raise RequestError(413, f"more than {self.limits.request_bytes // 2**20} MiB", Connection="close")
        if self.queue.open >= self.limits.waiting:
            raise busy("too many images are waiting")


@router.post(PREDICTIONS, summary="An answer for each image", responses=openapi.PREDICTIONS)
async def predictions(
    request: Request,
    sensitivity: Annotated[float | None, Query(description=openapi.SENSITIVITY)] = None,
    heat: Annotated[Literal["malignant", "melanoma"] | None, Query(description=openapi.HEAT)] = None,
    picture: Annotated[bool, Query(description=openapi.PICTURE)] = False,
) -> Response:
    """Classify the images of a multipart request."""
    service: Service = request.app.state.service
    form = negotiate.form_of(request.headers.get("accept", ""))
    service.check(sensitivity, heat, int(request.headers.get("content-length", 0)))
    options = responses.options(form, sensitivity, heat, picture)
    with service.budget.reserve() as reservation:
        uploads = await receive(request, service.limits, reservation)
        results = await service.queue.run([Job(upload, options) for upload in uploads])
    for result in results:
        service.metrics.image(result.answer.status)
    return responses.response(form, results, options, service.card)


@router.get(MODEL, response_model=schema.Model, summary="The model that answers", responses=openapi.GUARDED)
async def model(request: Request) -> dict[str, Any]:
    """Describe the model and the server's limits."""
    service: Service = request.app.state.service
    card = service.card
    return {
        "identity": card.identity,
        "note": schema.NOTE,
        "version": __version__,
        "sensitivities": card.sensitivities,
        "targets": [target for target in TARGETS if target in card.calibration],
        "limits": {name: getattr(service.limits, name) for name in ("files", "file_bytes", "request_bytes")},
        "card": card.document(),
    }


@router.get(HEALTH, response_model=schema.Health, summary="Whether the server answers")
async def health() -> dict[str, str]:
    """Answer as long as the server runs."""
    return {"status": "ok"}


@router.get(METRICS, response_class=Response, summary="Counts and times for Prometheus", **openapi.METRICS)
async def metrics(request: Request) -> Response:
    """Write the metrics of this server."""
    metrics: Metrics = request.app.state.service.metrics
    return Response(metrics.text(), media_type=metrics.media_type)
