"""The face of Melascope: what `import melascope as ms` offers.

Data sets, models and reports are taken as paths, or as the objects that these functions return. An error that a user
can mend is a `MelascopeError` of one sentence. `progress`, where it is taken, is called with (what, done, total);
without it, nothing is printed.
"""

from melascope.api.data import Collection, Dataset, fetch_challenge, fetch_isic, fetch_zips, prepare
from melascope.api.model import Answer, Answers, Explanation, Model, load
from melascope.api.report import Figures, Report, evaluate
from melascope.api.training import calibrate, hold_out, train, tune
from melascope.errors import DataError, ImageError, MelascopeError, ModelError
from melascope.intervals import Figure

__all__ = [
    "Answer",
    "Answers",
    "Collection",
    "DataError",
    "Dataset",
    "Explanation",
    "Figure",
    "Figures",
    "ImageError",
    "MelascopeError",
    "Model",
    "ModelError",
    "Report",
    "calibrate",
    "evaluate",
    "fetch_challenge",
    "fetch_isic",
    "fetch_zips",
    "hold_out",
    "load",
    "prepare",
    "train",
    "tune",
]
