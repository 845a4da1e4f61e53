"""What is measurably not fit to judge, and why, in a sentence a clinician understands.

The limits are set outside what dermoscopic images show. Of all dermoscopic images of three sources, 224
or 256 pixels on the shorter side, the gate refuses

- HAM10000: 0 of 5,984;
- ISIC 2017, training and validation: 0 of 2,150;
- MILK10k: 6 of 5,085 (0.1 %), pale lesions that are also soft.

Of every tenth of these images, spoilt on purpose at 224 pixels, it refuses 96 % after Gaussian blur of 2
pixels and 99.9 % of 3 (1 pixel: 0.5 %), 99 % at a fifth of the light, 61 % at twice it and 98 % with a tenth of
the contrast. Of every twentieth, shrunk to 160, 128 and 100 pixels and so robbed of detail, it refuses 1.8 %,
4.7 % and 33 %. It does not tell dermoscopy from other photographs: it takes all 400 close-ups of MILK10k.
"""

from melascope.quality import Quality

MIN_SIDE = 100  # pixels; chosen, not measured: these sources have none below 224
MIN_SHARPNESS = 4.0
MIN_CONTRAST = 4.0
BRIGHTNESS = (40.0, 240.0)
_STRANGE = "This does not look like a dermoscopic image of a skin lesion, or like none that the model knows."


def refusal(quality: Quality, recognised: bool = True) -> str | None:
    """Why an image should not be judged; None if nothing speaks against it.

    Args:
        quality: of the image.
        recognised: whether the model's recogniser takes it for a dermoscopic image of a lesion.
    """
    if min(quality.width, quality.height) < MIN_SIDE:
        size = f"{quality.width} x {quality.height}"
        return f"The image is too small ({size} pixels; both sides need at least {MIN_SIDE})."
    if quality.brightness < BRIGHTNESS[0]:
        return "The image is too dark to judge."
    if quality.brightness > BRIGHTNESS[1]:
        return "The image is too bright to judge."
    if quality.contrast < MIN_CONTRAST:
        return "The image is nearly uniform: no lesion can be told from skin."
    if quality.sharpness < MIN_SHARPNESS:
        return "The image is out of focus, or shows hardly any detail."
    return None if recognised else _STRANGE
