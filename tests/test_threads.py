"""The threads of sync tasks."""

import asyncio
import contextvars
import logging
import subprocess
import sys
import threading

import pytest

from backstay.threads import ThreadPool
from tests.support import async_test


def variables() -> contextvars.Context:
    return contextvars.copy_context()


@async_test
async def test_values_and_errors_come_back() -> None:
    pool = ThreadPool(2, asyncio.get_running_loop())

    def fail() -> None:
        raise KeyError("x")

    assert await pool.result(pool.submit(lambda: 7, variables())) == 7
    with pytest.raises(KeyError):
        await pool.result(pool.submit(fail, variables()))
    pool.stop()


@async_test
async def test_no_more_threads_than_asked_for_and_no_fewer_than_needed() -> None:
    pool = ThreadPool(3, asyncio.get_running_loop())
    together = threading.Barrier(3)
    names: set[int] = set()

    def meet() -> None:
        names.add(threading.get_ident())
        together.wait(10)  # passes only if three threads are here at once

    await asyncio.gather(*(pool.result(pool.submit(meet, variables())) for _ in range(9)))
    assert len(names) == 3
    pool.stop()


@async_test
async def test_a_thousand_results_all_arrive() -> None:
    pool = ThreadPool(8, asyncio.get_running_loop())
    jobs = [pool.submit(lambda number=number: number, variables()) for number in range(1000)]  # type: ignore[misc]  # mypy cannot infer the default's type
    assert [await pool.result(job) for job in jobs] == list(range(1000))
    pool.stop()


@async_test
async def test_giving_up_a_job_that_has_not_started_means_it_never_does() -> None:
    pool = ThreadPool(1, asyncio.get_running_loop())
    release = threading.Event()
    ran: list[int] = []
    first = pool.submit(lambda: release.wait(10), variables())
    second = asyncio.create_task(pool.result(pool.submit(lambda: ran.append(1), variables())))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    release.set()
    await pool.result(first)
    await pool.result(pool.submit(lambda: None, variables()))
    assert ran == []
    pool.stop()


@async_test
async def test_giving_up_running_jobs_frees_their_places_and_their_failure_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = ThreadPool(2, asyncio.get_running_loop())
    release, logged = threading.Event(), threading.Event()

    class Hear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.set()

    def hang_then_fail() -> None:
        release.wait(10)
        raise ValueError("too late")

    hear = Hear()
    logging.getLogger("backstay.tasks").addHandler(hear)
    for _ in range(5):  # more than there are threads
        waiting = asyncio.create_task(pool.result(pool.submit(hang_then_fail, variables())))
        await pool.result(pool.submit(lambda: None, variables()))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    release.set()
    assert await asyncio.to_thread(logged.wait, 10)
    logging.getLogger("backstay.tasks").removeHandler(hear)
    assert await pool.result(pool.submit(lambda: "alive", variables())) == "alive"
    pool.stop()


def test_a_hanging_thread_does_not_keep_the_process_alive() -> None:
    program = """
import asyncio, contextvars, threading
from backstay.threads import ThreadPool

async def main():
    pool = ThreadPool(1, asyncio.get_running_loop())
    started = threading.Event()
    def hang():
        started.set()
        threading.Event().wait()
    pool.submit(hang, contextvars.copy_context())
    await asyncio.to_thread(started.wait)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=30, check=False)
    assert done.returncode == 0


@async_test
async def test_no_job_waits_behind_one_that_hangs_while_there_is_room_for_a_thread() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(200):  # the wrong count showed only in a window of microseconds
        pool = ThreadPool(2, loop)
        release = threading.Event()
        await pool.result(pool.submit(lambda: None, variables()))  # one thread is idle now
        hanging = pool.submit(lambda release=release: release.wait(10), variables())  # type: ignore[misc]  # mypy cannot infer the default's type
        await pool.result(pool.submit(lambda: None, variables()))
        release.set()
        await pool.result(hanging)
        pool.stop()
