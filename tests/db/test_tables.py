"""Constraints have names, rows go in the right order, and nobody else's tables are touched."""

import enum
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    UniqueConstraint,
    create_engine,
    event,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from backstay.db.address import Address
from backstay.db.tables import check_names, clear_tables, create_tables, drop_tables, new_base
from tests.db.places import EVERY_KIND, at


@pytest.fixture(params=EVERY_KIND)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with at(request.param, tmp_path) as url:
        address = Address.of(url, asynchronous=False)
        engine = create_engine(address.url, connect_args=address.connect_args)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", lambda c, _: c.execute("PRAGMA foreign_keys=ON"))
        yield engine
        engine.dispose()


class Colour(enum.Enum):
    RED = "red"


def shop(base: Any) -> dict[str, Any]:
    """Models of the old style and of the new, on one base."""

    class Customer(base):  # type: ignore[misc]  # made here
        __tablename__ = "customers"
        id = Column(Integer, primary_key=True, index=True)
        name = Column(String, index=True)
        email = Column(String, unique=True, index=True)
        orders = relationship("Order", back_populates="customer")

    class Order(base):  # type: ignore[misc]  # made here
        __tablename__ = "orders"
        __table_args__ = (
            UniqueConstraint("customer_id", "number"),
            UniqueConstraint("customer_id", "colour"),
            CheckConstraint("number > 0"),
            CheckConstraint("number < 1000000", name="not_too_many"),
            Index(None, "number", "colour"),
        )
        id: Mapped[int] = mapped_column(primary_key=True)
        customer_id: Mapped[int | None] = mapped_column(ForeignKey("customers.id"))
        parent_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
        number: Mapped[int]
        paid = Column(Boolean(create_constraint=True))
        colour = Column(Enum(Colour, native_enum=False, create_constraint=True))
        customer: Mapped[Customer | None] = relationship(back_populates="orders")

    return {"Customer": Customer, "Order": Order}


def test_each_base_has_tables_of_its_own() -> None:
    one, two = new_base(), new_base()
    shop(one)
    assert sorted(one.metadata.tables) == ["customers", "orders"]
    assert not two.metadata.tables
    shop(two)


def test_every_constraint_is_named_for_what_it_is_about(engine: Engine) -> None:
    base = new_base()
    shop(base)
    with engine.begin() as connection:
        create_tables(connection, base.metadata)
    found = inspect(engine)
    assert found.get_pk_constraint("orders")["name"] == "pk_orders"
    assert {key["name"] for key in found.get_foreign_keys("orders")} == {
        "fk_orders_customer_id_customers",
        "fk_orders_parent_id_orders",
    }
    assert {unique["name"] for unique in found.get_unique_constraints("orders")} == {
        "uq_orders_customer_id_number",
        "uq_orders_customer_id_colour",
    }
    checks = {str(check["name"]) for check in found.get_check_constraints("orders")}
    assert {"not_too_many", "colour"} < checks, "those that have a name keep it"
    others = checks - {"not_too_many", "colour"}
    # PostgreSQL needs none for a boolean.
    assert len(others) == (2 if engine.dialect.name == "sqlite" else 1)
    assert all(re.fullmatch("ck_orders_[0-9a-f]{8}", name) for name in others)
    assert "ix_orders_number_orders_colour" in {
        index["name"] for index in found.get_indexes("orders")
    }
    again = new_base()
    shop(again)
    same = {c.name for t in again.metadata.tables.values() for c in t.constraints}
    assert same == {c.name for t in base.metadata.tables.values() for c in t.constraints}


def test_two_uniques_that_begin_alike_have_different_names() -> None:
    base = new_base()
    order = shop(base)["Order"]
    names = [c.name for c in order.__table__.constraints if isinstance(c, UniqueConstraint)]
    assert len(set(names)) == 2


def rows(connection: Connection, metadata: MetaData) -> dict[str, int]:
    return {
        name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for name, table in metadata.tables.items()
    }


