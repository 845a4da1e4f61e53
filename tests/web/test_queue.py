"""The queue: who is handed how much, and what nobody waits for any more."""

import asyncio
import threading

import pytest

from melascope.infer.answer import Answer
from melascope.web.analysis import Finding, Question, Wish
from melascope.web.errors import Fault
from melascope.web.queue import Desk
from melascope.web.upload import Upload


def questions(count: int, size: int = 1) -> list[Question]:
    return [Question(Upload(f"{number}", bytes(size)), None, Wish()) for number in range(count)]


def finding(question: Question) -> Finding:
    return Finding(Answer(question.upload.name, "ok", None, None, None, None, 0.5, None, None, ""))


class Slow:
    """Judges once it may, and keeps what it was handed."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.handed: list[list[str]] = []

    def __call__(self, asked):
        self.handed.append([question.upload.name for question in asked])
        self.may.wait(10)
        return [finding(question) for question in asked]


def ask(judging, size: int, asked: list[Question]) -> list[str]:
    async def run():
        desk = Desk(judging, size, room=100)
        if isinstance(judging, Slow):
            asyncio.get_running_loop().call_later(0.05, judging.may.set)
        try:
            return [told.answer.path for told in await desk.run(asked)], desk.open
        finally:
            desk.close()

    names, still_open = asyncio.run(run())
    assert still_open == 0
    return names


def test_many_small_images_are_handed_over_together_and_fairly():
    slow = Slow()
    assert ask(slow, 2, questions(40)) == [str(number) for number in range(40)]
    assert [len(batch) for batch in slow.handed[:2]] == [8, 8]
    assert sorted(int(name) for batch in slow.handed for name in batch) == list(range(40))
    few = Slow()
    ask(few, 2, questions(3))
    assert [len(batch) for batch in few.handed[:2]] == [1, 1]  # the other would have nothing to do


def test_large_images_go_one_by_one():
    slow = Slow()
    ask(slow, 1, questions(3, size=2**21))
    assert [len(batch) for batch in slow.handed] == [1, 1, 1]


def test_what_nobody_waits_for_is_not_judged():
    slow = Slow()

    async def run():
        desk = Desk(slow, 1, room=10)
        first, left, last = (asyncio.create_task(desk.run(questions(1, size))) for size in (1, 2, 3))
        await asyncio.sleep(0.01)
        left.cancel()
        await asyncio.sleep(0)
        slow.may.set()
        await asyncio.gather(first, last)
        assert desk.open == 0
        desk.close()

    asyncio.run(run())
    assert slow.handed == [["0"], ["0"]]


def test_one_that_fails_fails_alone():
    def judging(asked):
        return [Fault("here") if question.upload.name == "1" else finding(question) for question in asked]

    def broken(asked):
        raise MemoryError

    with pytest.raises(Fault, match="here"):
        ask(judging, 1, questions(3))
    with pytest.raises(MemoryError):
        ask(broken, 1, questions(3))
