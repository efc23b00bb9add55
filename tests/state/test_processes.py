"""Real processes on one store: nothing is lost between them, nor when one is killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from backstay.state import State, open_store
from tests.state.stores import any_url
from tests.support import PATIENCE_S, async_test

KINDS = ["sqlite", "postgres", "redis"]


@contextmanager
def a_writer(url: str, prefix: str, name: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """Ready to go: a line on its standard input starts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.state.writing", url, prefix, name, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("kind", KINDS)
def test_processes_lose_nothing_and_never_see_each_other_s(kind: str) -> None:
    with any_url(kind) as (url, prefix):
        names = ["one", "two", "three"]
        with (
            a_writer(url, prefix, names[0], 100) as one,
            a_writer(url, prefix, names[1], 100) as two,
            a_writer(url, prefix, names[2], 100) as three,
        ):
            for process in (one, two, three):
                go(process)
            for process in (one, two, three):
                assert process.wait(PATIENCE_S) == 0

        @async_test
        async def look() -> None:
            store = await open_store(url, prefix=prefix)
            shared = State(store, "shared")
            assert await shared.get("counter") == 300
            assert await shared.get("by name") == dict.fromkeys(names, 100)
            for name in names:
                assert (await State(store, name).get("number"))["number"] == 100
            await store.close()

        look()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_set_survives_kill_9_and_nothing_is_half_written(kind: str) -> None:
    with any_url(kind) as (url, prefix):
        done = 0
        for kill_at in (1, 7, 30):
            with a_writer(url, prefix, "victim", 100_000) as process:
                go(process)
                assert process.stdout is not None
                for _ in range(kill_at):
                    process.stdout.readline()
                process.kill()
                # Whatever it had said by then was so.
                last = [int(line) for line in process.stdout.read().split()][-1:] or [kill_at]
            said = max(kill_at, *last)
            done += said

            @async_test
            async def look(said: int = said, done: int = done) -> None:
                store = await open_store(url, prefix=prefix)
                number = await State(store, "victim").get("number")
                assert number["number"] in (said, said + 1)
                assert len(number["filling"]) == number["number"] % 5000
                counter = await State(store, "shared").get("counter")
                assert done <= counter <= done + 3, "one of each kill may not have been said"
                # And the next goes on.
                assert await State(store, "shared").incr("counter", 0) == counter
                await store.close()

            look()
