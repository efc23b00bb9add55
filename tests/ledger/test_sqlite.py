"""The SQLite engine where it differs from others: files, processes, threads."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BadJob, LedgerMismatch, LedgerUnavailable
from backstay.ledger import (
    Claims,
    Finish,
    JobFilter,
    NewJob,
    ProgressReport,
    QueueRow,
    State,
    Tick,
    UniqueKey,
    Wake,
    WorkerRow,
    new_job_id,
)
from backstay.ledger.sqlite import SqliteLedger
from backstay.ledger.wake_sockets import directory_for
from tests.support import async_test

WORKER = WorkerRow(id="w", host="here", pid=1, lease_s=30, concurrency=9, queues=("default",))


def job(**options: Any) -> NewJob:
    return NewJob(new_job_id(), "app:work", **options)


@contextlib.asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(url, **options)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.db"


@contextlib.contextmanager
def process(code: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Another Python, spoken to by lines; killed at the end."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


async def line_of(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return (await asyncio.to_thread(child.stdout.readline)).strip()


def say(child: "subprocess.Popen[str]", line: str) -> None:
    assert child.stdin is not None
    child.stdin.write(line + "\n")
    child.stdin.flush()


def rows_in(url: str) -> int:
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        (count,) = connection.execute("SELECT count(*) FROM backstay_jobs").fetchone()
        return int(count)


# ---------------------------------------------------------------------- life


@async_test
async def test_a_ledger_in_memory_lives_from_open_to_close() -> None:
    ledger = SqliteLedger("memory://")
    await ledger.open()
    await ledger.insert([job()])
    assert len(await ledger.find(JobFilter())) == 1
    await ledger.close()
    await ledger.open()
    assert await ledger.find(JobFilter()) == []
    await ledger.close()


@async_test
async def test_two_ledgers_in_memory_know_nothing_of_each_other() -> None:
    async with opened("memory://") as one, opened("sqlite://") as other:
        await one.insert([job()])
        assert await other.find(JobFilter()) == []


@async_test
async def test_the_driver_in_the_url_does_not_matter(tmp_path: Path) -> None:
    async with opened(f"sqlite+aiosqlite:///{tmp_path}/jobs.db") as ledger:
        await ledger.insert([job()])
    assert rows_in(f"sqlite:///{tmp_path}/jobs.db") == 1


@async_test
async def test_a_path_without_a_leading_slash_is_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened("sqlite:///jobs.db"):
        assert (tmp_path / "jobs.db").is_file()


@async_test
async def test_it_can_be_opened_and_closed_again_and_again(url: str) -> None:
    ledger = SqliteLedger(url)
    for _ in range(3):
        await ledger.open()
        await ledger.open()
        await ledger.insert([job()])
        await ledger.close()
        await ledger.close()
    assert rows_in(url) == 3


@async_test
async def test_closing_finishes_what_was_handed_in(url: str) -> None:
    ledger = SqliteLedger(url)
    await ledger.open()
    waiting = [asyncio.ensure_future(ledger.insert([job()])) for _ in range(20)]
    await asyncio.sleep(0)
    await ledger.close()
    await asyncio.gather(*waiting)
    assert rows_in(url) == 20


@async_test
async def test_one_that_is_not_open_says_so(url: str) -> None:
    ledger = SqliteLedger(url)
    with pytest.raises(LedgerUnavailable, match=r"not open: `await ledger\.open\(\)`"):
        await ledger.insert([job()])
    with pytest.raises(LedgerUnavailable, match="not open"):
        ledger.insert_now([job()])
    with pytest.raises(LedgerUnavailable, match="not open"):
        await ledger.counts()


@async_test
async def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match=r"no directory '.*/nowhere'; create it"):
        await SqliteLedger(f"sqlite:///{tmp_path}/nowhere/jobs.db").open()


@async_test
async def test_a_file_that_is_no_database_is_refused_and_not_touched(
    url: str, tmp_path: Path
) -> None:
    (tmp_path / "jobs.db").write_bytes(b"minutes of the meeting\n" * 100)
    with pytest.raises(LedgerMismatch, match=r"jobs\.db is no SQLite database"):
        await SqliteLedger(url).open()
    assert (tmp_path / "jobs.db").read_bytes() == b"minutes of the meeting\n" * 100


@async_test
async def test_foreign_tables_in_the_same_file_are_left_alone(url: str, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        connection.execute("CREATE TABLE jobs (id)")
        connection.execute("INSERT INTO jobs VALUES (7)")
        connection.commit()
    async with opened(url) as ledger:
        await ledger.insert([job()])
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        assert connection.execute("SELECT id FROM jobs").fetchall() == [(7,)]


@async_test
async def test_prefixes_keep_ledgers_apart(url: str) -> None:
    async with opened(url) as one, opened(url, prefix="other_") as other:
        await one.insert([job()])
        assert await other.find(JobFilter()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@async_test
async def test_a_file_that_may_only_be_read_can_be_looked_at(url: str, tmp_path: Path) -> None:
    async with opened(url) as ledger:
        await ledger.insert([job()])
    (tmp_path / "jobs.db").chmod(0o400)
    async with opened(url) as ledger:
        assert len(await ledger.find(JobFilter())) == 1
        with pytest.raises(LedgerUnavailable, match="let this user write"):
            await ledger.insert([job()])


@async_test
async def test_a_fork_is_told_that_it_must_open_its_own(url: str) -> None:
    async with opened(url) as ledger:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:  # pragma: no cover  # the child is not measured
            try:
                ledger.insert_now([job()])
            except LedgerUnavailable as error:
                os.write(writing, str(error).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        message = os.read(reading, 1000).decode()
        os.close(reading)
        os.close(writing)
        assert f"opened by process {os.getpid()}" in message
        assert "does not survive a fork" in message


# ---------------------------------------------------------------------- sharing commits


@async_test
async def test_concurrent_inserts_share_a_commit(url: str) -> None:
    async with opened(url) as ledger:
        assert ledger.writer is not None
        before = ledger.writer.commits
        with ledger.writer.lock:
            waiting = [asyncio.ensure_future(ledger.insert([job()])) for _ in range(64)]
            while ledger.writer.waiting < 63:  # the first is in the writer's hands
                await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        assert ledger.writer.commits == before + 1
    assert rows_in(url) == 64


@async_test
async def test_everything_that_writes_shares_the_commit(url: str) -> None:
    async with opened(url) as ledger:
        await ledger.register(WORKER)
        await ledger.insert([job() for _ in range(3)])
        first = (await ledger.claim("w", {"default": 1})).jobs[0]
        assert ledger.writer is not None
        before = ledger.writer.commits
        heart = ledger.heart(WORKER)
        with ledger.writer.lock:
            calls: list[Any] = [
                ledger.insert([job()]),
                ledger.claim("w", {"default": 1}),
                ledger.finish([Finish(first.id, first.fence, State.SUCCEEDED)]),
                ledger.insert([job(unique=UniqueKey("k"))]),
                asyncio.to_thread(heart.beat),
                asyncio.to_thread(ledger.insert_now, [job()]),
            ]
            waiting = [asyncio.ensure_future(call) for call in calls]
            while ledger.writer.waiting < len(calls) - 1:
                await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        assert ledger.writer.commits == before + 1


@async_test
async def test_one_that_fails_harms_nobody_it_shares_a_commit_with(url: str) -> None:
    known = job()
    async with opened(url) as ledger:
        await ledger.insert([known])
        assert ledger.writer is not None
        with ledger.writer.lock:
            good = asyncio.ensure_future(ledger.insert([job(), job()]))
            # No UTF-8, so it cannot be written at all.
            bad = asyncio.ensure_future(ledger.insert([job(), job(args='"\ud800"')]))
            again = asyncio.ensure_future(ledger.insert([known, job()]))
            keyed = asyncio.ensure_future(ledger.insert([job(unique=UniqueKey("k"))]))
            while ledger.writer.waiting < 3:
                await asyncio.sleep(0)
        assert [each.created for each in await good] == [True, True]
        with pytest.raises(BadJob, match="cannot be stored in SQLite"):
            await bad
        assert [each.created for each in await again] == [False, True]
        assert [each.created for each in await keyed] == [True]
    assert rows_in(url) == 5


@async_test
async def test_a_stale_claim_harms_none_it_shares_a_commit_with(url: str) -> None:
    async with opened(url) as ledger:
        await ledger.register(WORKER)
        await ledger.insert([job() for _ in range(4)])
        held = (await ledger.claim("w", {"default": 4})).jobs
        finishes = [Finish(each.id, each.fence, State.SUCCEEDED) for each in held]
        finishes[1].fence += 1
        assert await ledger.finish(finishes) == {held[1].id}
        assert {each.state for each in (await ledger.get([each.id for each in held])).values()} == {
            State.SUCCEEDED,
            State.RUNNING,
        }


@async_test
async def test_insert_now_works_from_many_threads_at_once(url: str) -> None:
    async with opened(url) as ledger:

        def some() -> None:
            for _ in range(25):
                (inserted,) = ledger.insert_now([job()])
                assert inserted.created

        await asyncio.gather(*[asyncio.to_thread(some) for _ in range(8)])
    assert rows_in(url) == 200


@async_test
async def test_insert_now_needs_no_turn_of_the_event_loop(url: str) -> None:
    async with opened(url) as ledger:
        ledger.insert_now([job()])  # in the loop's own thread
        thread = threading.Thread(target=ledger.insert_now, args=([job()],))
        thread.start()
        thread.join()  # the loop stands still
        assert rows_in(url) == 2


@async_test
async def test_a_heart_beats_while_the_event_loop_is_blocked(url: str) -> None:
    async with opened(url) as ledger:
        await ledger.register(WORKER)
        beats = []
        heart = ledger.heart(WORKER)
        thread = threading.Thread(target=lambda: beats.append(heart.beat()))
        thread.start()
        thread.join()
        assert beats[0].known
        heart.close()


@async_test
async def test_a_claim_that_nobody_waits_for_any_more_is_handed_back(url: str) -> None:
    async with opened(url) as ledger:
        await ledger.register(WORKER)
        await ledger.insert([job()])
        assert ledger.writer is not None
        with ledger.writer.lock:
            asking = asyncio.ensure_future(ledger.claim("w", {"default": 1}))
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        claims = Claims([], None, False)
        while not claims.jobs:
            claims = await ledger.claim("w", {"default": 1})
        assert claims.jobs[0].attempt == 1


# ---------------------------------------------------------------------- trouble


@async_test
async def test_a_lock_that_is_held_too_long_is_an_error_and_then_it_goes_on(
    url: str, tmp_path: Path
) -> None:
    async with opened(url, patience_s=0.02) as ledger:
        with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerUnavailable, match=r"jobs\.db .*locked.*0\.02 s: find who"):
                await ledger.insert([job()])
            with pytest.raises(LedgerUnavailable, match="locked"):
                ledger.insert_now([job(), job()])
            assert await ledger.find(JobFilter()) == []
            connection.rollback()
        await ledger.insert([job()])
    assert rows_in(url) == 1


@async_test
async def test_a_lock_of_another_process_is_waited_for(url: str, tmp_path: Path) -> None:
    code = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""
    async with opened(url) as ledger:
        with process(code, str(tmp_path / "jobs.db")) as child:
            assert await line_of(child) == "held"
            inserting = asyncio.ensure_future(ledger.insert([job()]))
            done, _ = await asyncio.wait([inserting], timeout=0.01)
            assert not done
            say(child, "let go")
            await inserting
    assert rows_in(url) == 1


@async_test
async def test_a_full_disk_is_an_error_and_then_it_goes_on(url: str) -> None:
    async with opened(url) as ledger:
        assert ledger.writer is not None
        with ledger.writer.lock:
            raw = ledger.writer.connection.ready()
            (pages,) = raw.execute("PRAGMA page_count").fetchone()
            raw.execute(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(LedgerUnavailable, match=r"full.*free some space"):
            await ledger.insert([job(args='"' + "x" * 60_000 + '"')])
        assert await ledger.find(JobFilter()) == []
        await ledger.insert([job()])  # a small one still fits
        with ledger.writer.lock:
            raw.execute("PRAGMA max_page_count = 1000000")
        await ledger.insert([job(args='"' + "x" * 60_000 + '"')])
    assert rows_in(url) == 2


@async_test
async def test_a_file_that_was_deleted_is_not_written_to(url: str, tmp_path: Path) -> None:
    async with opened(url) as ledger:
        await ledger.insert([job()])
        (tmp_path / "jobs.db").unlink()
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match="has been deleted since it was opened"):
                await ledger.insert([job()])
        with pytest.raises(LedgerUnavailable, match="has been deleted"):
            await ledger.find(JobFilter())


@async_test
async def test_a_file_that_was_replaced_is_named_once_and_then_used(
    url: str, tmp_path: Path
) -> None:
    async with opened(f"sqlite:///{tmp_path}/new.db"):
        pass
    async with opened(url) as ledger:
        await ledger.insert([job()])
        for rest in ("-wal", "-shm"):
            (tmp_path / f"jobs.db{rest}").unlink()
        (tmp_path / "new.db").replace(tmp_path / "jobs.db")
        with pytest.raises(LedgerUnavailable, match="has been replaced by another file"):
            await ledger.insert([job()])
        await ledger.insert([job()])
    assert rows_in(url) == 1


@async_test
async def test_text_that_cannot_be_read_does_not_stop_claiming(url: str, tmp_path: Path) -> None:
    broken, good = job(), job()
    async with opened(url) as ledger:
        await ledger.register(WORKER)
        await ledger.insert([broken, good])
        with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
            connection.execute(
                "UPDATE backstay_jobs SET args = CAST(x'fffe' AS TEXT), meta = x'00', "
                "created_at = 'soon', errors = 'none' WHERE id = ?",
                (broken.id.bytes,),
            )
            connection.commit()
        claims = await ledger.claim("w", {"default": 2})
        assert {each.id for each in claims.jobs} == {broken.id, good.id}
        row = (await ledger.get([broken.id]))[broken.id]
        assert row.corrupt
        held = next(each for each in claims.jobs if each.id == broken.id)
        finish = Finish(held.id, held.fence, State.DISCARDED, error='{"type": "Unreadable"}')
        assert await ledger.finish([finish]) == set()
        row = (await ledger.get([broken.id]))[broken.id]
        assert row.errors == ({"type": "Unreadable"},)


# ---------------------------------------------------------------------- other processes

INSERTER = """
import asyncio, sys
from backstay.ledger import NewJob, Wake, new_job_id
from backstay.ledger.sqlite import SqliteLedger

