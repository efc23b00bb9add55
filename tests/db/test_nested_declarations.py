"""Deep writes of classes that are declared in less usual ways.

SQLModel reads annotations itself, and not those that are postponed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Optional

from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.orderinglist import ordering_list
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry, relationship
from sqlmodel import Field, Relationship, SQLModel

from backstay.db.database import Database
from backstay.db.orm import OrmAsync
from tests.support import async_test


class Base(DeclarativeBase):
    pass


class Address(Base):
    __tablename__ = "addresses"
    id: Mapped[int] = mapped_column(primary_key=True)
    city: Mapped[str]


class Label(Base):
    __tablename__ = "labels"
    name: Mapped[str] = mapped_column(primary_key=True)


class Labelling(Base):
    """An association with data of its own; its key is what it associates."""

    __tablename__ = "labellings"
    parcel_id: Mapped[int] = mapped_column(ForeignKey("parcels.id"), primary_key=True)
    label_name: Mapped[str] = mapped_column(ForeignKey("labels.name"), primary_key=True)
    copies: Mapped[int] = mapped_column(default=1)
    label: Mapped[Label] = relationship()


class Stop(Base):
    __tablename__ = "stops"
    id: Mapped[int] = mapped_column(primary_key=True)
    parcel_id: Mapped[int] = mapped_column(ForeignKey("parcels.id"))
    position: Mapped[int]
    name: Mapped[str]


class Parcel(Base):
    __tablename__ = "parcels"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    address_id: Mapped[int | None] = mapped_column(ForeignKey("addresses.id"))
    address: Mapped[Address | None] = relationship(cascade="all, delete-orphan", single_parent=True)
    labellings: Mapped[list[Labelling]] = relationship(
        cascade="all, delete-orphan", order_by="Labelling.label_name"
    )
    stops: Mapped[list[Stop]] = relationship(
        cascade="all, delete-orphan",
        order_by="Stop.position",
        collection_class=ordering_list("position"),
    )

    def __init__(self, name: str = "none") -> None:
        self.name = name.upper()


class Model(SQLModel, registry=registry()):
    """Apart from the classes of other tests."""


class Hero(Model, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str
    team_id: int | None = Field(default=None, foreign_key="team.id")
    team: Optional["Team"] = Relationship(back_populates="heroes")


class Team(Model, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str
    heroes: list["Hero"] = Relationship(
        back_populates="team", sa_relationship_kwargs={"cascade": "all, delete-orphan"}
    )


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[OrmAsync]:
    database = Database(f"sqlite:///{folder / 'parcels.db'}")
    Base.metadata.create_all(database.engine)
    Model.metadata.create_all(database.engine)
    async with database.session() as session:
        yield OrmAsync(session)
    await database.close()


async def column(orm: OrmAsync, attribute: Any) -> list[Any]:
    return list((await orm.asession.scalars(select(attribute).order_by(attribute))).all())


@async_test
async def test_what_has_a_single_parent_that_holds_the_foreign_key_is_owned(tmp_path: Path) -> None:
    async with desk(tmp_path) as orm:
        parcel = await orm.create_nested(Parcel, {"address": {"city": "Rome"}})
        address = parcel.address_id
        data = {"address_id": address, "address": {"city": "Oslo"}}
        await orm.update_item(Parcel, parcel.id, data, deep=True)
        data = {"address": {"id": address, "city": "Bonn"}}
        changed = await orm.update_item(Parcel, parcel.id, data, deep=True)
        assert changed is not None
        assert (changed.address_id, await column(orm, Address.city)) == (address, ["Bonn"])
        await orm.update_item(Parcel, parcel.id, {"address": None}, deep=True)
        assert await column(orm, Address.city) == []
        await orm.update_item(Parcel, parcel.id, {"address": {"city": "Rome"}}, deep=True)
        assert await orm.delete_item(Parcel, parcel.id, deep=True) == 1
        assert await column(orm, Address.city) == []


@async_test
async def test_a_key_that_is_said_by_a_link_is_understood(tmp_path: Path) -> None:
    async with desk(tmp_path) as orm:
        orm.asession.add_all([Label(name="red"), Label(name="blue")])
        await orm.asession.commit()
        labellings = [{"label": {"name": "red"}, "copies": 3}]
        parcel = await orm.create_nested(Parcel, {"labellings": labellings})
        labellings = [{"label": {"name": "red"}, "copies": 4}, {"label_name": "blue"}]
        data = {"labellings": labellings}
        changed = await orm.update_item(Parcel, parcel.id, data, deep=True)
        assert changed is not None
        assert [(each.label_name, each.copies) for each in changed.labellings] == [
            ("blue", 1),
            ("red", 4),
        ]
        data = {"labellings": [{"label_name": "blue"}]}
        await orm.update_item(Parcel, parcel.id, data, deep=True)
        assert await column(orm, Labelling.label_name) == ["blue"]
        assert await column(orm, Label.name) == ["blue", "red"]


@async_test
async def test_children_that_are_numbered_are_numbered_as_they_were_sent(tmp_path: Path) -> None:
    async with desk(tmp_path) as orm:
        parcel = await orm.create_nested(Parcel, {"stops": [{"name": "a"}, {"name": "b"}]})
        a, b = parcel.stops
        data = {"stops": [{"id": b.id}, {"name": "c"}, {"id": a.id}]}
        changed = await orm.update_item(Parcel, parcel.id, data, deep=True)
        assert changed is not None
        assert [(each.name, each.position) for each in changed.stops] == [
            ("b", 0),
            ("c", 1),
            ("a", 2),
        ]


@async_test
async def test_a_constructor_of_ones_own_is_given_what_it_takes(tmp_path: Path) -> None:
    async with desk(tmp_path) as orm:
        parcel = await orm.create_nested(Parcel, {"name": "big", "stops": [{"name": "a"}]})
        assert (parcel.name, len(parcel.stops)) == ("BIG", 1)


@async_test
async def test_classes_of_sqlmodels_are_mapped_classes_too(tmp_path: Path) -> None:
    async with desk(tmp_path) as orm:
        team = await orm.create_nested(
            Team, {"name": "t", "heroes": [{"name": "h"}, {"name": "i"}]}
        )
        data = {"heroes": [{"id": team.heroes[0].id, "name": "j"}, {"name": "k"}]}
        changed = await orm.update_item(Team, team.id, data, deep=True)
        assert changed is not None
        assert [each.name for each in changed.heroes] == ["j", "k"]
        made = await orm.create_item(Team(name="u", heroes=[Hero(name="l")]), deep=True)
        assert [each.name for each in made.heroes] == ["l"]
        assert await orm.delete_item(Team, team.id, deep=True) == 1
        assert await column(orm, Hero.name) == ["l"]
