"""Jobs join the transaction of a SQLAlchemy session, of any kind, or are forgotten with it."""

import asyncio
import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import PendingRollbackError
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)
from sqlalchemy.orm import (
    Session,
    scoped_session,
    sessionmaker,
)

from backstay.errors import BadJob, JobError, LedgerUnavailable
from backstay.jobs.session import (
    finish_in,
    finish_in_sync,
    insert_in,
    insert_in_sync,
    jobs_of,
    pending,
    sync_session_of,
    take,
)
from backstay.ledger.ids import new_job_id
from backstay.ledger.port import Wake
from backstay.ledger.rows import Finish, Inserted, NewJob, State
from tests.jobs.desks import (
    Desk,
    Order,
    TableLedger,
    closing_session,
    desk_of,
    every_kind,
    needs_postgres,
    now,
    plain_desk,
    postgres_desk,
    sqlite_desk,
)
from tests.support import async_test

# ---------------------------------------------------------------------- every kind of session


@every_kind
@async_test
async def test_a_commit_writes_the_order_and_its_job(kind: str, tmp_path: Path) -> None:
    async with desk_of(kind, tmp_path) as desk, closing_session(desk) as session:
        session.add(Order(id=1))
        new = desk.add(session)
        assert (desk.jobs(), desk.told) == ([], [])
        assert pending(session) == [new]
        await now(session.commit())
        assert (desk.orders(), desk.jobs()) == (["1"], ["send"])
        assert desk.told == [Inserted(new.id, True)]
        assert desk.ledger.wakes == [Wake(True, False)]
        assert pending(session) == []


@every_kind
@async_test
async def test_a_rollback_forgets_the_order_and_its_job(kind: str, tmp_path: Path) -> None:
    async with desk_of(kind, tmp_path) as desk, closing_session(desk) as session:
        session.add(Order(id=1))
        await now(session.flush())
        desk.add(session)
        await now(session.rollback())
        await now(session.commit())
        assert (desk.orders(), desk.jobs(), desk.told) == ([], [], [None])
        assert desk.ledger.wakes == []


@every_kind
@async_test
async def test_a_session_that_has_not_run_a_statement_takes_jobs(kind: str, tmp_path: Path) -> None:
    async with desk_of(kind, tmp_path) as desk, closing_session(desk) as session:
        desk.add(session, "forgotten")
        await now(session.rollback())
        desk.add(session, "written")
        await now(session.commit())
        assert desk.jobs() == ["written"]


@every_kind
@async_test
async def test_closing_without_a_commit_forgets_the_job(kind: str, tmp_path: Path) -> None:
    async with desk_of(kind, tmp_path) as desk, closing_session(desk) as session:
        desk.add(session)
        await now(session.close())
        assert desk.told == [None]
        session.add(Order(id=1))
        await now(session.commit())
        assert (desk.orders(), desk.jobs()) == (["1"], [])


@every_kind
@async_test
async def test_a_session_takes_jobs_for_one_commit_after_the_other(
    kind: str, tmp_path: Path
) -> None:
    async with desk_of(kind, tmp_path) as desk, closing_session(desk) as session:
        for number in range(3):
            session.add(Order(id=number))
            desk.add(session, f"send {number}")
            await now(session.flush())
            await now(session.commit())
        await now(session.commit())
        assert desk.jobs() == ["send 0", "send 1", "send 2"]
        assert len(desk.ledger.wakes) == len(desk.told) == 3


@every_kind
@async_test
async def test_savepoints_keep_or_forget_their_own_jobs(kind: str, tmp_path: Path) -> None:
    async with desk_of(kind, tmp_path) as desk, closing_session(desk) as session:
        session.add(Order(id=1))
        desk.add(session, "outer")
        released = await now(session.begin_nested())
        desk.add(session, "released")
        await now(released.commit())
        undone = await now(session.begin_nested())
        desk.add(session, "undone")
        inner = await now(session.begin_nested())
        desk.add(session, "released inside the undone")
        await now(inner.commit())
        await now(undone.rollback())
        assert desk.told == [None, None]
        desk.add(session, "last")
        await now(session.commit())
        assert desk.jobs() == ["outer", "released", "last"]
        assert desk.ledger.batches == [["outer", "released", "last"]], "one write for the commit"


