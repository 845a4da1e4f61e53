"""The one import of Keras. PyTorch is its backend unless `KERAS_BACKEND` names another."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras

__all__ = ["keras"]
