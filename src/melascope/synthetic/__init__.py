"""Licence-free images that look like dermoscopy, with known truth: for the demo and the tests."""

from melascope.synthetic.archive import Truth, write_archive
from melascope.synthetic.camera import Style
from melascope.synthetic.drawing import CARCINOMA, KERATOSIS, MELANOMA, NEVUS, Drawing, draw

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