@every_kind
@async_test
async def test_insert_in_writes_now_and_commits_with_the_session(kind: str, tmp_path: Path) -> None:
    async with desk_of(kind, tmp_path) as desk, closing_session(desk) as session:
        first, second = (NewJob(new_job_id(), name) for name in ("first", "second"))
        assert await insert_in(session, desk.ledger, [first]) == [(first.id, True)]
        assert await insert_in(session, desk.ledger, [first, second]) == [
            (first.id, False),
            (second.id, True),
        ]
        assert desk.jobs() == []
        assert desk.ledger.wakes == []
        assert (pending(session), jobs_of(session).uncommitted()) == ([], [first, second])
        await now(session.commit())
        assert jobs_of(session).uncommitted() == []
        assert desk.jobs() == ["first", "second"]
        assert desk.ledger.wakes == [Wake(True, False)]
        await insert_in(session, desk.ledger, [NewJob(new_job_id(), "third")])
        await now(session.rollback())
        assert desk.jobs() == ["first", "second"]
        assert len(desk.ledger.wakes) == 1


@every_kind
@async_test
async def test_finish_in_ends_a_claim_in_the_sessions_transaction(
    kind: str, tmp_path: Path
) -> None:
    async with desk_of(kind, tmp_path) as desk, closing_session(desk) as session:
        new = desk.add(session)
        await now(session.commit())
        finish = Finish(new.id, 1, State.SUCCEEDED)
        assert await finish_in(session, desk.ledger, finish)
        await now(session.rollback())
        assert desk.jobs() == ["send"]
        session.add(Order(id=1))
        assert await finish_in(session, desk.ledger, finish)
        assert desk.jobs() == ["send"]
        await now(session.commit())
        assert (desk.jobs(), desk.orders()) == (["done"], ["1"])
        stale = Finish(new_job_id(), 1, State.SUCCEEDED)
        assert not await finish_in(session, desk.ledger, stale)


@every_kind
@async_test
async def test_a_begin_block_commits_its_jobs_and_an_error_in_it_forgets_them(
    kind: str, tmp_path: Path
) -> None:
    async with desk_of(kind, tmp_path) as desk, closing_session(desk) as session:
        asynchronous = isinstance(session, AsyncSession)

        async def block(task: str, error: Exception | None) -> None:
            if asynchronous:
                async with session.begin():
                    desk.add(session, task)
                    if error:
                        raise error
            else:
                with session.begin():
                    desk.add(session, task)
                    if error:
                        raise error

        await block("kept", None)
        with pytest.raises(ZeroDivisionError):
            await block("forgotten", ZeroDivisionError())
        await block("kept as well", None)
        assert desk.jobs() == ["kept", "kept as well"]
        assert [each is not None for each in desk.told] == [True, False, True]


@every_kind
@async_test
async def test_a_database_without_a_ledger_fails_the_commit_and_says_so(
    kind: str, tmp_path: Path
) -> None:
    async with desk_of(kind, tmp_path) as desk, closing_session(desk) as session:
        await now(session.execute(text("DROP TABLE work")))
        await now(session.commit())
        session.add(Order(id=1))
        desk.add(session)
        with pytest.raises(JobError, match=r"has no ledger .*add_tasks\(app, database=") as caught:
            await now(session.commit())
        assert not isinstance(caught.value, LedgerUnavailable)
        assert desk.told == []
        await now(session.rollback())
        assert desk.told == [None]
        assert desk.orders() == []
        session.add(Order(id=2))
        await now(session.commit())
        assert desk.orders() == ["2"]


@every_kind
@async_test
async def test_an_order_that_cannot_be_written_takes_its_job_along(
    kind: str, tmp_path: Path
) -> None:
    async with desk_of(kind, tmp_path) as desk, closing_session(desk) as session:
        session.add(Order(id=1))
        await now(session.commit())
        await now(session.close())
        session.add(Order(id=1))
        desk.add(session)
        with pytest.raises(Exception, match="(?i)unique"):
            await now(session.commit())
        await now(session.rollback())
        assert (desk.jobs(), desk.told) == ([], [None])


# ---------------------------------------------------------------------- kinds and their names


def test_the_session_behind_any_kind_of_session_is_found() -> None:
    class ShopSession(AsyncSession):
        pass

    session = Session()
    assert sync_session_of(session) is session
    shop = ShopSession()
    assert sync_session_of(shop) is shop.sync_session
    scoped = scoped_session(sessionmaker())
    assert sync_session_of(scoped) is scoped()
    async_scoped = async_scoped_session(async_sessionmaker(), scopefunc=lambda: 1)
    assert sync_session_of(async_scoped) is async_scoped().sync_session


