"""Parts of the OpenAPI description that FastAPI does not derive from the routes."""

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI

from melascope.web import schema
from melascope.web.forms.negotiate import DICOM, FHIR
from melascope.web.limits import Limits
from melascope.web.upload import FIELD

HEAT: dict[str, Any] = {"description": "Add the heat map of this target."}
PICTURE: dict[str, Any] = {
    "description": "Add the image in a form that a browser can show: upright, as JPEG, without metadata."
}


def _problems(**why: str) -> dict[int | str, dict[str, Any]]:
    return {
        int(code.removeprefix("s")): {"model": schema.Problem, "description": text}
        for code, text in why.items()
    }


GUARDED = _problems(
    s401="The token is missing or wrong.",
    s403="The request comes from a page of another origin.",
    s421="The host name is not one of the server's.",
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


def sensitivity(known: Collection[float]) -> dict[str, Any]:
    """Arguments of the parameter that chooses an operating point."""
    return {
        "description": "Operating point of the model; the card's own by default.",
        "json_schema_extra": {"anyOf": [{"type": "number", "enum": list(known)}, {"type": "null"}]},
        "examples": [next(iter(known))],
    }


def predictions(limits: Limits) -> dict[str, Any]:
    """Arguments of the route that takes images."""
    problems = _problems(
        s400="Not a well-formed multipart request.",
        s406="`Accept` names no format that this server writes.",
        s408="The request took too long to arrive.",
        s413="Too large.",
        s415="Not `multipart/form-data`.",
        s422="A parameter or a part is wrong, there are too many files, or DICOM was requested and a file is "
        "unreadable.",
        s500="The model cannot be run.",
    )
    problems[503] = {
        "model": schema.Problem,
        "description": "Too busy; try again.",
        "headers": {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}},
    }
    answered = {
        "model": schema.Predictions,
        "description": "An answer, a refusal or an error for each file, in the order sent. "
        f"`Accept: {FHIR}; fhirVersion=4.0` (or 5.0) gives a FHIR Bundle; with `heat`, it includes the picture. "
        f"`Accept: {DICOM}` gives a secondary capture for each file.",
        "content": {
            FHIR: {"schema": {"type": "object", "required": ["resourceType", "type", "entry"]}},
            DICOM: {"schema": {"type": "string", "format": "binary"}},
            f'multipart/related; type="{DICOM}"': {"schema": {"type": "string", "format": "binary"}},
        },
    }
    body = {
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
    return {
        "summary": "An answer for each image",
        "responses": {200: answered, **GUARDED, **problems},
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": body}}}
        },
    }


def complete(app: FastAPI, public: Collection[str] | None) -> None:
    """Add what FastAPI leaves out, once all routes exist.

    Args:
        app: the application.
        public: paths that need no token; None if the server has no token.
    """
    description = app.openapi()
    # FastAPI drops null values from examples.
    description["components"]["schemas"]["Prediction"]["examples"] = [schema.EXAMPLE]
    if public is None:
        return
    description["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, item in description["paths"].items():
        if path not in public:
            for operation in item.values():
                operation["security"] = [{"token": []}]
