"""The one import of Keras. PyTorch is its backend unless `KERAS_BACKEND` names another."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
# Keras loads TensorFlow with any backend, if it is installed, and TensorFlow writes about the processor to stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

import keras

keras.utils.disable_interactive_logging()  # it would print downloads to standard output, among results

__all__ = ["keras"]
