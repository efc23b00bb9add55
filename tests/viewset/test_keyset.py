"""Keysets: whoever turns all pages sees every row that stayed, once."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay.viewset.cursors import Cursors, Position
from backstay.viewset.keyset import Keyset
from backstay.viewset.ordering import Order, Ordering
from backstay.viewset.pages import Page, Question
from backstay.viewset.paginators import CursorPaginator
from tests.viewset.shelves import STORES, State, Store, opened

pytestmark = pytest.mark.filterwarnings("ignore:Dialect sqlite:sqlalchemy.exc.SAWarning")

CURSORS = Cursors(["a key that is long enough"])


class Base(DeclarativeBase):
    pass


class Thing(Base):
    """A column of every kind that rows are ordered by, with and without nulls."""

    __tablename__ = "things"
    __table_args__ = (sa.Index("by_number", "number", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]
    maybe: Mapped[int | None]
    name: Mapped[str | None]
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(10, 2))
    weight: Mapped[float | None]
    thin: Mapped[float | None] = mapped_column(sa.REAL)
    at: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))
    day: Mapped[date | None]
    token: Mapped[uuid.UUID | None]
    rush: Mapped[bool | None]
    state: Mapped[State | None]
    blob: Mapped[bytes | None]
    made: Mapped[datetime] = mapped_column(
        sa.DateTime(timezone=True), server_default=sa.func.current_timestamp()
    )


class ThingOut(BaseModel):
    id: int


COLUMNS = [each.key for each in sa.inspect(Thing).column_attrs]
ORDERING = Ordering.build(Thing, ThingOut, COLUMNS)
BASE = sa.select(Thing.id)


@pytest.fixture(scope="module", params=STORES)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    with opened(request.param, tmp_path_factory.mktemp("keyset"), Base) as store:
        yield store


things = st.fixed_dictionaries(
    {
        "number": st.integers(0, 3),
        "maybe": st.none() | st.integers(0, 2),
        "name": st.none() | st.text("abÄ€ '%", max_size=2),
        "price": st.none() | st.decimals(0, 3, places=2),
        "weight": st.none() | st.sampled_from([0.1, 1e-300, 1e300, -0.0, 1 / 3]),
        "thin": st.none() | st.sampled_from([0.1, 0.2, 1 / 3]),
        "at": st.none()
        | st.integers(0, 3).map(
            lambda each: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(microseconds=each * 333)
        ),
        "day": st.none() | st.integers(1, 3).map(lambda each: date(2024, 1, each)),
        "token": st.none() | st.integers(0, 2).map(lambda each: uuid.UUID(int=each)),
        "rush": st.none() | st.booleans(),
        "state": st.none() | st.sampled_from(State),
        "blob": st.none() | st.binary(max_size=1),
    }
)
sorts = st.lists(st.sampled_from(COLUMNS), max_size=3, unique=True).flatmap(
    lambda names: st.tuples(*(st.sampled_from([each, f"-{each}"]) for each in names))
)


def put(store: Store, rows: Sequence[dict[str, Any]], *, first_id: int = 1) -> None:
    if rows:
        with store.filler.begin() as connection:
            numbered = [{"id": first_id + index, **row} for index, row in enumerate(rows)]
            connection.execute(sa.insert(Thing), numbered)


@contextmanager
def emptied(store: Store) -> Iterator[None]:
    with store.filler.begin() as connection:
        connection.execute(sa.delete(Thing))
    yield


def turn(
    store: Store, pages: CursorPaginator, order: Order, size: int, cursor: str | None
) -> tuple[Page, list[int]]:
    values: dict[str, Any] = {"size": size} | ({} if cursor is None else {"cursor": cursor})
    question = Question(base=BASE, order=order, values=values, cursors=CURSORS, audience=order.text)
    window = pages.window(question)
    page = window.page(store.rows(window.statement, window.parameters))
    return page, [each.id for each in page.rows]


def walk(store: Store, order: Order, size: int, *, most: int = 100) -> list[list[int]]:
    """All pages forward, and the same ones on the way back."""
    pages = CursorPaginator()
    page, ids = turn(store, pages, order, size, None)
    assert "prev" not in page.links
    found = [ids]
    while "next" in page.links:
        assert len(found) < most
        page, ids = turn(store, pages, order, size, page.links["next"])
        found.append(ids)
    back = [found[-1]]
    while "prev" in page.links:
        assert len(back) <= len(found)
        page, ids = turn(store, pages, order, size, page.links["prev"])
        back.append(ids)
        assert "next" in page.links
    assert back[::-1] == found
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(things, max_size=9), sort=sorts, size=st.integers(1, 5))
def test_all_pages_forward_and_back_are_the_list_in_its_order(
    store: Store, rows: list[dict[str, Any]], sort: tuple[str, ...], size: int
) -> None:
    order = ORDERING.read({"sort": list(sort)})
    with emptied(store):
        put(store, rows)
        whole = [each.id for each in store.rows(BASE.order_by(*order.clauses))]
        found = walk(store, order, size)
        assert [each for ids in found for each in ids] == whole
        assert all(len(ids) == size for ids in found[:-1])
        assert len(found) == max(1, -(-len(rows) // size))


changes = st.one_of(
    st.tuples(st.just("add"), things),
    st.tuples(st.just("delete"), st.integers(0, 20)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(things, min_size=1, max_size=8),
    sort=sorts,
    size=st.integers(1, 3),
    between=st.lists(st.lists(changes, max_size=3), max_size=8),
    backward=st.booleans(),
)
def test_rows_that_stayed_are_seen_once_whatever_comes_and_goes_between_the_pages(
    store: Store,
    rows: list[dict[str, Any]],
    sort: tuple[str, ...],
    size: int,
    between: list[list[tuple[str, Any]]],
    backward: bool,
) -> None:
    order = ORDERING.read({"sort": list(sort)})
    pages = CursorPaginator()
    with emptied(store):
        put(store, rows)
        there = set(range(1, len(rows) + 1))
        stayed = set(there)
        added = 0
        relation = "prev" if backward else "next"
        cursor = None
        if backward:  # begin at the end
            last, _ = turn(store, pages, order, len(rows), None)
            end = Position(values=tuple(last.rows[-1][1:]), backward=True, inclusive=True)
            cursor = CURSORS.write(end, order.text)
        seen: list[int] = []
        for step in range(60):
            page, ids = turn(store, pages, order, size, cursor)
            seen += ids
            if relation not in page.links:
                break
            cursor = page.links[relation]
            for what, how in between[step] if step < len(between) else ():
                if what == "add":
                    added += 1
                    put(store, [how], first_id=1000 + added)
                    there.add(1000 + added)
                elif there:
                    gone = sorted(there)[how % len(there)]
                    with store.filler.begin() as connection:
                        connection.execute(sa.delete(Thing).where(Thing.id == gone))
                    there.discard(gone)
                    stayed.discard(gone)
        else:
            pytest.fail("the pages do not end")
        assert len(seen) == len(set(seen))
        assert stayed <= set(seen)


def test_times_that_the_database_has_set_are_told_apart(store: Store) -> None:
    """SQLite writes its own without a fraction, and SQLAlchemy would compare with one."""
    with emptied(store):
        put(store, [{"number": each} for each in range(5)])
        for sort in ("made", "-made"):
            order = ORDERING.read({"sort": [sort]})
            assert sum(map(len, walk(store, order, 2))) == 5


def test_numbers_with_more_digits_than_their_column_shows_are_told_apart(tmp_path: Path) -> None:
    with opened("sqlite", tmp_path, Base) as store:
        with store.filler.begin() as connection:
            for index, price in enumerate((0.121, 0.124, 0.126, 0.129), 1):
                connection.exec_driver_sql(
                    "INSERT INTO things (id, number, price) VALUES (?, 0, ?)", (index, price)
                )
        for sort in ("price", "-price"):
            found = walk(store, ORDERING.read({"sort": [sort]}), 1)
            assert len(found) == 4


def test_when_a_whole_page_is_gone_the_way_back_misses_nothing(store: Store) -> None:
    pages = CursorPaginator()
    order = ORDERING.read({"sort": ["-number"]})
    with emptied(store):
        put(store, [{"number": each} for each in range(6)])
        first, ids = turn(store, pages, order, 3, None)
        assert ids == [6, 5, 4]
        with store.filler.begin() as connection:
            connection.execute(sa.delete(Thing).where(Thing.number < 3))
        empty, ids = turn(store, pages, order, 3, first.links["next"])
        assert (ids, list(empty.links)) == ([], ["prev"])
        again, ids = turn(store, pages, order, 3, empty.links["prev"])
        assert ids == [6, 5, 4]
        with store.filler.begin() as connection:
            connection.execute(sa.delete(Thing))
        nothing, ids = turn(store, pages, order, 3, empty.links["prev"])
        assert (ids, nothing.links) == ([], {})
        assert turn(store, pages, order, 3, again.links["next"])[1] == []


def sql(sort: list[str], values: Sequence[Any], **how: bool) -> str:
    order = ORDERING.read({"sort": sort})
    return str(Keyset(order).condition(values, **how)).replace("things.", "").replace("\n", "")


def test_one_direction_without_nulls_is_one_comparison() -> None:
    assert sql(["number"], (1, 2)) == "(number, id) > (:keyset_0, :keyset_1)"
    assert sql(["-number"], (1, 2)) == "(number, id) < (:keyset_0, :keyset_1)"
    assert sql(["-number"], (1, 2), backward=True) == "(number, id) > (:keyset_0, :keyset_1)"
    assert sql(["id"], (1,)) == "id > :keyset_0"
    assert sql(["id"], (1,), inclusive=True) == "id >= :keyset_0"


def test_two_directions_begin_with_a_bound_that_an_index_serves() -> None:
    assert sql(["number", "-id"], (1, 2)) == (
        "number >= :keyset_0 AND (number > :keyset_0 OR number = :keyset_0 AND id < :keyset_1)"
    )


def test_nothing_is_asked_of_a_database_about_values_that_are_not_there() -> None:
    assert sql(["maybe"], (None, 2)) == "maybe IS NULL AND id > :keyset_1"
    assert sql(["maybe"], (1, 2)) == (
        "maybe > :keyset_0 OR maybe IS NULL OR maybe = :keyset_0 AND id > :keyset_1"
    )
    keyset = Keyset(ORDERING.read({"sort": ["maybe"]}))
    assert keyset.parameters((None, 2)) == {"keyset_1": 2}


@pytest.mark.parametrize("sort", [["number"], ["-number"], ["number", "-id"]], ids=str)
def test_a_far_page_is_found_by_the_index(tmp_path: Path, sort: list[str]) -> None:
    with opened("sqlite", tmp_path, Base) as store:
        numbers = random.Random(5)
        put(store, [{"number": numbers.randrange(100)} for _ in range(500)])
        order = ORDERING.read({"sort": sort})
        keyset = Keyset(order)
        values = (50, 250)
        statement = BASE.where(keyset.condition(values)).order_by(*order.clauses)
        with store.filler.connect() as connection:
            compiled = statement.compile(connection)
            given_values = {**compiled.params, **keyset.parameters(values)}
            plan = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {compiled}",
                tuple(given_values[name] for name in compiled.positiontup or ()),
            ).all()
        told = " ".join(str(each[-1]) for each in plan)
        assert "SEARCH things USING COVERING INDEX by_number" in told
