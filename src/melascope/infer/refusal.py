"""Refuse an image that measurements show to be unfit, with a reason that a clinician understands.

The limits lie outside what dermoscopic images show. Of all dermoscopic images of three sources, with 224 or 256 pixels
on the shorter side, these are refused:

- HAM10000: 0 of 5,984
- ISIC 2017, training and validation: 0 of 2,150
- MILK10k: 6 of 5,085 (0.1 %), pale lesions that are also soft

Every tenth of these images was degraded at 224 pixels. Refused are 0.5 %, 96 % and 99.9 % after Gaussian blur of 1,
2 and 3 pixels, 99 % at a fifth of the light, 61 % at twice the light, and 98 % at a tenth of the contrast. Every
twentieth image was shrunk to 160, 128 and 100 pixels, which removes detail. Refused are 1.8 %, 4.7 % and 33 %.

These limits do not separate dermoscopy from other photographs: all 400 close-ups of MILK10k pass. The gate does that.
"""

from melascope.quality import Quality

MIN_SIDE = 100  # pixels; chosen, not measured: these sources have none below 224
MIN_SHARPNESS = 4.0
MIN_CONTRAST = 4.0
BRIGHTNESS = (40.0, 240.0)
_NOT_DERMOSCOPY = (
    "This does not look like a dermoscopic image of a skin lesion, or not like any the model was trained on."
)


def refusal(quality: Quality, passes_gate: bool = True) -> str | None:
    """The reason to refuse an image; None if there is none.

    Args:
        quality: of the image.
        passes_gate: whether the model's gate takes it for a dermoscopic image of a lesion.
    """
    if min(quality.width, quality.height) < MIN_SIDE:
        size = f"{quality.width} x {quality.height}"
        return f"The image is too small ({size} pixels; both sides need at least {MIN_SIDE})."
    if quality.brightness < BRIGHTNESS[0]:
        return "The image is too dark."
    if quality.brightness > BRIGHTNESS[1]:
        return "The image is too bright."
    if quality.contrast < MIN_CONTRAST:
        return "The image is nearly uniform: no lesion stands out from the skin."
    if quality.sharpness < MIN_SHARPNESS:
        return "The image is out of focus, or shows hardly any detail."
    return None if passes_gate else _NOT_DERMOSCOPY