def test_sqlmodel_sessions_are_sessions() -> None:
    sqlmodel = pytest.importorskip("sqlmodel", reason="sqlmodel is not installed")
    session = sqlmodel.Session()
    assert sync_session_of(session) is session


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (sessionmaker(), "call it to get a session"),
        (create_engine("sqlite://"), "make a session of it"),
        ("session", "'session' of type builtins.str"),
        (None, "got None"),
        (iter(map(str, ())), "this is a generator"),
    ],
)
def test_what_is_no_session_is_refused_by_name(wrong: object, said: str) -> None:
    with pytest.raises(BadJob, match=said):
        jobs_of(wrong)


@async_test
async def test_scoped_sessions_write_like_the_session_they_stand_for(tmp_path: Path) -> None:
    async with sqlite_desk("pysqlite", tmp_path) as desk:
        maker: Any = desk.session
        scoped: Any = scoped_session(maker)
        desk.add(scoped, "by commit")
        insert_in_sync(scoped, desk.ledger, [NewJob(new_job_id(), "now")])
        await insert_in(scoped, desk.ledger, [NewJob(new_job_id(), "now too")])
        scoped.commit()
        scoped.remove()
        assert sorted(desk.jobs()) == ["by commit", "now", "now too"]


@async_test
async def test_async_scoped_sessions_write_like_the_session_they_stand_for(tmp_path: Path) -> None:
    async with sqlite_desk("aiosqlite", tmp_path) as desk:
        maker: Any = desk.session
        scoped: Any = async_scoped_session(maker, scopefunc=asyncio.current_task)
        desk.add(scoped, "by commit")
        await insert_in(scoped, desk.ledger, [NewJob(new_job_id(), "now")])
        await scoped.commit()
        await scoped.remove()
        assert sorted(desk.jobs()) == ["by commit", "now"]


@async_test
async def test_sync_code_cannot_use_an_async_session(tmp_path: Path) -> None:
    async with sqlite_desk("aiosqlite", tmp_path) as desk, closing_session(desk) as session:
        with pytest.raises(BadJob, match="sync code cannot wait for a AsyncSession"):
            insert_in_sync(session, desk.ledger, [NewJob(new_job_id(), "send")])
        with pytest.raises(BadJob, match="use a sync Session here"):
            finish_in_sync(session, desk.ledger, Finish(new_job_id(), 1, State.SUCCEEDED))


@pytest.mark.parametrize(
    ("module", "ends"),
    [
        ("backstay.jobs.session", "MissingExtra"),
        ("backstay.db", "MissingExtra"),
        ("backstay.jobs.session_scope", "imported"),
    ],
)
def test_without_sqlalchemy_the_extra_is_named_and_the_rest_works(module: str, ends: str) -> None:
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        f"try: import {module}\n"
        "except ImportError as error: print(type(error).__name__, error)\n"
        "else: print('imported')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(ends)
    assert ends == "imported" or "backstay[db]" in done.stdout


# ---------------------------------------------------------------------- the course of a transaction


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with plain_desk(tmp_path) as desk:
        yield desk


def test_a_session_without_autobegin_wants_its_block(desk: Desk) -> None:
    with desk.session(autobegin=False) as session:
        with pytest.raises(BadJob, match=r"autobegin=False.*with session.begin\(\)"):
            desk.add(session)
        with session.begin():
            desk.add(session)
        assert desk.jobs() == ["send"]


@pytest.mark.parametrize("expire", [True, False])
def test_objects_expire_on_commit_as_the_session_was_told(desk: Desk, expire: bool) -> None:
    with desk.session(expire_on_commit=expire) as session:
        order = Order(id=1)
        session.add(order)
        desk.add(session)
        session.commit()
        assert ("id" not in vars(order)) is expire


def test_committing_around_an_open_savepoint_writes_its_jobs_too(desk: Desk) -> None:
    with desk.session() as session:
        outer = session.begin()
        desk.add(session, "outer")
        session.begin_nested()
        desk.add(session, "inner")
        session.begin_nested()
        desk.add(session, "innermost")
        outer.commit()
        assert desk.jobs() == ["outer", "inner", "innermost"]


def test_committing_from_inside_savepoints_writes_everything(desk: Desk) -> None:
    with desk.session() as session:
        desk.add(session, "outer")
        session.begin_nested()
        desk.add(session, "inner")
        session.commit()
        assert desk.jobs() == ["outer", "inner"]


