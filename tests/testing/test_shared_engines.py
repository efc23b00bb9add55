"""SQLAlchemy's two kinds of engine over one connection."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, func, insert, select, text
from sqlalchemy.exc import DBAPIError, MissingGreenlet, SAWarning
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from backstay.testing.shared_engines import SharedEngines
from backstay.testing.write_turn import IsolationError
from tests.support import async_test
from tests.testing.town import EITHER, Person, Pet, town

either = pytest.mark.parametrize("kind", EITHER)


@contextmanager
def engines(kind: str, folder: Path) -> Iterator[SharedEngines]:
    with town(kind, folder) as manager:
        shared = SharedEngines(manager.engine, wait_s=5.0)
        try:
            shared.shared.begin_test()
            yield shared
            shared.shared.end_test()
        finally:
            shared.close()
        with manager.session() as session:
            assert session.scalars(select(Person)).all() == []


async def names(engine: object) -> list[str]:
    async with AsyncSession(engine) as session:  # type: ignore[arg-type]  # an AsyncEngine
        return list(await session.scalars(select(Person.name).order_by(Person.id)))


@either
@async_test
async def test_sync_and_async_sessions_see_what_the_other_has_committed(
    kind: str, tmp_path: Path
) -> None:
    with engines(kind, tmp_path) as shared:
        with Session(shared.engine) as session:
            session.add(Person(name="Ada"))
            session.commit()
        assert await names(shared.async_engine) == ["Ada"]
        async with AsyncSession(shared.async_engine) as other:
            other.add(Person(name="Bob"))
            await other.commit()
        with Session(shared.engine) as session:
            assert session.scalars(select(Person.name).order_by(Person.id)).all() == ["Ada", "Bob"]


@either
@async_test
async def test_many_sessions_in_tasks_and_threads_lose_nothing(kind: str, tmp_path: Path) -> None:
    with engines(kind, tmp_path) as shared:

        async def in_task(number: int) -> None:
            async with AsyncSession(shared.async_engine) as session:
                await session.scalar(select(func.count()).select_from(Person))
                session.add(Person(name=f"task {number}"))
                await session.flush()
                await asyncio.sleep(0)
                await (session.rollback() if number % 3 == 0 else session.commit())

        def in_thread(number: int) -> None:
            with Session(shared.engine) as session:
                session.add(Person(name=f"thread {number}"))
                session.flush()
                session.commit()

        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(in_task(number))
                group.create_task(asyncio.to_thread(in_thread, number))
        assert len(await names(shared.async_engine)) == 30 + 20


@either
@async_test
async def test_a_savepoint_that_fails_costs_only_itself(kind: str, tmp_path: Path) -> None:
    with engines(kind, tmp_path) as shared:
        async with AsyncSession(shared.async_engine) as session:
            session.add(Person(name="Ada"))
            await session.flush()
            with pytest.raises(DBAPIError):
                async with session.begin_nested():
                    await session.execute(insert(Person).values(name="Ada"))
            session.add(Person(name="Bob"))
            await session.commit()
        assert await names(shared.async_engine) == ["Ada", "Bob"]


@either
@async_test
async def test_a_lazy_load_in_async_code_fails_as_with_every_async_driver(
    kind: str, tmp_path: Path
) -> None:
    with engines(kind, tmp_path) as shared:
        async with AsyncSession(shared.async_engine) as session:
            session.add(Person(name="Ada", pets=[Pet(name="Rex")]))
            await session.commit()
            ada = (await session.scalars(select(Person))).one()
            session.expire(ada)
            await session.refresh(ada, ["name"])
            with pytest.raises(MissingGreenlet):
                _ = ada.pets


@either
@async_test
async def test_results_can_be_streamed(kind: str, tmp_path: Path) -> None:
    with engines(kind, tmp_path) as shared:
        async with AsyncSession(shared.async_engine) as session:
            session.add_all([Person(name=f"{number}") for number in range(20)])
            await session.commit()
            streamed = await session.stream(
                select(Person.id).order_by(Person.id).execution_options(yield_per=3)
            )
            assert len([row async for row in streamed]) == 20


@either
@async_test
async def test_isolation_levels_are_accepted_and_autocommit_is_what_it_says(
    kind: str, tmp_path: Path
) -> None:
    with engines(kind, tmp_path) as shared:
        alone = shared.async_engine.execution_options(isolation_level="AUTOCOMMIT")
        async with alone.connect() as connection:
            await connection.execute(insert(Person).values(name="Ada"))
        async with shared.async_engine.connect() as connection:
            await connection.execution_options(isolation_level="SERIALIZABLE")
            await connection.execute(insert(Person).values(name="Bob"))
        assert await names(shared.async_engine) == ["Ada"]


@either
@async_test
async def test_a_transaction_that_is_cancelled_lets_the_next_one_in(
    kind: str, tmp_path: Path
) -> None:
    with engines(kind, tmp_path) as shared:
        written = asyncio.Event()

        async def hold() -> None:
            async with AsyncSession(shared.async_engine) as session:
                session.add(Person(name="Ada"))
                await session.flush()
                written.set()
                await asyncio.Event().wait()

        holding = asyncio.create_task(hold())
        await written.wait()
        waiting = asyncio.create_task(names(shared.async_engine))
        await asyncio.sleep(0)
        holding.cancel()
        assert await waiting == []
        await asyncio.wait([holding])


@either
@async_test
async def test_a_session_that_is_forgotten_is_rolled_back(kind: str, tmp_path: Path) -> None:
    with engines(kind, tmp_path) as shared:

        async def forget() -> None:
            held = [await shared.async_engine.connect()]
            await held[0].execute(insert(Person).values(name="Ada"))
            with pytest.warns(SAWarning, match="garbage collector"):
                let_go_of(held)

        await forget()
        assert await names(shared.async_engine) == []


def let_go_of(held: list[object]) -> None:
    held.clear()
    gc.collect()


@either
@async_test
async def test_two_sessions_of_one_task_say_at_once_that_one_would_wait(
    kind: str, tmp_path: Path
) -> None:
    with engines(kind, tmp_path) as shared:
        async with (
            AsyncSession(shared.async_engine) as one,
            AsyncSession(shared.async_engine) as two,
        ):
            one.add(Person(name="Ada"))
            await one.flush()
            with pytest.raises(IsolationError, match=r"same task.*INSERT INTO people.*truncate"):
                await two.scalars(select(Person))
            await one.commit()
            assert len((await two.scalars(select(Person))).all()) == 1


@either
def test_the_dialects_options_and_the_listeners_of_the_connection_are_the_originals(
    kind: str, tmp_path: Path
) -> None:
    with town(kind, tmp_path) as manager:
        url = manager.database_url
        original = create_engine(url, json_serializer=repr, execution_options={"mine": 7})
        if kind == "sqlite":
            event.listen(original, "connect", lambda raw, _: raw.execute("PRAGMA cache_size=77"))
        else:
            event.listen(
                original, "connect", lambda raw, _: raw.execute("SET application_name='x'")
            )
        shared = SharedEngines(original)
        shared.shared.begin_test()
        try:
            assert shared.engine.dialect._json_serializer is repr  # type: ignore[attr-defined]
            assert shared.engine.get_execution_options()["mine"] == 7
            asked = "PRAGMA cache_size" if kind == "sqlite" else "SHOW application_name"
            with shared.engine.connect() as connection:
                found = connection.execute(text(asked)).scalar_one()
            assert found == (77 if kind == "sqlite" else "x")
        finally:
            shared.shared.end_test()
            shared.close()
            original.dispose()


def test_another_kind_of_database_is_refused_with_the_way_out() -> None:
    engine = create_engine("sqlite://")
    engine.dialect.name = "oracle"
    with pytest.raises(IsolationError, match=r"'oracle': use isolation=\"truncate\""):
        SharedEngines(engine)
