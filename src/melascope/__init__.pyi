"""What type checkers and editors know of `import melascope as ms`; at run time it is loaded when first used."""

from melascope.api import Answer as Answer
from melascope.api import Answers as Answers
from melascope.api import Collection as Collection
from melascope.api import DataError as DataError
from melascope.api import Dataset as Dataset
from melascope.api import Explanation as Explanation
from melascope.api import Figure as Figure
from melascope.api import Figures as Figures
from melascope.api import ImageError as ImageError
from melascope.api import MelascopeError as MelascopeError
from melascope.api import Model as Model
from melascope.api import ModelError as ModelError
from melascope.api import Report as Report
from melascope.api import calibrate as calibrate
from melascope.api import evaluate as evaluate
from melascope.api import fetch_challenge as fetch_challenge
from melascope.api import fetch_isic as fetch_isic
from melascope.api import fetch_zips as fetch_zips
from melascope.api import hold_out as hold_out
from melascope.api import load as load
from melascope.api import prepare as prepare
from melascope.api import train as train
from melascope.api import tune as tune

__version__: str
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
