"""Results as the body of a response: JSON, FHIR or DICOM."""

import base64
import json
import uuid
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from melascope.labels import TARGETS
from melascope.model.card import Card
from melascope.web.analysis import Options, Result
from melascope.web.errors import RequestError
from melascope.web.forms import fhir, negotiate
from melascope.web.schema import NOTE


def options(form: negotiate.Form, sensitivity: float | None, heat: str | None, picture: bool) -> Options:
    """What the analysis must draw for a format of answers."""
    if form.media_type == negotiate.DICOM:
        return Options(sensitivity, panel=heat or TARGETS[0], capture=True)
    if form.media_type == negotiate.FHIR:
        return Options(sensitivity, panel=heat)
    return Options(sensitivity, heat, picture)


def response(form: negotiate.Form, results: Sequence[Result], options: Options, card: Card) -> Response:
    """Write results in a format.

    Args:
        form: the format.
        results: in the order of the files.
        options: of the analysis.
        card: of the model.

    Raises:
        RequestError: if the format is DICOM and a file could not be read.
    """
    if form.media_type == negotiate.FHIR:
        media_type = f"{negotiate.FHIR}; fhirVersion={form.fhir_version}"
        bundle = fhir.bundle(results, card.at(options.sensitivity), form.fhir_version)
        return _json(bundle, media_type)
    if form.media_type == negotiate.DICOM:
        return _captures(results)
    return _json({"predictions": [_row(result, options) for result in results], "note": NOTE}, negotiate.JSON)


def _json(content: object, media_type: str) -> Response:
    return Response(json.dumps(content, allow_nan=False), media_type=media_type)


def _row(result: Result, options: Options) -> dict[str, Any]:
    row = result.answer.row()
    if options.heat:
        drawn = {"target": options.heat, "png": _base64(result.heat), "responds": result.responds}
        row["heat"] = drawn if result.heat else None
    if options.picture:
        row["picture"] = _base64(result.picture)
    return row


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _captures(results: Sequence[Result]) -> Response:
    """One DICOM file as it is, several as parts, as in DICOMweb."""
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
    media_type = f'multipart/related; type="{negotiate.DICOM}"; boundary={boundary}'
    return Response(body + b"--%s--\r\n" % boundary.encode(), media_type=media_type)
