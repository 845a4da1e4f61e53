"""Who gets to judge which image when, and a queue that does not grow without end."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from melascope.web.analysis import Finding, Judging, Question
from melascope.web.errors import Refusal, busy

# What is handed over at once where many wait: it costs little more than one alone would. Files that are so large that
# handing over does not matter go one by one.
_BATCH, _BATCH_BYTES = 8, 2**20

_Waiting = tuple[Question, asyncio.Future[Finding]]


class Desk:
    """Hands questions to those who judge; only the event loop's thread may ask.

    Args:
        judging: answers.
        size: of how many threads at once.
        room: images that may wait or be judged.
    """

    def __init__(self, judging: Judging, size: int, room: int) -> None:
        self._judging, self._size, self._room = judging, size, room
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="judge")
        self._idle = size
        self._waiting: deque[_Waiting] = deque()
        self.open = 0
        """Images that wait or are being judged."""

    async def run(self, questions: Sequence[Question]) -> list[Finding]:
        """Have each answered; answers in order.

        Raises:
            Refusal: if they do not fit into the queue, now or ever.
        """
        if len(questions) > self._room:
            raise Refusal(422, f"more than {self._room} images; send them in several requests")
        if self.open + len(questions) > self._room:
            raise busy("too many images are waiting")
        self.open += len(questions)
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in questions]
        for future in futures:
            future.add_done_callback(self._done)
        self._waiting.extend(zip(questions, futures, strict=True))
        self._deal()
        return list(await asyncio.gather(*futures))

    def _done(self, future: asyncio.Future[Finding]) -> None:
        self.open -= 1

    def _deal(self) -> None:
        while self._idle and (batch := self._batch()):
            self._idle -= 1
            asked = asyncio.get_running_loop().run_in_executor(
                self._pool, self._judging, [question for question, _ in batch]
            )
            asked.add_done_callback(partial(self._told, batch))

    def _batch(self) -> list[_Waiting]:
        """A fair share of what waits, so that nobody is idle while others have much before them."""
        most = max(1, min(_BATCH, len(self._waiting) // self._size))
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < most and size <= _BATCH_BYTES:
            question, future = self._waiting.popleft()
            if not future.cancelled():
                batch.append((question, future))
                size += len(question.upload.data)
        return batch

    def _told(self, batch: list[_Waiting], asked: asyncio.Future[list[Finding | Exception]]) -> None:
        self._idle += 1
        error = asked.exception()
        answers = [error] * len(batch) if error else asked.result()
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.cancelled():
                continue
            if isinstance(answer, Finding):
                future.set_result(answer)
            else:
                future.set_exception(answer)
        self._deal()

    def close(self) -> None:
        """End the threads after what they are at."""
        self._waiting.clear()
        self._pool.shutdown(cancel_futures=True)
