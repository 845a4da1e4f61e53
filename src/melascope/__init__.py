"""Melascope: melanoma classification of dermoscopic images that does not fool you.

`import melascope as ms` gives the functions and classes of `melascope.api`. They are loaded when first used.
"""

import sys
from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"
__all__ = [  # __init__.pyi declares them for type checkers
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
_PACKAGES = {"evaluate", "prepare"}  # which share their names with functions


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'melascope' has no attribute {name!r}")
    value = getattr(import_module("melascope.api"), name)
    if name in _PACKAGES:  # `melascope.evaluate.figure` works too: the function has what the package holds
        value.__dict__ = import_module(f"melascope.{name}").__dict__
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Face(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # An import makes a package an attribute of its parent, which would hide the function of its name.
        if name not in _PACKAGES:
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
