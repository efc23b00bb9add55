"""Pages: what is asked, and statements that are asked again."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay.viewset.filters import FilterSet
from backstay.viewset.ordering import Ordering
from backstay.viewset.pages import Page, Question, Statements, Window, count_of


class Base(DeclarativeBase):
    pass


class Animal(Base):
    __tablename__ = "animals"
    __mapper_args__ = {
        "polymorphic_on": "kind",
        "polymorphic_identity": "animal",
    }  # SQLAlchemy's own form
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]


class Cat(Animal):
    __mapper_args__ = {"polymorphic_identity": "cat"}  # as above


class Out(BaseModel):
    id: int
    name: str


FILTERS = FilterSet.build(Animal, Out, ["name"])
ORDER = Ordering.build(Animal, Out).read({})


def sql(statement: Any) -> str:
    return " ".join(str(statement).split())


def test_rows_are_counted_without_reading_them() -> None:
    base: Any = sa.select(Animal.id, Animal.name).where(Animal.id > 3)
    assert sql(count_of(base, [Animal.name == "x"])) == (
        "SELECT count(*) AS count_1 FROM animals WHERE animals.id > :id_1 AND animals.name = :name_1"
    )
    assert sql(count_of(sa.select(Animal))) == "SELECT count(*) AS count_1 FROM animals"


def test_rows_of_a_subclass_are_counted_as_such() -> None:
    assert "animals.kind IN" in sql(count_of(sa.select(Cat)))
    assert "animals.kind IN" in sql(count_of(sa.select(Cat.id)))


def test_rows_of_a_table_without_a_class_are_counted_too() -> None:
    table = sa.table("t", sa.column("a"))
    assert sql(count_of(sa.select(table.c.a))) == "SELECT count(*) AS count_1 FROM t"


def question(base: Any, name: str, *where: Any) -> Question:
    values = {"name": name}
    return Question(
        base=base, order=ORDER, values=values, filters=FILTERS.conditions(values), where=where
    )


def test_questions_have_one_form_if_they_differ_by_values_alone() -> None:
    base = sa.select(Animal.id)
    assert question(base, "a").form == question(base, "b").form
    assert question(base, "a").filters.parameters == {"filter_0": "a"}
    assert question(base, "a").form != question(sa.select(Animal.id), "a").form
    assert question(base, "a", Animal.id == 1).form is None
    assert len(question(base, "a", Animal.id == 1).conditions) == 2


def test_statements_are_made_once_for_a_form_and_again_for_none() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    kept = Statements()
    assert [kept.get("a", 1, make), kept.get("a", 1, make), kept.get("a", 2, make)] == [1, 1, 2]
    assert [kept.get(None, 1, make), kept.get(None, 1, make)] == [3, 4]
    for each in range(1000):
        kept.get(each, None, make)
    assert len(kept._kept) <= 200


def test_a_window_is_counted_by_itself_only_if_its_rows_cannot_tell() -> None:
    def window(*, count: Any, skipped: int) -> Window:
        return Window(
            statement=sa.select(Animal.id),
            parameters={},
            count=count,
            skipped=skipped,
            finish=lambda rows, total: Page(rows=rows, total=total, dump=bytes),
        )

    count = count_of(sa.select(Animal.id))
    assert window(count=count, skipped=10).must_count([])
    assert not window(count=count, skipped=0).must_count([])
    assert not window(count=count, skipped=10).must_count([(1, 2)])
    assert not window(count=None, skipped=10).must_count([])


def test_links_replace_the_cursor_and_keep_the_rest() -> None:
    page = Page(rows=[], links={"next": "N", "prev": "P"}, dump=bytes)
    assert page.headers(b"cursor=old&name=a%26b&name=&size=3") == {
        "Link": '<?name=a%26b&name=&size=3&cursor=N>; rel="next", '
        '<?name=a%26b&name=&size=3&cursor=P>; rel="prev"'
    }
    assert Page(rows=[], dump=bytes).headers(b"a=1") == {}
    assert page.headers(b'a=\r\n"<>;\xff')["Link"].isascii()
    assert "\r" not in page.headers(b"a=%0d%0aX: y")["Link"]
