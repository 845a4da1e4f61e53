"""The one import of Keras. PyTorch is its backend unless `KERAS_BACKEND` names another."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras

keras.utils.disable_interactive_logging()  # it would print downloads to standard output, among results

__all__ = ["keras"]