def fill(engine: Engine, base: Any, models: dict[str, Any]) -> None:
    create_tables_in(engine, base.metadata)
    with Session(engine) as session:
        customer = models["Customer"](name="Ada", email="ada@example.com")
        order = models["Order"](customer=customer, number=1)
        session.add_all([customer, order])
        session.flush()
        session.add(models["Order"](customer=customer, number=2, parent_id=order.id))
        session.commit()


def create_tables_in(engine: Engine, metadata: MetaData) -> None:
    with engine.begin() as connection:
        create_tables(connection, metadata)


def test_all_rows_are_deleted_those_that_refer_to_others_first(engine: Engine) -> None:
    base = new_base()
    fill(engine, base, shop(base))
    with engine.begin() as connection:
        clear_tables(connection, base.metadata, frozenset())
        assert rows(connection, base.metadata) == {"customers": 0, "orders": 0}


def test_tables_that_are_spared_keep_their_rows(engine: Engine) -> None:
    base = new_base()
    fill(engine, base, shop(base))
    with engine.begin() as connection:
        clear_tables(connection, base.metadata, frozenset({"customers"}))
        assert rows(connection, base.metadata) == {"customers": 1, "orders": 0}


def test_a_spared_table_that_refers_to_a_cleared_one_is_no_reason_to_break_the_reference(
    engine: Engine,
) -> None:
    base = new_base()
    fill(engine, base, shop(base))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        clear_tables(connection, base.metadata, frozenset({"orders"}))
    with engine.begin() as connection:
        assert rows(connection, base.metadata) == {"customers": 1, "orders": 2}


def test_tables_that_refer_to_each_other_are_emptied_too(engine: Engine) -> None:
    base = new_base()

    class Team(base):  # type: ignore[misc, valid-type]  # made here
        __tablename__ = "teams"
        id: Mapped[int] = mapped_column(primary_key=True)
        lead_id: Mapped[int | None] = mapped_column(ForeignKey("people.id", use_alter=True))

    class Person(base):  # type: ignore[misc, valid-type]  # made here
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id"))

    create_tables_in(engine, base.metadata)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO teams (id) VALUES (1)"))
        connection.execute(text("INSERT INTO people (id, team_id) VALUES (1, 1)"))
        connection.execute(text("UPDATE teams SET lead_id = 1"))
        clear_tables(connection, base.metadata, frozenset())
        assert rows(connection, base.metadata) == {"teams": 0, "people": 0}


def test_tables_that_are_not_there_have_no_rows_to_delete(engine: Engine) -> None:
    base = new_base()
    shop(base)
    with engine.begin() as connection:
        clear_tables(connection, base.metadata, frozenset())
        assert inspect(connection).get_table_names() == []


def test_nobody_elses_tables_are_dropped_or_emptied(engine: Engine) -> None:
    base = new_base()
    fill(engine, base, shop(base))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE backstay_jobs (id INTEGER PRIMARY KEY)"))
        connection.execute(text("INSERT INTO backstay_jobs VALUES (1)"))
        clear_tables(connection, base.metadata, frozenset())
        drop_tables(connection, base.metadata)
        assert inspect(connection).get_table_names() == ["backstay_jobs"]
        found = connection.execute(text("SELECT count(*) FROM backstay_jobs"))
        assert found.scalar_one() == 1


def test_only_tables_that_exist_can_be_spared() -> None:
    base = new_base()
    shop(base)
    assert check_names(base.metadata, ["orders"]) == {"orders"}
    with pytest.raises(ValueError, match="names 'order', but the tables are customers, orders"):
        check_names(base.metadata, ["order", "customers"])
    with pytest.raises(TypeError, match="got the string 'orders'"):
        check_names(base.metadata, "orders")
    with pytest.raises(ValueError, match="the tables are none"):
        check_names(MetaData(), {"orders"})
