"""The predictor: an image in, a calibrated answer or a refusal out. ONNX Runtime does the work."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from melascope import files, images, quality
from melascope.errors import ImageError, ModelError
from melascope.infer import convert, gate
from melascope.infer.answer import Answer, decide
from melascope.labels import TARGETS
from melascope.learn.card import Card
from melascope.progress import Progress, silent

_BATCH = 16


@dataclass(frozen=True)
class _Decoded:
    locator: str
    pixels: images.Pixels | None
    reason: str | None


class Predictor:
    """A model ready to answer. Use `Predictor.load`."""

    def __init__(self, card: Card, session: Any) -> None:
        self.card = card
        self._session = session
        self._temperature = np.array([card.temperature.get(target, np.nan) for target in TARGETS])

    @classmethod
    def load(cls, model: str | Path, tell: Progress = silent) -> Self:
        """Load a run folder, a `.keras` file, or the stem of one.

        The ONNX file beside it is used if it was made from the same `.keras` file. Else it is made, beside
        the model, or in the user's cache where that folder cannot be written.

        Args:
            model: the user's word for it.
            tell: hears of a conversion, which takes seconds.

        Raises:
            ModelError: if something is missing, broken or does not belong together.
        """
        keras_path = find(model)
        card = Card.read(keras_path.with_suffix(".json"))
        if keras_path.is_file() and files.sha256(keras_path) != card.keras_sha256:
            raise ModelError(f"{keras_path}: not the model that its card {keras_path.stem}.json describes")
        return cls(card, _session_for(keras_path, card, tell))

    def predict(self, locators: Iterable[str], tell: Progress = silent) -> Iterator[Answer]:
        """Answer for each image, in order, while the next ones are being decoded; memory stays flat.

        A file that cannot be read gives an answer of status `error` and stops nothing.
        """
        pool = ThreadPoolExecutor(os.cpu_count())
        total, done = length_hint(locators), 0
        source = iter(locators)
        try:
            waiting: deque[Future[_Decoded]] = deque(
                pool.submit(self._decode, locator) for locator in islice(source, 3 * _BATCH)
            )
            while waiting:
                ready = [waiting.popleft().result() for _ in range(min(_BATCH, len(waiting)))]
                waiting.extend(pool.submit(self._decode, locator) for locator in islice(source, len(ready)))
                yield from self._answer(ready)
                done += len(ready)
                tell("predicting", done, max(total, done))
        finally:
            pool.shutdown(cancel_futures=True)  # where the caller has heard enough

    def _decode(self, locator: str) -> _Decoded:
        try:
            pixels = images.decode(files.read(locator), locator, at_least=self.card.input_size)
        except ImageError as error:
            return _Decoded(locator, None, error.reason)
        return _Decoded(
            locator, images.fit(pixels, self.card.input_size), gate.refusal(quality.measure(pixels))
        )

    def _answer(self, decoded: list[_Decoded]) -> Iterator[Answer]:
        good = [item.pixels for item in decoded if item.pixels is not None]
        probabilities, heat = iter(()), iter(())
        if good:
            logits, maps = self._session.run(list(convert.OUTPUTS), {convert.INPUT: _batch(good)})
            if not np.isfinite(logits).all():
                raise ModelError(
                    f"{self.card.identity}: gives no number for an image; its weights are broken"
                )
            with np.errstate(over="ignore"):  # exp of a large logit is infinite, and 1 / that is 0
                probabilities = iter(1 / (1 + np.exp(-logits.astype(np.float64) / self._temperature)))
            heat = iter(maps)
        for item in decoded:
            if item.pixels is None:
                yield self._say(item, "error")
            else:
                status = "ok" if item.reason is None else "refused"
                yield self._say(item, status, next(probabilities), next(heat))

    def _say(
        self,
        item: _Decoded,
        status: str,
        probability: NDArray[np.float64] | None = None,
        heat: NDArray[np.float32] | None = None,
    ) -> Answer:
        threshold = float(self.card.threshold["malignant"])
        malignant = melanoma = label = confidence = weak = None
        if probability is not None:
            values = dict(zip(TARGETS, map(float, probability), strict=True))
            malignant = values["malignant"]
            melanoma = values["melanoma"] if "melanoma" in self.card.threshold else None
            if status == "ok":
                label, confidence, weak = decide(malignant, threshold)
        return Answer(
            path=item.locator,
            status=status,
            label=label,
            confidence=confidence,
            malignant=malignant,
            melanoma=melanoma,
            threshold=threshold,
            weak=weak,
            reason=item.reason,
            model=self.card.identity,
            heat=heat,
        )


def find(model: str | Path) -> Path:
    """The `.keras` path that a user's word for a model means; the file itself may be missing.

    Raises:
        ModelError: if there is neither a `.keras` nor an `.onnx` file.
    """
    path = Path(model)
    if path.is_dir():
        path = path / "model.keras"
    elif path.suffix != ".keras":
        path = path.with_name(path.name + ".keras")
    if not path.is_file() and not path.with_suffix(".onnx").is_file():
        what = "not a model" if Path(model).is_file() else "no such model"
        raise ModelError(f"{model}: {what}; give a .keras file, its stem, or a run folder")
    return path


def _session_for(keras_path: Path, card: Card, tell: Progress) -> Any:
    beside = keras_path.with_suffix(".onnx")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "melascope"
    cached = cache / f"{card.keras_sha256}.onnx"
    problem = None
    for path in (beside, cached):
        if path.is_file():
            try:
                return _open(path, card)
            except ModelError as error:
                problem = problem or error  # it is made anew, if what it was made from is there
    if problem is not None and not keras_path.is_file():
        raise problem
    target = beside if os.access(keras_path.parent, os.W_OK) else cached
    what = f"converting {keras_path.name}, once"
    tell(what, 0, 1)
    convert.to_onnx(keras_path, target)
    tell(what, 1, 1)
    return _open(target, card)


def _open(path: Path, card: Card) -> Any:
    """Open a converted model that is the card's."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors reach us as exceptions
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exception types are not public
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{path}: not a model ONNX Runtime can load ({reason})") from error
    if session.get_modelmeta().custom_metadata_map.get(convert.HASH) != card.keras_sha256:
        raise ModelError(f"{path}: not made from the model that its card describes; get its .keras file too")
    size = card.input_size
    inputs = {item.name: item.shape[1:] for item in session.get_inputs()}
    outputs = [item.name for item in session.get_outputs()]
    if inputs != {convert.INPUT: [size, size, 3]} or outputs != list(convert.OUTPUTS):
        raise ModelError(f"{path}: takes or gives something else than its card says; get its .keras file too")
    return session


def _batch(pixels: list[images.Pixels]) -> NDArray[np.float32]:
    return np.stack(pixels).astype(np.float32)
