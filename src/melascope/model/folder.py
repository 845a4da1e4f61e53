"""The files of a model, which lie side by side and share a stem."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import melascope
from melascope import files
from melascope.errors import ModelError
from melascope.model.card import Card

HINT = "give a .keras or .onnx file, its stem, or a run folder"
MODEL = "model"
"""Name of the best model in a run folder."""
SHIPPED = Path(melascope.__file__).parent / "models" / "finetuned_model"


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk: `STEM.keras`, its card `STEM.json`, `STEM.onnx` for predictions and `STEM.gate.npz`."""

    keras: Path

    @classmethod
    def of(cls, run: Path, name: str = MODEL) -> Self:
        """The model of this name in a run folder, whether or not it is there."""
        return cls(run / f"{name}.keras")

    @classmethod
    def find(cls, model: str | Path) -> Self:
        """The files of a model as a user names it: a run folder, the `.keras` or `.onnx` file, or their stem.

        Raises:
            ModelError: if there is neither a `.keras` nor an `.onnx` file.
        """
        path = Path(model)
        if path.is_dir():
            stored = cls.of(path)
        elif path.suffix in (".keras", ".onnx"):
            stored = cls(path.with_suffix(".keras"))
        else:
            stored = cls.of(path.parent, path.name)
        if not stored.keras.is_file() and not stored.onnx.is_file():
            what = "not a model" if path.is_file() else "no such model"
            raise ModelError(f"{model}: {what}; {HINT}")
        return stored

    @property
    def card(self) -> Path:
        """The model card."""
        return self.keras.with_suffix(".json")

    @property
    def onnx(self) -> Path:
        """The converted network."""
        return self.keras.with_suffix(".onnx")

    @property
    def gate(self) -> Path:
        """The gate; missing where the model has none."""
        return self.keras.with_suffix(".gate.npz")

    def copy(self, target: Self, name: str) -> None:
        """Copy all files that are there, and last the card, under another name: it makes a model complete."""
        pairs = ((self.keras, target.keras), (self.onnx, target.onnx), (self.gate, target.gate))
        for source, path in pairs:
            if source.is_file():
                files.copy(source, path)
        replace(Card.read(self.card), name=name).write(target.card)
