"""What the API says, for its OpenAPI description. The fields of a prediction are those of `Answer`."""

from typing import Any, Literal

from pydantic import BaseModel, Field

NOTE = "A research tool: it supports a clinician and never replaces one. A heat map is not evidence."
EXAMPLE: dict[str, Any] = {
    "path": "lesion.jpg",
    "status": "ok",
    "label": "malignant",
    "confidence": 0.871204,
    "malignant": 0.871204,
    "melanoma": 0.610339,
    "threshold": 0.12857,
    "weak": False,
    "reason": None,
    "model": "finetuned_model@c51fed5632da",
}


class Heat(BaseModel):
    """A heat map for the central square of the image."""

    target: Literal["malignant", "melanoma"]
    png: str = Field(description="A square picture with transparency, PNG, in base64.")
    responds: bool = Field(description="False where no place of the image speaks for the target.")


class Prediction(BaseModel):
    """The answer for one file; what `melascope predict --format jsonl` prints."""

    path: str = Field(description="The name that was sent, without folders.")
    status: Literal["ok", "refused", "error"] = Field(
        description="`refused`: decoded, but not fit to judge; `error`: could not be read."
    )
    label: Literal["malignant", "benign"] | None = Field(description="None unless the status is `ok`.")
    confidence: float | None = Field(description="Calibrated probability of the label.", ge=0, le=1)
    malignant: float | None = Field(description="Calibrated probability that it is malignant.", ge=0, le=1)
    melanoma: float | None = Field(
        description="Calibrated probability that it is a melanoma; None where the model did not learn it.",
        ge=0,
        le=1,
    )
    threshold: float = Field(description="From this probability on, the label is malignant.", ge=0, le=1)
    weak: bool | None = Field(description="Whether the other label cannot be ruled out.")
    reason: str | None = Field(description="Why an image was refused or could not be read.")
    model: str = Field(description="Name and content of the model.")
    heat: Heat | None = Field(default=None, description="There if asked for and the file could be read.")
    picture: str | None = Field(
        default=None,
        description="The image upright, at most 1024 pixels, JPEG, in base64; there if asked for.",
    )


class Predictions(BaseModel):
    """Answers in the order of the files."""

    predictions: list[Prediction]
    note: str = Field(examples=[NOTE])


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str = Field(examples=["no file; send at least one part named 'files'"])


class Model(BaseModel):
    """The model that answers."""

    identity: str = Field(examples=["finetuned_model@c51fed5632da"])
    note: str = Field(examples=[NOTE])
    version: str = Field(description="Of Melascope.", examples=["1.0"])
    sensitivities: list[float] = Field(
        description="Operating points to choose from.", examples=[[0.89, 0.95]]
    )
    targets: list[str] = Field(description="What heat maps and probabilities there are for.")
    limits: dict[str, int] = Field(
        examples=[{"files": 64, "file_bytes": 67108864, "request_bytes": 268435456}]
    )
    card: dict[str, Any] = Field(description="All of the model's card.")


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"]
