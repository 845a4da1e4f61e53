"""The job queue: batches, order, cancelled jobs, failures."""

import asyncio
import threading

import pytest

from melascope.infer.answer import Answer
from melascope.web.analysis import Job, Options, Result
from melascope.web.errors import Fault
from melascope.web.queue import JobQueue
from melascope.web.upload import Upload


def jobs(count, size=1):
    return [Job(Upload(f"{number}", bytes(size)), Options()) for number in range(count)]


def result(job):
    return Result(Answer(path=job.upload.name, status="ok", threshold=0.5, model=""))


class Blocked:
    """An analyser that waits until it may continue, and records its batches."""

    def __init__(self):
        self.may = threading.Event()
        self.batches = []

    def __call__(self, batch):
        self.batches.append([job.upload.name for job in batch])
        self.may.wait(10)
        return [result(job) for job in batch]


def run(analyser, size, sent):
    async def main():
        queue = JobQueue(analyser, size, capacity=100)
        if isinstance(analyser, Blocked):
            asyncio.get_running_loop().call_later(0.05, analyser.may.set)
        try:
            return [result.answer.path for result in await queue.run(sent)], queue.open
        finally:
            queue.close()

    names, still_open = asyncio.run(main())
    assert still_open == 0
    return names


def test_small_images_go_in_fair_batches():
    blocked = Blocked()
    assert run(blocked, 2, jobs(40)) == [str(number) for number in range(40)]
    assert [len(batch) for batch in blocked.batches[:2]] == [8, 8]
    assert sorted(int(name) for batch in blocked.batches for name in batch) == list(range(40))
    few = Blocked()
    run(few, 2, jobs(3))
    assert [len(batch) for batch in few.batches[:2]] == [1, 1]  # the other thread would be idle


def test_large_images_go_one_by_one():
    blocked = Blocked()
    run(blocked, 1, jobs(3, size=2**21))
    assert [len(batch) for batch in blocked.batches] == [1, 1, 1]


def test_cancelled_jobs_are_skipped():
    blocked = Blocked()

    async def main():
        queue = JobQueue(blocked, 1, capacity=10)
        first, cancelled, last = (asyncio.create_task(queue.run(jobs(1, size))) for size in (1, 2, 3))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        await asyncio.sleep(0)
        blocked.may.set()
        await asyncio.gather(first, last)
        assert queue.open == 0
        queue.close()

    asyncio.run(main())
    assert blocked.batches == [["0"], ["0"]]


def test_a_failed_job_fails_alone():
    def faulty(batch):
        return [Fault("here") if job.upload.name == "1" else result(job) for job in batch]

    def broken(batch):
        raise MemoryError

    with pytest.raises(Fault, match="here"):
        run(faulty, 1, jobs(3))
    with pytest.raises(MemoryError):
        run(broken, 1, jobs(3))
