"""Who judges the images: one thread a core, and a queue that does not grow without end."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from melascope.web.errors import Refusal, busy

T = TypeVar("T")


class Desk:
    """Runs work on images in threads; only the event loop's thread may ask."""

    def __init__(self, workers: int, room: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="judge")
        self._room = room
        self.open = 0
        """Images that wait or are being judged."""

    async def run(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Do each task in some thread; results in order.

        Raises:
            Refusal: if they do not fit into the queue, now or ever.
        """
        if len(tasks) > self._room:
            raise Refusal(422, f"more than {self._room} images; send them in several requests")
        if self.open + len(tasks) > self._room:
            raise busy("too many images are waiting")
        self.open += len(tasks)
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(self._pool, task) for task in tasks]
        for future in futures:
            future.add_done_callback(self._done)
        return list(await asyncio.gather(*futures))

    def _done(self, future: asyncio.Future[T]) -> None:
        self.open -= 1

    def close(self) -> None:
        """End the threads after what they are at."""
        self._pool.shutdown(cancel_futures=True)
