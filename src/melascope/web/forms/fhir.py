"""Answers as FHIR resources, R4 (4.0.1) and R5 (5.0.0): a `Bundle` with a `DiagnosticReport` for each image.

A report is `preliminary`: no clinician has seen it. A refused image has an observation without value and no
probability; an unreadable file has an `OperationOutcome`. No code system has codes for the output of a network, so
codes are words, and no diagnosis is coded.
"""

import base64
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from melascope import __version__
from melascope.infer.answer import Answer
from melascope.labels import TARGETS
from melascope.model.card import INTENDED_USE, MEANING, Card
from melascope.model.decision import DIGITS
from melascope.web.analysis import Result

R4, R5 = "4.0", "5.0"
VERSIONS = (R4, R5)
_TERMS = "http://terminology.hl7.org/CodeSystem"
_DRAWN = "Image and class activation map; not evidence"

Resource = dict[str, Any]


def bundle(results: Sequence[Result], card: Card, version: str) -> Resource:
    """All results of a request.

    Args:
        results: in the order of the files.
        card: of the model.
        version: one of `VERSIONS`.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    device = _device(card, version)
    entries = [device]
    for result in results:
        if result.answer.status == "error":
            entries.append(_outcome(result.answer))
            continue
        observations = _observations(result.answer, card, device["id"], now)
        entries += [_report(result, card, observations, version, now), *observations]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": now,
        "entry": [{"fullUrl": f"urn:uuid:{entry['id']}", "resource": entry} for entry in entries],
    }


def _resource(kind: str) -> Resource:
    return {"resourceType": kind, "id": str(uuid.uuid4())}


def _device(card: Card, version: str) -> Resource:
    # `deviceName` with a `name` in R4 is `name` with a `value` in R5.
    name = "user-friendly-name"
    named: Resource = (
        {"deviceName": [{"name": card.identity, "type": name}]}
        if version == R4
        else {"name": [{"value": card.identity, "type": name}]}
    )
    return {
        **_resource("Device"),
        "status": "active",
        "manufacturer": "Melascope",
        **named,
        "version": [{"value": __version__}],
        "note": [{"text": INTENDED_USE}, {"text": f"Licence of the model: {card.license}"}],
    }


def _observations(answer: Answer, card: Card, device: str, now: str) -> list[Resource]:
    shared = {
        "status": "preliminary",
        "category": [_coded("observation-category", "imaging", "Imaging")],
        "effectiveDateTime": now,
        "issued": now,
        "device": {"reference": f"urn:uuid:{device}"},
    }
    called: Resource = {
        **_resource("Observation"),
        **shared,
        "code": {"text": "Answer of the model: malignant or benign"},
    }
    if answer.label is None:
        called["dataAbsentReason"] = {**_coded("data-absent-reason", "not-performed", "Not Performed"),
                                      "text": str(answer.reason)}  # fmt: skip
        return [called]
    called["valueCodeableConcept"] = {"text": answer.label}
    flag = ("POS", "Positive") if answer.label == "malignant" else ("NEG", "Negative")
    called["interpretation"] = [
        _coded("v3-ObservationInterpretation", *(("IND", "Indeterminate") if answer.weak else flag))
    ]
    called["note"] = [{"text": text} for text in _remarks(answer, card)]
    observations = [called]
    for target in TARGETS:
        value = getattr(answer, target)
        if value is not None:
            observations.append(
                {
                    **_resource("Observation"),
                    **shared,
                    "code": {"text": f"Calibrated {MEANING[target]}"},
                    "valueQuantity": _probability(value),
                }
            )
    called["derivedFrom"] = [{"reference": f"urn:uuid:{observations[1]['id']}"}]
    observations[1]["referenceRange"] = [
        {
            "high": _probability(answer.threshold),
            "text": f"benign below {answer.threshold:.3f}, malignant from there on",
        }
    ]
    return observations


def _probability(value: float) -> Resource:
    return {
        "value": round(value, DIGITS),
        "unit": "probability",
        "system": "http://unitsofmeasure.org",
        "code": "1",
    }


def _remarks(answer: Answer, card: Card) -> list[str]:
    point = card.points[TARGETS[0]]
    remarks = [
        f"Malignant from a probability of {answer.threshold:.3f} on, set for a sensitivity of "
        f"{100 * point.sensitivity:.0f} %."
    ]
    if answer.weak:
        remarks.append("Weak: the other answer cannot be ruled out.")
    return remarks


def _report(result: Result, card: Card, observations: Sequence[Resource], version: str, now: str) -> Resource:
    answer = result.answer
    report: Resource = {
        **_resource("DiagnosticReport"),
        "status": "preliminary",
        "code": {"text": "Automated classification of a dermoscopic image"},
        "effectiveDateTime": now,
        "issued": now,
        "result": [{"reference": f"urn:uuid:{item['id']}"} for item in observations],
        "conclusion": _conclusion(answer),
    }
    # R4 reports have no notes, so there the intended use ends the conclusion.
    if version == R4:
        report["conclusion"] += f" {INTENDED_USE}"
    else:
        report["note"] = [{"text": INTENDED_USE}]
    if result.panel and answer.label:  # the picture shows probabilities even of a refused image
        report["presentedForm"] = [_attachment(result.panel, answer.path, version)]
    return report


def _conclusion(answer: Answer) -> str:
    if answer.label is None:
        return f"{answer.path}: not classified. {answer.reason}"
    weak = ", weak: the other answer cannot be ruled out" if answer.weak else ""
    return f"{answer.path}: {answer.label}, probability {answer.confidence:.3f}{weak}."


def _attachment(png: bytes, name: str, version: str) -> Resource:
    attachment: Resource = {
        "contentType": "image/png",
        "data": base64.b64encode(png).decode("ascii"),
        "title": f"{name}: {_DRAWN}",
    }
    # An unsignedInt in R4, an integer64 in R5, which JSON holds as a string.
    attachment["size"] = len(png) if version == R4 else str(len(png))
    return attachment


def _outcome(answer: Answer) -> Resource:
    return {
        **_resource("OperationOutcome"),
        "issue": [{"severity": "error", "code": "invalid", "diagnostics": f"{answer.path}: {answer.reason}"}],
    }


def _coded(system: str, code: str, display: str) -> Resource:
    return {"coding": [{"system": f"{_TERMS}/{system}", "code": code, "display": display}]}
