"""Bodies of the API, for its OpenAPI description. The fields of a prediction are those of `Answer`."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from melascope.infer.answer import Answer
from melascope.labels import NOTICE

NOTE = f"{NOTICE} A heat map is not evidence."
_MODEL = "my_model@0123456789ab"
EXAMPLE = Answer(
    path="lesion.jpg", status="ok", label="malignant", confidence=0.871204, malignant=0.871204, melanoma=0.610339,
    threshold=0.125, weak=False, model=_MODEL,
).row()  # fmt: skip


class Heat(BaseModel):
    """A heat map for the central square of the image."""

    target: Literal["malignant", "melanoma"]
    png: str = Field(description="A square picture with transparency, PNG in base64.")
    responds: bool = Field(description="False if no place of the image responds to the target.")


class Prediction(BaseModel):
    """The answer for one file; what `melascope predict --format jsonl` prints."""

    path: str = Field(description="The name that was sent, without folders.")
    status: Literal["ok", "refused", "error"] = Field(
        description="`refused`: decoded, but not fit for classification; `error`: could not be read."
    )
    label: Literal["malignant", "benign"] | None = Field(description="None unless the status is `ok`.")
    confidence: float | None = Field(description="Calibrated probability of the label.", ge=0, le=1)
    malignant: float | None = Field(
        description="Calibrated probability that the lesion is malignant.", ge=0, le=1
    )
    melanoma: float | None = Field(
        description="Calibrated probability that the lesion is a melanoma; None if the model was not trained for it.",
        ge=0,
        le=1,
    )
    threshold: float = Field(
        description="The label is malignant from this probability of `malignant` on.", ge=0, le=1
    )
    weak: bool | None = Field(description="Whether the other label cannot be ruled out.")
    reason: str | None = Field(description="Why an image was refused or could not be read.")
    model: str = Field(description="Name and content of the model.")
    heat: Heat | None = Field(default=None, description="Present if requested and the file could be read.")
    picture: str | None = Field(
        default=None,
        description="The upright image, at most 1024 pixels a side, JPEG in base64; present if requested.",
    )


class Predictions(BaseModel):
    """Answers in the order of the files."""

    predictions: list[Prediction]
    note: str = Field(examples=[NOTE])


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str = Field(examples=["no file; send at least one part named 'files'"])


class Model(BaseModel):
    """The model and the limits of its server."""

    identity: str = Field(examples=[_MODEL])
    note: str = Field(examples=[NOTE])
    version: str = Field(description="Version of Melascope.", examples=["1.0"])
    sensitivities: list[float] = Field(
        description="Operating points to choose from.", examples=[[0.89, 0.95]]
    )
    targets: list[str] = Field(description="Targets of heat maps and probabilities.")
    limits: dict[str, int] = Field(
        examples=[{"files": 64, "file_bytes": 67108864, "request_bytes": 268435456}]
    )
    card: dict[str, Any] = Field(description="The model's card.")


class Health(BaseModel):
    """The server is running."""

    status: Literal["ok"]