def test_rolling_back_around_an_open_savepoint_forgets_everything(desk: Desk) -> None:
    with desk.session() as session:
        outer = session.begin()
        desk.add(session, "outer")
        session.begin_nested()
        desk.add(session, "inner")
        outer.rollback()
        session.commit()
        assert (desk.jobs(), desk.told) == ([], [None, None])


def test_what_is_written_at_once_in_a_savepoint_goes_with_it(desk: Desk) -> None:
    with desk.session() as session:
        outer, kept, undone = (NewJob(new_job_id(), name) for name in ("outer", "kept", "undone"))
        insert_in_sync(session, desk.ledger, [outer])
        with session.begin_nested():
            insert_in_sync(session, desk.ledger, [kept])
        savepoint = session.begin_nested()
        insert_in_sync(session, desk.ledger, [undone])
        savepoint.rollback()
        assert jobs_of(session).uncommitted() == [outer, kept]
        session.commit()
        assert desk.jobs() == ["outer", "kept"]
        assert len(desk.ledger.wakes) == 1


def test_a_job_written_in_a_savepoint_that_fails_is_written_again(desk: Desk) -> None:
    with desk.session() as session:
        desk.add(session, "outer")
        middle = session.begin_nested()
        session.begin_nested()
        failing = [True]

        @event.listens_for(session, "after_commit")
        def fail(_: Session) -> None:
            if failing.pop() if failing else False:
                raise ZeroDivisionError

        # Commits the innermost on its way, in which everything is written; then it fails.
        with pytest.raises(ZeroDivisionError):
            middle.commit()
        middle.rollback()
        session.commit()
        assert desk.jobs() == ["outer"]
        assert [each is not None for each in desk.told] == [True]


def test_jobs_scheduled_by_a_listener_to_the_flush_of_a_commit_are_written(desk: Desk) -> None:
    with desk.session() as session:

        @event.listens_for(session, "after_flush")
        def announce(session: Session, _: object) -> None:
            desk.add(session, f"announce {len(session.new)}")

        session.add(Order(id=1))
        desk.add(session, "first")
        session.commit()
        assert desk.jobs() == ["first", "announce 1"]


def test_a_job_scheduled_too_late_in_a_commit_is_not_lost_in_silence(desk: Desk) -> None:
    with desk.session() as session:
        desk.add(session, "early")

        @event.listens_for(session, "before_commit", once=True)
        def too_late(session: Session) -> None:
            desk.add(session, "late")

        with pytest.raises(JobError, match="committed, but without the durable task.* 'late'"):
            session.commit()
        assert desk.jobs() == ["early"]
        assert desk.told[-1] is None
        desk.add(session, "next")
        session.commit()
        assert desk.jobs() == ["early", "next"]


def test_a_job_scheduled_after_a_failed_flush_is_forgotten_with_the_rest(desk: Desk) -> None:
    with desk.session() as session:
        session.execute(text("INSERT INTO orders VALUES (1)"))
        session.add(Order(id=1))
        with pytest.raises(Exception, match="UNIQUE"):
            session.flush()
        desk.add(session)
        with pytest.raises(PendingRollbackError):
            session.commit()
        session.rollback()
        assert desk.told == [None]
        session.commit()
        assert desk.jobs() == []


def test_a_commit_that_failed_is_tried_again_with_its_jobs(desk: Desk) -> None:
    with desk.session() as session:
        refusing = [True]

        @event.listens_for(session, "before_commit")
        def refuse(_: Session) -> None:
            if refusing:
                raise ZeroDivisionError

        desk.add(session)
        with pytest.raises(ZeroDivisionError):
            session.commit()
        assert desk.jobs() == []
        refusing.clear()
        session.commit()
        assert desk.jobs() == ["send"]
        assert len(desk.told) == 1


class TwoPhase:
    """What a dialect does in two phases, for SQLite, which has none: enough to see the order."""

    def do_begin_twophase(self, connection: Any, _: str) -> None:
        connection.exec_driver_sql("BEGIN")

    def do_prepare_twophase(self, _connection: Any, _: str) -> None:
        """Nothing to do."""

    def do_commit_twophase(self, connection: Any, _: str, *__: bool) -> None:
        connection.connection.commit()

    def do_rollback_twophase(self, connection: Any, _: str, *__: bool) -> None:
        connection.connection.rollback()


