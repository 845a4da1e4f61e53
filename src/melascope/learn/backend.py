"""The one import of Keras. PyTorch is its backend unless `KERAS_BACKEND` names another."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
# Where TensorFlow is installed Keras loads it, whatever the backend, and it tells of the processor on standard error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

import keras

keras.utils.disable_interactive_logging()  # it would print downloads to standard output, among results

__all__ = ["keras"]