async def main():
    ledger = SqliteLedger(sys.argv[1])
    await ledger.open()
    print("open", flush=True)
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        if line == "insert":
            await ledger.insert([NewJob(new_job_id(), "app:work")])
        elif line == "tell":
            ledger.tell(Wake(False, True))
        print("done", flush=True)
    await ledger.close()

asyncio.run(main())
"""


def listen(ledger: SqliteLedger) -> Callable[[], "asyncio.Future[Wake]"]:
    """Await the returned for the next wake."""
    queue: asyncio.Queue[Wake] = asyncio.Queue()
    ledger.on_wake(queue.put_nowait)
    return lambda: asyncio.ensure_future(queue.get())


@async_test
async def test_other_processes_are_woken_by_inserts(url: str) -> None:
    async with opened(url) as ledger:
        next_wake = listen(ledger)
        with process(INSERTER, url) as child:
            assert await line_of(child) == "open"
            say(child, "insert")
            assert await next_wake() == Wake(enqueued=True, cancelled=False)
            assert len(await ledger.find(JobFilter())) == 1
            assert await line_of(child) == "done"
            say(child, "tell")
            assert await next_wake() == Wake(enqueued=False, cancelled=True)


@async_test
async def test_a_process_is_woken_by_what_it_does_itself(url: str) -> None:
    async with opened(url) as ledger, opened("memory://") as private:
        for each in (ledger, private):
            next_wake = listen(each)
            await each.insert([job()])
            assert await next_wake() == Wake(enqueued=True, cancelled=False)
            await asyncio.to_thread(each.insert_now, [job()])
            assert await next_wake() == Wake(enqueued=True, cancelled=False)
            await asyncio.to_thread(each.tell, Wake(False, True))
            assert await next_wake() == Wake(enqueued=False, cancelled=True)


@async_test
async def test_finishing_wakes_only_if_it_makes_work(url: str) -> None:
    async with opened(url) as ledger:
        await ledger.register(WORKER)
        parent = job()
        await ledger.insert([parent, job(after=(parent.id,)), job(queue="other")])
        (alone,) = (await ledger.claim("w", {"other": 1})).jobs
        (held,) = (await ledger.claim("w", {"default": 5})).jobs
        wakes: list[Wake] = []
        ledger.on_wake(wakes.append)
        await ledger.finish([Finish(alone.id, alone.fence, State.SUCCEEDED)])
        assert await ledger.queues() == []
        assert wakes == []
        next_wake = listen(ledger)
        await ledger.finish([Finish(held.id, held.fence, State.SUCCEEDED)])
        assert (await next_wake()).enqueued


@async_test
async def test_no_sockets_are_left_behind(url: str, tmp_path: Path) -> None:
    async with opened(url) as ledger:
        ledger.on_wake(lambda wake: None)
        sockets = Path(directory_for(str(tmp_path / "jobs.db")))  # elsewhere if this path is long
        assert len(list(sockets.iterdir())) == 1
        ledger.on_wake(None)
        assert not sockets.exists()
        ledger.on_wake(lambda wake: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jobs.db"]


OPENER = """
import asyncio, sys
from backstay.ledger import NewJob, new_job_id
from backstay.ledger.sqlite import SqliteLedger

