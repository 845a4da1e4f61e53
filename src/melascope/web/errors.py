"""Errors that a client or the server itself causes. A `RequestError` is an HTTP status and one sentence."""

import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from melascope.errors import ModelError


class RequestError(Exception):
    """A request that cannot be answered.

    Attributes:
        status: HTTP status code.
        detail: why, and the way out, for a person.
        headers: that belong to the status.
    """

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> JSONResponse:
        """What the client gets."""
        return JSONResponse({"detail": self.detail}, self.status, self.headers)


def busy(detail: str) -> RequestError:
    """Too much at once; the client may try again after a second."""
    return RequestError(503, f"{detail}; try again in a second", Retry_After="1")


class Fault(Exception):  # noqa: N818  # says where, and no more
    """A bug that showed itself in another process, as type and place."""


def place(error: Exception) -> str:
    """Type and place of an error, without its message, which may say something about the image."""
    if isinstance(error, Fault):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {where.filename}, line {where.lineno}"


def _invalid(error: RequestValidationError) -> RequestError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return RequestError(422, f"{where}: {first['msg']}")


_Handler = Callable[[Request, Exception], Coroutine[Any, Any, Response]]


def _handler(translate: Callable[[Any], RequestError]) -> _Handler:
    async def handle(request: Request, error: Exception) -> Response:
        return translate(error).response()

    return handle


HANDLERS: dict[int | type[Exception], _Handler] = {
    RequestError: _handler(lambda error: error),
    RequestValidationError: _handler(_invalid),
    ModelError: _handler(lambda error: RequestError(500, str(error))),
    # The error itself reaches the middleware, which logs its place.
    Exception: _handler(lambda error: RequestError(500, "internal error; the server's log says where")),
}
"""How the application answers after an exception."""
