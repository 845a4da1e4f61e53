"""Melascope: melanoma classification of dermoscopic images that does not fool you."""

__version__ = "0.1.0"