def test_a_two_phase_commit_carries_its_jobs_and_complains_of_those_that_come_too_late(
    desk: Desk,
) -> None:
    with desk.session(twophase=True) as session:
        for name in vars(TwoPhase):
            if name.startswith("do_"):
                setattr(session.bind.dialect, name, getattr(TwoPhase(), name))
        session.add(Order(id=1))
        desk.add(session, "in time")
        session.prepare()
        assert desk.jobs() == []
        session.commit()
        assert desk.jobs() == ["in time"]
        desk.add(session, "undone")
        session.prepare()
        session.rollback()
        session.add(Order(id=2))
        session.prepare()
        desk.add(session, "too late")
        with pytest.raises(JobError, match=r"'too late'.*after prepare\(\)"):
            session.commit()
        assert desk.jobs() == ["in time"]
        assert [each is not None for each in desk.told] == [True, False, False]


def test_what_is_taken_away_is_not_written(desk: Desk) -> None:
    with desk.session() as session:
        new = desk.add(session)
        session.begin_nested()
        inner = desk.add(session)
        taken = take(session)
        assert [job for job, _ in taken] == [new, inner]
        taken[0][1](None)
        assert desk.told == [None]
        session.commit()
        assert (desk.jobs(), desk.told) == ([], [None])


def test_a_teller_that_fails_keeps_nobody_from_being_told(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Inserted | None) -> None:
        raise ZeroDivisionError

    with desk.session() as session:
        jobs_of(session).add(desk.ledger, NewJob(new_job_id(), "first"), fail)
        desk.add(session)
        session.commit()
    assert len(desk.told) == len(desk.ledger.wakes) == 1
    assert "telling what became of a durable task failed" in caplog.text


def test_two_ledgers_share_one_session(desk: Desk) -> None:
    other = TableLedger(desk.ledger.url, "sqlite")
    with desk.session() as session:
        desk.add(session, "mine")
        jobs_of(session).add(other, NewJob(new_job_id(), "other"), desk.told.append)  # type: ignore[arg-type]  # all a session needs
        desk.add(session, "mine too")
        session.commit()
    assert desk.ledger.batches == [["mine", "mine too"]]
    assert other.batches == [["other"]]
    assert len(other.wakes) == len(desk.ledger.wakes) == 1


def test_a_job_that_is_there_already_wakes_nobody(desk: Desk) -> None:
    with desk.session() as session:
        new = desk.add(session)
        session.commit()
        jobs_of(session).add(desk.ledger, new, desk.told.append)
        session.commit()
    assert desk.told == [(new.id, True), (new.id, False)]
    assert len(desk.ledger.wakes) == 1


def test_each_session_has_jobs_of_its_own_even_if_info_was_copied(desk: Desk) -> None:
    with desk.session() as first:
        desk.add(first, "first")
        with desk.session(info=first.info) as second:
            desk.add(second, "second")
            assert jobs_of(second) is not jobs_of(first)
            second.commit()
        assert desk.jobs() == ["second"]


def test_sessions_with_jobs_are_garbage_when_nobody_holds_them(desk: Desk) -> None:
    def leave() -> weakref.ref[Session]:
        session = desk.session()
        desk.add(session)
        session.commit()
        session.close()
        return weakref.ref(session)

    gone = leave()
    gc.collect()
    assert gone() is None


def test_a_session_says_whether_it_keeps_others_from_writing(desk: Desk) -> None:
    with desk.session() as session:
        assert not jobs_of(session).holds_lock
        session.begin()
        assert not jobs_of(session).holds_lock
        session.add(Order(id=1))
        session.flush()
        assert jobs_of(session).holds_lock
        session.commit()
        assert not jobs_of(session).holds_lock


@async_test
async def test_an_async_session_says_so_too(tmp_path: Path) -> None:
    async with sqlite_desk("aiosqlite", tmp_path) as desk, closing_session(desk) as session:
        await session.execute(text("SELECT 1"))
        assert not jobs_of(session).holds_lock
        session.add(Order(id=1))
        await session.flush()
        assert jobs_of(session).holds_lock
        await session.rollback()
        assert not jobs_of(session).holds_lock


@needs_postgres
@async_test
async def test_a_postgresql_session_keeps_nobody_from_writing() -> None:
    async with postgres_desk("asyncpg") as desk, closing_session(desk) as session:
        session.add(Order(id=1))
        await session.flush()
        assert not jobs_of(session).holds_lock
