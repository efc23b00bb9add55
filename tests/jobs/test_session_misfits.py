"""Sessions that cannot carry jobs into the ledger say so, and what to do."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import (
    Session,
)

from backstay.errors import BadJob, JobError, LedgerUnavailable
from backstay.jobs.session import (
    insert_in_sync,
    jobs_of,
    pending,
)
from backstay.ledger.ids import new_job_id
from backstay.ledger.rows import NewJob
from tests.jobs.desks import (
    Desk,
    Order,
    TableLedger,
    plain_desk,
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with plain_desk(tmp_path) as desk:
        yield desk


def test_a_session_of_another_kind_of_database_is_refused_at_once(desk: Desk) -> None:
    elsewhere = TableLedger("postgresql://shop:secret@db/shop", "postgresql")
    with desk.session() as session:
        with pytest.raises(BadJob, match="speaks to 'sqlite' .* 'postgresql'") as caught:
            jobs_of(session).add(elsewhere, NewJob(new_job_id(), "send"), desk.told.append)  # type: ignore[arg-type]  # all a session needs
        assert "secret" not in str(caught.value)
        assert pending(session) == []


def test_a_session_bound_for_classes_only_fails_its_commit_with_the_remedy(desk: Desk) -> None:
    engine = desk.session.kw["bind"]  # type: ignore[attr-defined]  # a sessionmaker's
    with Session(binds={Order: engine}) as session:
        desk.add(session)
        with pytest.raises(JobError, match=r"binds for mapped classes only.*Session\(bind=engine"):
            session.commit()


def test_a_session_with_a_default_bind_beside_others_writes_there(desk: Desk) -> None:
    engine = desk.session.kw["bind"]  # type: ignore[attr-defined]  # a sessionmaker's
    with Session(bind=engine, binds={Order: create_engine("sqlite://")}) as session:
        desk.add(session)
        session.commit()
    assert desk.jobs() == ["send"]


def test_a_session_that_routes_writes_is_told_that_this_is_one(desk: Desk) -> None:
    engine = desk.session.kw["bind"]  # type: ignore[attr-defined]  # a sessionmaker's
    replica = create_engine("sqlite://")

    class RoutingSession(Session):
        def get_bind(self, mapper: Any = None, clause: Any = None, **_: Any) -> Engine:
            # As in SQLAlchemy's documentation, "custom vertical partitioning".
            from sqlalchemy import Delete, Update

            if self._flushing or isinstance(clause, Update | Delete):
                return engine  # type: ignore[no-any-return]  # of the fixture
            return replica

    with RoutingSession() as session:
        desk.add(session)
        session.commit()
    assert desk.jobs() == ["send"]


def test_wrong_use_of_a_session_keeps_sqlalchemys_own_message(desk: Desk) -> None:
    with desk.session(twophase=False) as session:
        session.execute(text("INSERT INTO orders VALUES (1)"))
        session.add(Order(id=1))
        with pytest.raises(Exception, match="UNIQUE"):
            session.flush()
        with pytest.raises(InvalidRequestError, match="rolled back"):
            insert_in_sync(session, desk.ledger, [NewJob(new_job_id(), "send")])


def test_a_locked_database_fails_the_commit_as_unavailable(tmp_path: Path, desk: Desk) -> None:
    engine = create_engine(desk.ledger.url, connect_args={"timeout": 0.01})
    with (
        closing(sqlite3.connect(desk.ledger.url.removeprefix("sqlite:///"))) as other,
        Session(engine) as session,
    ):
        other.execute("BEGIN IMMEDIATE")
        desk.add(session)
        with pytest.raises(LedgerUnavailable, match="locked.*tried again"):
            session.commit()
        other.rollback()
        session.rollback()
    engine.dispose()
    assert (desk.jobs(), desk.told) == ([], [None])
