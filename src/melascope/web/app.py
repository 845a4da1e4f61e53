"""The application: the routes, the page's files and the checks before every request."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from melascope import __version__
from melascope.model.card import Card
from melascope.web import openapi, routes, schema
from melascope.web.analysis import Analyser
from melascope.web.assets import Asset, assets
from melascope.web.errors import HANDLERS
from melascope.web.limits import Limits
from melascope.web.metrics import Metrics
from melascope.web.queue import JobQueue
from melascope.web.security import SecurityMiddleware
from melascope.web.upload import MemoryBudget


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
        card: of the model; requests may choose any of its operating points.
        analyser: gives the results, such as a `WorkerPool`.
        workers: threads that call it at once.
        token: that requests must carry, except for the page, the description of the API and `/healthz`.
        hosts: names that browsers may use for this server; None for any.
        limits: of what is accepted.
    """
    limits = limits or Limits()
    queue, metrics = JobQueue(analyser, workers, limits.waiting), Metrics(card.identity)
    metrics.open.set_function(lambda: queue.open)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()

    # Without the documentation pages of FastAPI, whose scripts come from elsewhere.
    app = FastAPI(
        title="Melascope",
        version=__version__,
        description=f"Melanoma classification of dermoscopic images. {schema.NOTE}",
        openapi_url=routes.OPENAPI,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        exception_handlers=HANDLERS,
    )
    app.state.service = routes.Service(card, limits, queue, MemoryBudget(limits.held_bytes), metrics)
    app.include_router(routes.router)
    for path, asset in assets().items():
        app.add_route(path, partial(_send, asset), include_in_schema=False)
    openapi.complete(app, routes.PREDICTIONS, card, limits, None if token is None else [routes.HEALTH])
    public = [*assets(), routes.HEALTH, routes.OPENAPI]
    known = [*public, routes.PREDICTIONS, routes.MODEL, routes.METRICS]
    return SecurityMiddleware(app, metrics, known, token, public, hosts)


async def _send(asset: Asset, request: Request) -> Response:
    headers = {"etag": asset.etag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)
