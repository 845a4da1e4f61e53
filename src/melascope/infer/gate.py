"""What is measurably not fit to judge, and why, in a sentence a clinician understands.

The limits lie outside what dermoscopic images show: of 4,000 drawn from HAM10000, ISIC 2017 and MILK10k, the
0.1 % least sharp measure 12, 6 and 4, the 0.1 % with least contrast 7, 7 and 5, and mean luminance runs from
46 to 234.
"""

from melascope.quality import Quality

MIN_SIDE = 100  # pixels: below it, network and globules are smaller than a pixel
MIN_SHARPNESS = 4.0
MIN_CONTRAST = 4.0
BRIGHTNESS = (40.0, 240.0)


def refusal(quality: Quality) -> str | None:
    """Why an image should not be judged; None if nothing speaks against it."""
    if min(quality.width, quality.height) < MIN_SIDE:
        return (
            f"The image is too small ({quality.width} x {quality.height} pixels; "
            f"at least {MIN_SIDE} on each side are needed)."
        )
    if quality.contrast < MIN_CONTRAST:
        return "The image is nearly uniform: no lesion can be told from skin."
    if quality.brightness < BRIGHTNESS[0]:
        return "The image is too dark to judge."
    if quality.brightness > BRIGHTNESS[1]:
        return "The image is too bright to judge."
    if quality.sharpness < MIN_SHARPNESS:
        return "The image is out of focus."
    return None
