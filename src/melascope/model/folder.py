"""The files of a model, which lie side by side and share a stem."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import melascope
from melascope import files
from melascope.errors import ModelError
from melascope.model.card import Card

SHIPPED = Path(melascope.__file__).parent / "models" / "finetuned_model"


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk: `STEM.keras`, its card `STEM.json`, `STEM.onnx` for predictions and `STEM.gate.npz`."""

    keras: Path

    @classmethod
    def find(cls, model: str | Path) -> Self:
        """The files that a user's word for a model means: a run folder, a `.keras` file, or its stem.

        Raises:
            ModelError: if there is neither a `.keras` nor an `.onnx` file.
        """
        path = Path(model)
        if path.is_dir():
            path = path / "model.keras"
        elif path.suffix != ".keras":
            path = path.with_name(path.name + ".keras")
        found = cls(path)
        if not found.keras.is_file() and not found.onnx.is_file():
            what = "not a model" if Path(model).is_file() else "no such model"
            raise ModelError(f"{model}: {what}; give a .keras file, its stem, or a run folder")
        return found

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
        """Copy network, gate and card; the card comes last, under another name, since it makes a model whole."""
        files.copy(self.keras, target.keras)
        if self.gate.is_file():
            files.copy(self.gate, target.gate)
        replace(Card.read(self.card), name=name).write(target.card)
