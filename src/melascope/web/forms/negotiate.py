"""The format of the answers that a client accepts."""

from dataclasses import dataclass

from python_multipart.multipart import parse_options_header

from melascope.web.errors import RequestError
from melascope.web.forms.fhir import R4, VERSIONS

JSON, FHIR, DICOM = "application/json", "application/fhir+json", "application/dicom"
_ANY = ("*/*", "application/*")


@dataclass(frozen=True)
class Form:
    """A media type, and for FHIR the version."""

    media_type: str
    fhir_version: str = ""


def form_of(accept: str) -> Form:
    """The supported format that an `Accept` header prefers; JSON if the header is empty.

    Raises:
        RequestError: if it accepts none of them.
    """
    accepted = [item for item in map(_preference, accept.split(",")) if item is not None]
    if not accepted:
        return Form(JSON)
    for quality, kind, options in sorted(accepted, key=lambda item: -item[0]):
        if quality <= 0:
            continue
        if kind == JSON or kind in _ANY:
            return Form(JSON)
        if kind == DICOM or (kind == "multipart/related" and options.get("type") == DICOM):
            return Form(DICOM)
        if kind == FHIR:
            version = options.get("fhirversion", R4)
            if version not in VERSIONS:
                raise RequestError(
                    406, f"FHIR {version[:20]} is not supported; fhirVersion is one of {', '.join(VERSIONS)}"
                )
            return Form(FHIR, version)
    raise RequestError(406, f"not acceptable; this server writes {JSON}, {FHIR} and {DICOM}")


def _preference(item: str) -> tuple[float, str, dict[str, str]] | None:
    kind, raw = parse_options_header(item.strip().encode("latin-1", "replace"))
    if not kind:
        return None
    options = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in raw.items()}
    try:
        quality = float(options.get("q", "1"))
    except ValueError:
        quality = 0.0
    return quality, kind.decode("latin-1").lower(), options
