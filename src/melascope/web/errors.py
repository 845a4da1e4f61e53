"""The errors a client can cause. Each is an HTTP status and one sentence."""

import traceback

from starlette.responses import JSONResponse


class Refusal(Exception):  # noqa: N818  # not a fault: an answer of the protocol
    """A request that is not answered.

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
        """What the client is told."""
        return JSONResponse({"detail": self.detail}, self.status, self.headers)


def busy(detail: str) -> Refusal:
    """Too much at once; worth another try after a second."""
    return Refusal(503, f"{detail}; try again in a second", Retry_After="1")


class Fault(Exception):  # noqa: N818  # says where, and no more
    """A mistake of ours in another process, told by its type and place."""


def place(error: Exception) -> str:
    """A mistake's type and place; its message may tell of the image."""
    if isinstance(error, Fault):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {where.filename}, line {where.lineno}"
