"""What the OpenAPI description says beyond what FastAPI reads off the functions."""

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI

from melascope.web import schema
from melascope.web.forms.negotiate import DICOM, FHIR
from melascope.web.limits import Limits
from melascope.web.upload import FIELD

HEAT: dict[str, Any] = {"description": "Send the heat map of this target along."}
PICTURE: dict[str, Any] = {
    "description": "Send the image along as a browser can show it: upright, as JPEG, without metadata."
}


def _problems(**why: str) -> dict[int | str, dict[str, Any]]:
    return {
        int(code.removeprefix("s")): {"model": schema.Problem, "description": text}
        for code, text in why.items()
    }


GUARDED = _problems(
    s401="The token is missing or wrong.",
    s403="The request comes from a page of another origin.",
    s421="The server is addressed by a name that it does not know.",
)
METRICS: dict[str, Any] = {
    "responses": {
        **GUARDED,
        200: {
            "description": "Text in the format of Prometheus.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    }
}


def sensitivity(known: Collection[float]) -> dict[str, Any]:
    """Of the parameter that chooses an operating point."""
    return {
        "description": "Operating point of the model to use; without it, the card's own.",
        "json_schema_extra": {"anyOf": [{"type": "number", "enum": list(known)}, {"type": "null"}]},
        "examples": [next(iter(known))],
    }


def predictions(limits: Limits) -> dict[str, Any]:
    """Of the request that sends images: arguments of its route."""
    problems = _problems(
        s400="Not a well-formed multipart request.",
        s406="`Accept` wants a form that is not made here.",
        s408="The request took too long to arrive.",
        s413="Too large.",
        s415="Not `multipart/form-data`.",
        s422="A parameter or a part is wrong, there are too many files, or DICOM was asked for and a file could "
        "not be read.",
        s500="The model cannot be run.",
    )
    problems[503] = {
        "model": schema.Problem,
        "description": "Too much to do; try again.",
        "headers": {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}},
    }
    answered = {
        "model": schema.Predictions,
        "description": "An answer, a refusal or an error for each file, in the order sent. "
        f"`Accept: {FHIR}; fhirVersion=4.0` (or 5.0) gives a FHIR Bundle, with `heat` also the picture of it; "
        f"`Accept: {DICOM}` gives a secondary capture of each heat map.",
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
    """Say what FastAPI leaves out, once all routes are there.

    Args:
        app: the application.
        public: paths that need no token; None where there is none.
    """
    made = app.openapi()
    # FastAPI drops what is null.
    made["components"]["schemas"]["Prediction"]["examples"] = [schema.EXAMPLE]
    if public is None:
        return
    made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, item in made["paths"].items():
        if path not in public:
            for operation in item.values():
                operation["security"] = [{"token": []}]