async def main():
    ledger = SqliteLedger(sys.argv[1])
    sys.stdin.readline()
    await ledger.open()
    await ledger.insert([NewJob(new_job_id(), "app:work")])
    await ledger.close()
    print("done", flush=True)

print("ready", flush=True)
asyncio.run(main())
"""


@async_test
async def test_several_processes_may_open_a_new_file_at_once(url: str) -> None:
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(process(OPENER, url)) for _ in range(4)]
        for child in children:
            assert await line_of(child) == "ready"
        for child in children:
            say(child, "go")
        for child in children:
            assert await line_of(child) == "done"
    assert rows_in(url) == 4


FLOOD = """
import asyncio, sys
from backstay.ledger import NewJob, new_job_id
from backstay.ledger.sqlite import SqliteLedger

async def main():
    ledger = SqliteLedger(sys.argv[1])
    await ledger.open()

    async def insert():
        while True:
            (inserted,) = await ledger.insert([NewJob(new_job_id(), "app:work")])
            print(inserted.id, flush=True)

    await asyncio.gather(*[insert() for _ in range(8)])

asyncio.run(main())
"""


@async_test
async def test_what_was_accepted_survives_kill_9(url: str) -> None:
    with process(FLOOD, url) as child:
        accepted = [await line_of(child) for _ in range(100)]
        child.send_signal(signal.SIGKILL)
        rest, _ = await asyncio.to_thread(child.communicate)
        # The last line may be torn.
        accepted += [line for line in rest.splitlines() if len(line) == 36]
    async with opened(url) as ledger:
        rows = {str(each.id) for each in await ledger.find(JobFilter(), limit=10**6)}
    assert set(accepted) <= rows
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# ---------------------------------------------------------------------- somebody's session


@async_test
async def test_jobs_are_written_and_ended_in_somebody_elses_transaction(
    url: str, tmp_path: Path
) -> None:
    async with opened(url) as ledger:
        await ledger.register(WORKER)
        first = job()
        await ledger.insert([first])
        (held,) = (await ledger.claim("w", {"default": 1})).jobs
        # Python's own way of transactions, as SQLAlchemy's pysqlite uses it.
        with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:

            def execute(statement: str, parameters: Any) -> list[tuple[Any, ...]]:
                return connection.execute(statement, parameters).fetchall()

            for end in (connection.rollback, connection.commit):
                child = job(after=(first.id,))
                inserted = ledger.insert_through(
                    execute, [job(), job(unique=UniqueKey("k")), child, job(delay_s=60)]
                )
                assert all(each.created for each in inserted)
                finish = Finish(held.id, held.fence, State.SUCCEEDED, result="1", then=(job(),))
                assert ledger.finish_through(execute, finish)
                assert not ledger.finish_through(execute, finish)
                assert connection.in_transaction
                end()
                known = await ledger.get([child.id, first.id])
                if end == connection.rollback:
                    assert [each.state for each in known.values()] == [State.RUNNING]
            assert known[first.id].state is State.SUCCEEDED
            assert known[child.id].state is State.AVAILABLE
            (again,) = ledger.insert_through(execute, [job(unique=UniqueKey("k"))])
            assert again == (inserted[1].id, False)
    assert rows_in(url) == 6


# ---------------------------------------------------------------------- the clock


@async_test
async def test_time_is_what_the_given_clock_says() -> None:
    present = [datetime(2030, 1, 1, tzinfo=UTC)]
    async with opened("memory://", now=lambda: present[0]) as ledger:
        assert await ledger.now() == present[0]
        await ledger.register(WORKER)
        await ledger.insert([job(delay_s=60)])
        claims = await ledger.claim("w", {"default": 1})
        assert claims == ([], 60.0, False)
        present[0] += timedelta(seconds=60)
        assert len((await ledger.claim("w", {"default": 1})).jobs) == 1
        present[0] += timedelta(seconds=31)
        (orphan,) = await ledger.orphans()
        assert orphan.worker == "w"


@async_test
async def test_without_a_clock_it_is_the_machines() -> None:
    async with opened("memory://") as ledger:
        assert abs((await ledger.now()).timestamp() - time.time()) < 60


# ---------------------------------------------------------------------- the rest of the port


@async_test
async def test_steering_goes_through_the_writer_and_looking_sees_it(url: str) -> None:
    async with opened(url) as ledger:
        assert ledger.url == url
        assert ledger.dialect == "sqlite"
        assert await ledger.insert([]) == []
        assert ledger.insert_now([]) == []
        assert await ledger.finish([]) == set()
        await ledger.progress([])
        await ledger.register(WORKER)
        assert [each.id for each in await ledger.workers()] == ["w"]
        await ledger.declare([QueueRow(name="default", limit=2)])
        await ledger.pause("default", True)
        assert (await ledger.queues())[0].paused_at is not None
        await ledger.pause("default", False)
        at = datetime(2030, 1, 1, tzinfo=UTC)
        assert await ledger.tick(Tick(name="daily", previous=None, at=at, jobs=(job(),)))
        assert not await ledger.tick(Tick(name="daily", previous=None, at=at, jobs=(job(),)))
        assert await ledger.last_tick("daily") == at
        (held,) = (await ledger.claim("w", {"default": 5})).jobs
        await ledger.progress([ProgressReport(held.id, held.fence, '{"done": 1}')])
        assert (await ledger.get([held.id]))[held.id].progress == {"done": 1}
        assert await ledger.cancel(held.id, "enough") is State.RUNNING
        assert await ledger.cancel_requests("w") == [held.id]
        await ledger.unregister("w")
        assert [each.id for each in await ledger.orphans()] == [held.id]
        await ledger.finish([Finish(held.id, held.fence, State.CANCELLED)])
        assert await ledger.requeue(JobFilter()) == [held.id]
        assert await ledger.cancel(held.id, "enough") is State.AVAILABLE
        assert [(each.state, each.jobs) for each in await ledger.counts()] == [(State.CANCELLED, 1)]
        assert await ledger.parents(held.id) == []
        assert await ledger.prune(3600) == 0
        assert await ledger.delete(JobFilter()) == 1
