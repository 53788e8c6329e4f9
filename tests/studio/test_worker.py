"""One question at a time, in another process."""

import asyncio
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import lagrangian as lg
from lagrangian.studio.worker import Worker


@pytest.fixture
def worker():
    one = Worker()
    yield one
    one.close()


def run(answer):
    """In a thread of its own: the browser's loop may be running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, answer).result()


async def every(answers):
    return [part async for part in answers]


def test_parts_come_in_order_and_the_process_is_kept(worker):
    async def twice():
        return [await every(worker.answers(with_process, n)) for n in (3, 2)]

    (process, *first), (again, *second) = run(twice())
    assert (first, second) == ([0, 1, 2], [0, 1])
    assert process == again != os.getpid()


def test_a_new_question_ends_the_old_one(worker):
    async def both():
        old = asyncio.create_task(every(worker.answers(endless)))
        await asyncio.sleep(2)
        new = await every(worker.answers(with_process, 1))
        return await old, new

    old, new = run(both())
    assert old[0] != new[0]
    assert new[1:] == [0]
    with pytest.raises(ProcessLookupError):
        os.kill(old[0], 0)


def test_stopping_ends_it_without_a_word(worker):
    async def stopped():
        task = asyncio.create_task(every(worker.answers(endless)))
        await asyncio.sleep(2)
        worker.stop()
        return await task, await every(worker.answers(with_process, 1))

    old, new = run(stopped())
    assert old[0] != new[0]


def test_errors_come_back(worker):
    with pytest.raises(lg.LagrangianError, match="wrong: 3"):
        run(every(worker.answers(refusing)))
    with pytest.raises(lg.LagrangianError, match="unforeseen: ZeroDivisionError"):
        run(every(worker.answers(careless)))
    assert run(every(worker.answers(with_process, 1)))[1:] == [0]


def test_a_process_that_dies_is_said_to_and_replaced(worker):
    with pytest.raises(lg.LagrangianError, match="ended from outside"):
        run(every(worker.answers(dying)))
    assert run(every(worker.answers(with_process, 1)))[1:] == [0]


def with_process(count):
    yield os.getpid()
    yield from range(count)


def endless():
    yield os.getpid()
    while True:
        time.sleep(0.1)


def refusing():
    yield 1
    raise lg.LagrangianError("wrong: 3")


def careless():
    yield 1 / 0


def dying():
    yield 1
    os.kill(os.getpid(), signal.SIGKILL)
