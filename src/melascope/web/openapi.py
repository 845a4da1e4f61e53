"""Parts of the OpenAPI description that FastAPI does not derive from the routes."""

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI

from melascope.model.card import Card
from melascope.web import schema
from melascope.web.forms.negotiate import DICOM, FHIR
from melascope.web.limits import Limits
from melascope.web.upload import FIELD

SENSITIVITY = "Operating point of the model; the card's own by default."
HEAT = "Add the heat map of this target."
PICTURE = "Add the image in a form that a browser can show: upright, as JPEG, without metadata."

_Responses = dict[int | str, dict[str, Any]]


def _problems(descriptions: dict[int, str]) -> _Responses:
    return {status: {"model": schema.Problem, "description": text} for status, text in descriptions.items()}


GUARDED = _problems(
    {
        401: "The token is missing or wrong.",
        403: "The request comes from a page of another origin.",
        421: "The host name is not one of the server's.",
    }
)
METRICS: dict[str, Any] = {
    "responses": {
        **GUARDED,
        200: {
            "description": "Metrics in the text format of Prometheus.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    }
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
PREDICTIONS: _Responses = {
    200: {
        "model": schema.Predictions,
        "description": "An answer, a refusal or an error for each file, in the order sent. "
        f"`Accept: {FHIR}; fhirVersion=4.0` (or 5.0) gives a FHIR Bundle; with `heat`, it includes the picture. "
        f"`Accept: {DICOM}` gives a secondary capture for each file.",
        "content": {
            FHIR: {"schema": {"type": "object", "required": ["resourceType", "type", "entry"]}},
            DICOM: _BINARY,
            f'multipart/related; type="{DICOM}"': _BINARY,
        },
    },
    **GUARDED,
    **_problems(
        {
            400: "Not a well-formed multipart request.",
            406: "`Accept` names no format that this server writes.",
            408: "The request took too long to arrive.",
            413: "Too large.",
            415: "Not `multipart/form-data`.",
            422: "A parameter or a part is wrong, there are too many files, or DICOM was requested and a file is "
            "unreadable.",
            500: "The model cannot be run.",
        }
    ),
    503: {
        "model": schema.Problem,
        "description": "Too busy; try again.",
        "headers": {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}},
    },
}


def complete(app: FastAPI, uploads: str, card: Card, limits: Limits, public: Collection[str] | None) -> None:
    """Add what only a running server knows, once all routes exist.

    Args:
        app: the application.
        uploads: path that takes images.
        card: of the model, whose operating points a request may choose.
        limits: of the server.
        public: paths that need no token; None if the server has no token.
    """
    description = app.openapi()
    # FastAPI drops null values from examples.
    description["components"]["schemas"]["Prediction"]["examples"] = [schema.EXAMPLE]
    post = description["paths"][uploads]["post"]
    post["requestBody"] = {
        "required": True,
        "content": {"multipart/form-data": {"schema": _body(limits)}},
    }
    (sensitivity,) = (item["schema"] for item in post["parameters"] if item["name"] == "sensitivity")
    sensitivity["anyOf"] = [{"type": "number", "enum": card.sensitivities}, {"type": "null"}]
    sensitivity["examples"] = card.sensitivities[:1]
    if public is None:
        return
    description["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, item in description["paths"].items():
        if path not in public:
            for operation in item.values():
                operation["security"] = [{"token": []}]


def _body(limits: Limits) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [FIELD],
        "additionalProperties": False,
        "properties": {
            FIELD: {
                "type": "array",
                "minItems": 1,
                "maxItems": limits.files,
                "items": {"type": "string", "format": "binary"},
                "description": f"JPEG, PNG, TIFF, BMP, WebP or DICOM, at most {limits.file_bytes // 2**20} MiB each.",
            }
        },
    }
