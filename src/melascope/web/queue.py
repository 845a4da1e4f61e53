"""A bounded queue in front of the analysis: which image goes to which thread when."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from melascope.web.analysis import Analyser, Job, Result
from melascope.web.errors import RequestError, busy

# Where many wait, several are handed over at once, which costs little more than one. Large files go one by one.
_BATCH, _BATCH_BYTES = 8, 2**20

_Waiting = tuple[Job, asyncio.Future[Result]]


class JobQueue:
    """Hands jobs to an analyser; only the event loop's thread may use it.

    Args:
        analyser: gives the results.
        size: threads that call it at once.
        capacity: images that may wait or be analysed.
    """

    def __init__(self, analyser: Analyser, size: int, capacity: int) -> None:
        self._analyser, self._size, self._capacity = analyser, size, capacity
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="analyse")
        self._idle = size
        self._waiting: deque[_Waiting] = deque()
        self.open = 0
        """Images that wait or are being analysed."""

    async def run(self, jobs: Sequence[Job]) -> list[Result]:
        """Run all jobs; results in order.

        Raises:
            RequestError: if they do not fit into the queue, now or ever.
        """
        if len(jobs) > self._capacity:
            raise RequestError(422, f"more than {self._capacity} images; send them in several requests")
        if self.open + len(jobs) > self._capacity:
            raise busy("too many images are waiting")
        self.open += len(jobs)
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in jobs]
        for future in futures:
            future.add_done_callback(self._leave)
        self._waiting.extend(zip(jobs, futures, strict=True))
        self._dispatch()
        return list(await asyncio.gather(*futures))

    def _leave(self, future: asyncio.Future[Result]) -> None:
        self.open -= 1

    def _dispatch(self) -> None:
        while self._idle and (batch := self._batch()):
            self._idle -= 1
            running = asyncio.get_running_loop().run_in_executor(
                self._pool, self._analyser, [job for job, _ in batch]
            )
            running.add_done_callback(partial(self._finish, batch))

    def _batch(self) -> list[_Waiting]:
        """A fair share of what waits, so that no thread is idle while another has several images to do."""
        limit = max(1, min(_BATCH, len(self._waiting) // self._size))
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < limit and size <= _BATCH_BYTES:
            job, future = self._waiting.popleft()
            if not future.cancelled():
                batch.append((job, future))
                size += len(job.upload.data)
        return batch

    def _finish(self, batch: list[_Waiting], running: asyncio.Future[list[Result | Exception]]) -> None:
        self._idle += 1
        error = running.exception()
        results = [error] * len(batch) if error else running.result()
        for (_, future), result in zip(batch, results, strict=True):
            if future.cancelled():
                continue
            if isinstance(result, Result):
                future.set_result(result)
            else:
                future.set_exception(result)
        self._dispatch()

    def close(self) -> None:
        """End the threads after their current batch."""
        self._waiting.clear()
        self._pool.shutdown(cancel_futures=True)
