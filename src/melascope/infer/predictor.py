"""The predictor: an image in, a calibrated answer or a refusal out. ONNX Runtime does the work."""

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

_AHEAD = 4  # images a core that are in work or wait for the caller


class Predictor:
    """A model ready to answer. Use `Predictor.load`."""

    def __init__(self, card: Card, content: bytes, gate: Gate | None = None) -> None:
        self.card = card
        self._content, self._gate = content, gate
        self._all_cores = runtime.session(content)
        self._threshold = card.threshold["malignant"]

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        # Sessions cannot be sent to another process.
        return type(self), (self.card, self._content, self._gate)

    @cached_property
    def _one_core(self) -> Any:
        return runtime.session(self._content, threads=1)

    @classmethod
    def load(cls, model: str | Path, progress: Progress = silent, sensitivity: float | None = None) -> Self:
        """Load a model; it is converted first if it has no ONNX file (see `melascope.infer.conversion`).

        Args:
            model: a run folder, the `.keras` or `.onnx` file, or their stem.
            progress: called with (what, done, total) if the model is converted, which takes seconds.
            sensitivity: selects an operating point; None for the card's own.

        Raises:
            ModelError: if a file is missing, broken or belongs to another model.
        """
        stored = ModelFiles.find(model)
        card = Card.read(stored.card).at(sensitivity)
        if stored.keras.is_file() and files.sha256(stored.keras) != card.keras_sha256:
            raise ModelError(f"{stored.keras}: not the model that its card {stored.card.name} describes")
        gate = Gate.read(stored.gate, card.gate["sha256"]) if card.gate else None
        return cls(card, conversion.content(stored, card, progress), gate)

    def at(self, sensitivity: float | None) -> Self:
        """The same model at another of its operating points; both share memory. None changes nothing.

        Raises:
            ModelError: if the model has no operating point of this sensitivity.
        """
        self._one_core  # noqa: B018  # opened now, so that both models share it
        card = self.card.at(sensitivity)
        other = object.__new__(type(self))
        vars(other).update(vars(self), card=card, _threshold=card.threshold["malignant"])
        return other

    def predict(
        self, pictures: Iterable[str | Pixels], progress: Progress = silent, cores: int = CORES
    ) -> Iterator[Answer]:
        """Answer for each image, in order, as answers come; memory stays flat.

        All cores share the work on a single image. Of several images, each core takes its own from file to answer,
        which is faster: no core waits for another. A file that cannot be read gives an answer of status `error`.

        Args:
            pictures: locators of images, or their pixels, shape (height, width, 3).
            progress: called with (what, done, total).
            cores: to use for several images.
        """
        total, done = length_hint(pictures), 0
        source = iter(pictures)
        first = list(islice(source, 2))
        if len(first) < 2:
            yield from (self._answer_any(self._all_cores, picture) for picture in first)
            return
        pool = ThreadPoolExecutor(cores)
        answer = partial(self._answer_any, self._one_core)
        try:
            waiting: deque[Future[Answer]] = deque(
                pool.submit(answer, picture) for picture in chain(first, islice(source, _AHEAD * cores))
            )
            while waiting:
                ready = waiting.popleft().result()
                waiting.extend(pool.submit(answer, picture) for picture in islice(source, 1))
                yield ready
                done += 1
                progress("predicting", done, max(total, done))
        finally:
            pool.shutdown(cancel_futures=True)  # where the caller stops early

    def _answer_any(self, session: Any, picture: str | Pixels) -> Answer:
        if isinstance(picture, str):
            return self._explain(session, partial(files.read, picture), picture, at_least=0)[0]
        return self._answer(session, picture, picture.shape[1::-1], "")

    def answer_file(self, read: Callable[[], bytes], name: str) -> Answer:
        """Answer for the bytes of an image file as `predict` does, on one core; any thread may call it.

        Args:
            read: gives the bytes; an `ImageError` that it raises makes an answer of status `error`.
            name: the answer's path.
        """
        return self._explain(self._one_core, read, name, at_least=0)[0]

    def answer(self, pixels: Pixels, name: str = "") -> Answer:
        """Answer for decoded pixels, on one core; any thread may call it.

        Args:
            pixels: shape (height, width, 3).
            name: the answer's path.
        """
        height, width = pixels.shape[:2]
        return self._answer(self._one_core, pixels, (width, height), name)

    def explain(self, locator: str, at_least: int | None = None) -> tuple[Answer, Pixels | None]:
        """Answer as `predict` does for this image alone, and give the picture that its heat map belongs to.

        Args:
            locator: name of the image.
            at_least: the shorter side in pixels that the picture needs; None for the whole picture. The file is
                decoded once, unless the picture needs more pixels than the answer.

        Returns:
            The answer, and pixels of shape (height, width, 3); None where the file could not be read.
        """
        return self._explain(self._all_cores, partial(files.read, locator), locator, at_least)

    def explain_file(
        self, read: Callable[[], bytes], name: str, at_least: int | None = None
    ) -> tuple[Answer, Pixels | None]:
        """Explain the bytes of an image file, on one core; any thread may call it.

        Args:
            read: as in `answer_file`.
            name: the answer's path.
            at_least: as in `explain`.
        """
        return self._explain(self._one_core, read, name, at_least)

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
            answer = Answer(
                path=name,
                status="error",
                threshold=self._threshold,
                reason=error.reason,
                model=self.card.identity,
            )
            return answer, None
        return self._answer(session, seen, size, name), shown

    def _answer(self, session: Any, pixels: Pixels, size: tuple[int, int], name: str) -> Answer:
        measured = quality.measure(pixels, size)
        logits, heat, views = self._run(session, images.square(pixels, self.card.input_size))
        if not np.isfinite(logits).all():
            raise ModelError(f"{self.card.identity}: gives no number for an image; its weights are broken")
        reason = refusal.refusal(measured, self._gate is None or bool(self._gate.knows(views)[0]))
        probability = dict(zip(TARGETS, self.card.probability(logits)[0].tolist(), strict=True))
        malignant = probability["malignant"]
        label = confidence = weak = None
        if reason is None:
            label, confidence, weak = decide(malignant, self._threshold, self.card.prediction_sets)
        return Answer(
            path=name,
            status="refused" if reason else "ok",
            label=label,
            confidence=confidence,
            malignant=malignant,
            melanoma=probability["melanoma"] if "melanoma" in self.card.calibration else None,
            threshold=self._threshold,
            weak=weak,
            reason=reason,
            model=self.card.identity,
            heat=heat[0],
            logits=logits[0],
            quality=measured,
        )

    def gate_features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The features that a gate uses, whether or not this model has a gate; on all cores.

        Args:
            pixels: shape (N, S, S, 3), of the network's input size S.

        Returns:
            Shape (N, features).
        """
        session = self._one_core
        *_, views = session.get_outputs()
        features = np.empty((len(pixels), views.shape[1]), np.float32)
        with ThreadPoolExecutor(CORES) as pool:
            results = pool.map(partial(self._run, session, outputs=[views.name]), pixels)
            for row, (of_image,) in zip(features, results, strict=True):
                row[:] = of_image
        return features

    def _run(
        self, session: Any, image: Pixels, outputs: Sequence[str] = onnx_file.OUTPUTS
    ) -> list[NDArray[np.float32]]:
        try:
            results: list[NDArray[np.float32]] = session.run(
                list(outputs), {onnx_file.INPUT: image[None].astype(np.float32)}
            )
        except Exception as error:  # ONNX Runtime's own exception types are not public
            raise ModelError(f"{self.card.identity}: cannot be run ({one_line(error)})") from error
        return results
