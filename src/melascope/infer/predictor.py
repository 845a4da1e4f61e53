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

from melascope import files, images, quality
from melascope.errors import ImageError, ModelError, one_line
from melascope.images import CORES, Pixels
from melascope.infer import conversion, refusal, runtime
from melascope.infer.answer import Answer, decide
from melascope.labels import TARGETS
from melascope.model import onnx_file
from melascope.model.card import Card
from melascope.model.folder import ModelFiles
from melascope.model.gate import Gate
from melascope.progress import Progress, silent

_AHEAD = 4  # images a core that are being worked on or wait to be asked for


class Predictor:
    """A model ready to answer. Use `Predictor.load`."""

    def __init__(self, card: Card, content: bytes, gate: Gate | None = None) -> None:
        self.card = card
        self._content, self._gate = content, gate
        self._wide = runtime.session(content)
        self._threshold = card.threshold["malignant"]

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        # To another process without its sessions.
        return type(self), (self.card, self._content, self._gate)

    @cached_property
    def _narrow(self) -> Any:
        return runtime.session(self._content, threads=1)

    @classmethod
    def load(cls, model: str | Path, progress: Progress = silent, sensitivity: float | None = None) -> Self:
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
        stored = ModelFiles.find(model)
        keras_path = stored.keras
        card = Card.read(stored.card).at(sensitivity)
        if keras_path.is_file() and files.sha256(keras_path) != card.keras_sha256:
            raise ModelError(f"{keras_path}: not the model that its card {keras_path.stem}.json describes")
        gate = Gate.read(stored.gate, card.gate["sha256"]) if card.gate else None
        return cls(card, _content_for(keras_path, card, progress), gate)

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
        self, locators: Iterable[str], progress: Progress = silent, cores: int = CORES
    ) -> Iterator[Answer]:
        """Answer for each image, in order, as answers come; memory stays flat.

        One image is shared by all cores. Of several, each core takes its own from file to answer, which gets
        more out of them than sharing does: nobody waits for another.

        A file that cannot be read gives an answer of status `error` and stops nothing.

        Args:
            locators: names of images.
            progress: called with (what, done, total).
            cores: to use for several images.
        """
        total, done = length_hint(locators), 0
        source = iter(locators)
        first = list(islice(source, 2))
        if len(first) < 2:
            yield from (self.explain(locator, at_least=0)[0] for locator in first)
            return
        pool = ThreadPoolExecutor(cores)

        def answer(locator: str) -> Answer:
            return self.answer_file(partial(files.read, locator), locator)

        try:
            waiting: deque[Future[Answer]] = deque(
                pool.submit(answer, locator) for locator in chain(first, islice(source, _AHEAD * cores))
            )
            while waiting:
                ready = waiting.popleft().result()
                waiting.extend(pool.submit(answer, locator) for locator in islice(source, 1))
                yield ready
                done += 1
                progress("predicting", done, max(total, done))
        finally:
            pool.shutdown(cancel_futures=True)  # where the caller has heard enough

    def answer_file(self, read: Callable[[], bytes], name: str) -> Answer:
        """Answer for the bytes of an image file as `predict` does, on one core; any thread may call it.

        Args:
            read: gives the bytes; an `ImageError` that it raises makes an answer of status `error`.
            name: the answer's path.
        """
        return self._explain(self._narrow, read, name, at_least=0)[0]

    def answer(self, pixels: Pixels, name: str = "") -> Answer:
        """Answer for decoded pixels, on one core; any thread may call it.

        Args:
            pixels: shape (height, width, 3).
            name: the answer's path.
        """
        height, width = pixels.shape[:2]
        return self._answer(self._narrow, pixels, (width, height), name)

    def explain(self, locator: str, at_least: int | None = None) -> tuple[Answer, Pixels | None]:
        """Answer as `predict` does for this image alone, and give the picture that its heat map belongs to.

        Args:
            locator: name of the image.
            at_least: the shorter side in pixels that the picture needs; None for the whole picture. The file is
                decoded once, unless the picture needs more pixels than the answer.

        Returns:
            The answer, and pixels of shape (height, width, 3); None where the file could not be read.
        """
        return self._explain(self._wide, partial(files.read, locator), locator, at_least)

    def explain_file(
        self, read: Callable[[], bytes], name: str, at_least: int | None = None
    ) -> tuple[Answer, Pixels | None]:
        """Explain the bytes of an image file, on one core; any thread may call it.

        Args:
            read: as in `answer_file`.
            name: the answer's path.
            at_least: as in `explain`.
        """
        return self._explain(self._narrow, read, name, at_least)

    def _explain(
        self, session: Any, read: Callable[[], bytes], name: str, at_least: int | None
    ) -> tuple[Answer, Pixels | None]:
        try:
            data = read()
            # Whatever is shown, the answer rests on the same pixels.
            seen, size = images.decode_sized(data, name, self.card.input_size)
            shown = seen
            if seen.shape[1::-1] != size and (at_least is None or min(seen.shape[:2]) < at_least):
                shown = images.decode(data, name, at_least)
        except ImageError as error:
            return self._to_answer(name, "error", reason=error.reason), None
        return self._answer(session, seen, size, name), shown

    def _answer(self, session: Any, pixels: Pixels, size: tuple[int, int], name: str) -> Answer:
        measured = quality.measure(pixels, size)
        logits, heat, views = self._run(session, images.square(pixels, self.card.input_size))
        if not np.isfinite(logits).all():
            raise ModelError(f"{self.card.identity}: gives no number for an image; its weights are broken")
        reason = refusal.refusal(measured, self._gate is None or bool(self._gate.knows(views)[0]))
        status = "refused" if reason else "ok"
        return self._to_answer(name, status, reason=reason, logits=logits[0], heat=heat[0], quality=measured)

    def gate_features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
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
        self, session: Any, image: Pixels, outputs: Sequence[str] = onnx_file.OUTPUTS
    ) -> list[NDArray[np.float32]]:
        try:
            found: list[NDArray[np.float32]] = session.run(
                list(outputs), {onnx_file.INPUT: image[None].astype(np.float32)}
            )
        except Exception as error:  # ONNX Runtime's own exception types are not public
            raise ModelError(f"{self.card.identity}: cannot be run ({one_line(error)})") from error
        return found

    def _to_answer(
        self, name: str, status: str, logits: NDArray[np.float32] | None = None, **values: Any
    ) -> Answer:
        malignant = melanoma = label = confidence = weak = None
        if logits is not None:
            probability = dict(zip(TARGETS, self.card.probability(logits[None])[0].tolist(), strict=True))
            malignant = probability["malignant"]
            melanoma = probability["melanoma"] if "melanoma" in self.card.calibration else None
            if status == "ok":
                label, confidence, weak = decide(malignant, self._threshold, self.card.prediction_sets)
        return Answer(
            path=name,
            status=status,
            label=label,
            confidence=confidence,
            malignant=malignant,
            melanoma=melanoma,
            threshold=self._threshold,
            weak=weak,
            model=self.card.identity,
            logits=logits,
            **values,
        )


def _content_for(keras_path: Path, card: Card, progress: Progress) -> bytes:
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
    progress(what, 0, 1)
    conversion.to_onnx(keras_path, target)
    progress(what, 1, 1)
    return runtime.read(target, card)
