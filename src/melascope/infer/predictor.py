"""The predictor: an image in, a calibrated answer or a refusal out. ONNX Runtime does the work."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from itertools import chain, islice
from operator import length_hint
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import melascope
from melascope import files, images, quality
from melascope.errors import ImageError, ModelError, one_line
from melascope.infer import convert, gate, graph, runtime
from melascope.infer.answer import Answer, decide
from melascope.labels import TARGETS
from melascope.learn.card import Card
from melascope.learn.recogniser import Recogniser, beside
from melascope.progress import Progress, silent

SHIPPED = Path(melascope.__file__).parent / "models" / "finetuned_model"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_AHEAD = 4  # images a core that are being worked on or wait to be asked for


class Predictor:
    """A model ready to answer. Use `Predictor.load`."""

    def __init__(self, card: Card, content: bytes, recogniser: Recogniser | None = None) -> None:
        self.card = card
        self._content, self._recogniser = content, recogniser
        self._wide = runtime.session(content)
        self._threshold = card.threshold["malignant"]

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        # To another process without its sessions.
        return type(self), (self.card, self._content, self._recogniser)

    @cached_property
    def _narrow(self) -> Any:
        return runtime.session(self._content, threads=1)

    @classmethod
    def load(cls, model: str | Path, tell: Progress = silent, sensitivity: float | None = None) -> Self:
        """Load a run folder, a `.keras` file, or the stem of one.

        The ONNX file beside it is used if it was made from the same `.keras` file. Else it is made, beside
        the model, or in the user's cache where that folder cannot be written.

        Args:
            model: the user's word for it.
            tell: hears of a conversion, which takes seconds.
            sensitivity: whose operating point to use; None for the card's own.

        Raises:
            ModelError: if something is missing, broken or does not belong together.
        """
        keras_path = find(model)
        card = Card.read(keras_path.with_suffix(".json")).at(sensitivity)
        if keras_path.is_file() and files.sha256(keras_path) != card.keras_sha256:
            raise ModelError(f"{keras_path}: not the model that its card {keras_path.stem}.json describes")
        recogniser = Recogniser.read(beside(keras_path), card.gate["sha256"]) if card.gate else None
        return cls(card, _content_for(keras_path, card, tell), recogniser)

    def at(self, sensitivity: float | None) -> Self:
        """The same model at another of its operating points, sharing memory with this one; None changes nothing.

        Raises:
            ModelError: if it has no such point.
        """
        self._narrow  # noqa: B018  # opened now, or each of both would open its own
        card = self.card.at(sensitivity)
        other = object.__new__(type(self))
        vars(other).update(vars(self), card=card, _threshold=card.threshold["malignant"])
        return other

    def predict(
        self, locators: Iterable[str], tell: Progress = silent, cores: int = CORES
    ) -> Iterator[Answer]:
        """Answer for each image, in order, as answers come; memory stays flat.

        One image is shared by all cores. Of several, each core takes its own from file to answer, which gets
        more out of them than sharing does: nobody waits for another.

        A file that cannot be read gives an answer of status `error` and stops nothing.

        Args:
            locators: names of images.
            tell: hears how far it is.
            cores: to use for several images.
        """
        total, done = length_hint(locators), 0
        source = iter(locators)
        first = list(islice(source, 2))
        if len(first) < 2:
            yield from (self._judge(self._wide, locator) for locator in first)
            return
        pool = ThreadPoolExecutor(cores)
        judge = partial(self._judge, self._narrow)
        try:
            waiting: deque[Future[Answer]] = deque(
                pool.submit(judge, locator) for locator in chain(first, islice(source, _AHEAD * cores))
            )
            while waiting:
                answer = waiting.popleft().result()
                waiting.extend(pool.submit(judge, locator) for locator in islice(source, 1))
                yield answer
                done += 1
                tell("predicting", done, max(total, done))
        finally:
            pool.shutdown(cancel_futures=True)  # where the caller has heard enough

    def _judge(self, session: Any, locator: str) -> Answer:
        return self._judge_file(session, lambda: files.read(locator), locator)

    def _judge_file(self, session: Any, read: Callable[[], bytes], name: str) -> Answer:
        try:
            pixels = images.decode(read(), name, at_least=self.card.input_size)
        except ImageError as error:
            return self._say(name, "error", error.reason)
        return self._answer(session, pixels, name)

    def answer_file(self, read: Callable[[], bytes], name: str) -> Answer:
        """Answer for the bytes of an image file as `predict` does, on one core; any thread may ask.

        Args:
            read: gives the bytes; an `ImageError` that it raises is told as the answer.
            name: to be told as the answer's path.
        """
        return self._judge_file(self._narrow, read, name)

    def answer(self, pixels: images.Pixels, name: str = "") -> Answer:
        """Answer for an image that is decoded already, on one core; any thread may ask.

        Args:
            pixels: shape (height, width, 3).
            name: to be told as the answer's path.
        """
        return self._answer(self._narrow, pixels, name)

    def _answer(self, session: Any, pixels: images.Pixels, locator: str) -> Answer:
        measured = quality.measure(pixels)
        logits, heat, views = self._run(session, images.fit(pixels, self.card.input_size))
        if not np.isfinite(logits).all():
            raise ModelError(f"{self.card.identity}: gives no number for an image; its weights are broken")
        reason = gate.refusal(measured, self._recogniser is None or bool(self._recogniser.knows(views)[0]))
        return self._say(locator, "refused" if reason else "ok", reason, logits[0], heat[0])

    def views(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What a gate judges images by, whether or not this model has one; all cores share in it.

        Args:
            pixels: shape (N, S, S, 3), of the network's input size S.

        Returns:
            Shape (N, features).
        """
        session = self._narrow
        *_, views = session.get_outputs()
        found = np.empty((len(pixels), views.shape[1]), np.float32)
        with ThreadPoolExecutor(CORES) as pool:
            seen = pool.map(partial(self._run, session, outputs=[views.name]), pixels)
            for row, (of_image,) in zip(found, seen, strict=True):
                row[:] = of_image
        return found

    def _run(
        self, session: Any, image: images.Pixels, outputs: Sequence[str] = graph.OUTPUTS
    ) -> list[NDArray[np.float32]]:
        try:
            found: list[NDArray[np.float32]] = session.run(
                list(outputs), {graph.INPUT: image[None].astype(np.float32)}
            )
        except Exception as error:  # ONNX Runtime's own exception types are not public
            raise ModelError(f"{self.card.identity}: cannot be run ({one_line(error)})") from error
        return found

    def _say(
        self,
        locator: str,
        status: str,
        reason: str | None,
        logits: NDArray[np.float32] | None = None,
        heat: NDArray[np.float32] | None = None,
    ) -> Answer:
        threshold = self._threshold
        malignant = melanoma = label = confidence = weak = None
        if logits is not None:
            values = dict(zip(TARGETS, self.card.probability(logits[None])[0].tolist(), strict=True))
            malignant = values["malignant"]
            melanoma = values["melanoma"] if "melanoma" in self.card.calibration else None
            if status == "ok":
                label, confidence, weak = decide(malignant, threshold, self.card.prediction_sets)
        return Answer(
            path=locator,
            status=status,
            label=label,
            confidence=confidence,
            malignant=malignant,
            melanoma=melanoma,
            threshold=threshold,
            weak=weak,
            reason=reason,
            model=self.card.identity,
            heat=heat,
            logits=logits,
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


def _content_for(keras_path: Path, card: Card, tell: Progress) -> bytes:
    converted = keras_path.with_suffix(".onnx")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "melascope"
    cached = cache / f"{card.keras_sha256}.onnx"
    problem = None
    for path in (converted, cached):
        if path.is_file():
            try:
                return runtime.read(path, card)
            except ModelError as error:
                problem = problem or error  # it is made anew, if what it was made from is there
    if problem is not None and not keras_path.is_file():
        raise problem
    target = converted if os.access(keras_path.parent, os.W_OK) else cached
    what = f"converting {keras_path.name}, once"
    tell(what, 0, 1)
    convert.to_onnx(keras_path, target)
    tell(what, 1, 1)
    return runtime.read(target, card)
