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


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'melascope' has no attribute {name!r}")
    return getattr(import_module("melascope.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Face(ModuleType):
    """This module. `evaluate` and `prepare` are functions here, though packages bear these names too."""

    def __setattr__(self, name: str, value: object) -> None:
        # When a package is imported, Python sets it as an attribute of its parent.
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
