"""Drawn images that look like dermoscopy, with known truth, for the demo and the tests."""

from melascope.synthetic.camera import Style
from melascope.synthetic.drawing import CARCINOMA, KERATOSIS, MELANOMA, NEVUS, Drawing, draw
from melascope.synthetic.exports import Truth, write_archive

__all__ = [
    "CARCINOMA",
    "KERATOSIS",
    "MELANOMA",
    "NEVUS",
    "Drawing",
    "Style",
    "Truth",
    "draw",
    "write_archive",
]
