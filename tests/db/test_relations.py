"""Relations of mapped classes."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, backref, mapped_column, relationship

from backstay.db.mapping import mapper_of
from backstay.db.relations import relations_of, standing_of
from tests.db.warehouse import Customer, Line, Node, Order, Shelf, Tag, Visit


def test_relations_say_who_owns_whom() -> None:
    order, shelf, customer = relations_of(Order), relations_of(Shelf), relations_of(Customer)
    assert {each.name for each in order.values() if each.owned} == {"lines", "slots"}
    assert {each.name for each in shelf.values() if each.owned} == {"books", "visits"}
    assert {each.name for each in customer.values() if each.owned} == {"profile"}
    assert relations_of(Node)["children"].owned
    assert not relations_of(Node)["parent"].owned
    assert (shelf["books"].orphans, order["lines"].orphans) == (False, True)
    assert [each.kind for each in (order["customer"], order["lines"], order["tags"])] == [
        "to_one",
        "to_children",
        "to_many",
    ]
    assert order["lines"].target is mapper_of(Line)


def test_relations_say_what_may_be_let_go() -> None:
    order, shelf = relations_of(Order), relations_of(Shelf)
    may = {each.name for each in (*order.values(), *shelf.values()) if each.optional}
    assert may == {"customer", "lines", "latest", "members", "slots", "tags", "visits"}
    assert not relations_of(Line)["order"].optional


def test_relations_say_where_their_foreign_keys_are() -> None:
    assert dict(relations_of(Order)["lines"].fixed) == {"order_id": "id"}
    assert dict(relations_of(Order)["customer"].fixed) == {"customer_id": "id"}
    assert dict(relations_of(Order)["tags"].fixed) == {}
    assert dict(relations_of(Node)["parent"].fixed) == {"parent_id": "id"}


def test_relations_say_how_they_can_be_used() -> None:
    shelf = relations_of(Shelf)
    assert [shelf[name].writable for name in ("books", "latest")] == [True, False]
    assert [shelf[name].collection for name in ("books", "visits")] == [list, dict]
    assert relations_of(Order)["tags"].collection is set
    assert all(each.saves for each in shelf.values() if each.name != "latest")


def test_what_stands_behind_a_relation_is_a_list_whatever_it_is_kept_in() -> None:
    tea, red, visit = Line(product="tea"), Tag(name="red"), Visit(name="v")
    order = Order(lines=[tea], tags={red}, customer=None)
    relations = relations_of(Order)
    assert standing_of(order, relations["lines"]) == [tea]
    assert standing_of(order, relations["tags"]) == [red]
    assert standing_of(order, relations["customer"]) == []
    assert standing_of(tea, relations_of(Line)["order"]) == [order]
    assert standing_of(Shelf(visits={"v": visit}), relations_of(Shelf)["visits"]) == [visit]


def test_a_relation_that_is_added_later_is_known() -> None:
    class Base(DeclarativeBase):
        pass

    class Early(Base):
        __tablename__ = "early"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert not relations_of(Early)

    class Late(Base):
        __tablename__ = "late"
        id: Mapped[int] = mapped_column(primary_key=True)
        early_id: Mapped[int] = mapped_column(ForeignKey("early.id"))
        early: Mapped[Early] = relationship(backref=backref("lates", cascade="all, delete-orphan"))

    assert relations_of(Late)["early"].kind == "to_one"
    assert relations_of(Early)["lates"].owned
    assert relations_of(Early) is relations_of(Early)
