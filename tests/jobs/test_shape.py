from typing import Annotated, Any

import pytest
from pydantic import SecretStr

from backstay.errors import BadJob
from backstay.jobs.secret import Secret
from backstay.jobs.shape import Shape, mentions_secret, name_of_type


def shape_of(func: Any, *injected: str) -> Shape:
    return Shape(func, frozenset(injected), "work")


def test_parameters_are_sorted_by_how_they_are_given() -> None:
    def work(a: int, /, b: int = 2, *rest: int, ctx: object, c: int, **extra: int) -> None: ...

    shape = shape_of(work, "ctx")
    assert shape.first == ("a",)
    assert shape.positional == ("a", "b")
    assert shape.by_name == {"b", "c"}
    assert (shape.rest, shape.extra) == ("rest", "extra")
    assert shape.defaults == {"b": 2}
    assert not shape.direct


def test_a_plain_signature_can_be_called_with_a_dictionary() -> None:
    def work(a: int, *, b: int) -> None: ...

    assert shape_of(work).direct


def test_secret_parameters_have_codecs_of_their_own() -> None:
    def work(
        a: int, b: Annotated[str, Secret], c: SecretStr | None = None, d: list[str] | None = None
    ) -> None: ...

    shape = shape_of(work)
    assert shape.sealed.keys() == {"b", "c"}
    assert shape.required == {"b"}
    assert shape.open.write(shape.open.validate({"a": 1})) == b'{"a":1}'


def test_a_secret_of_pydantics_is_written_in_full_where_it_is_sealed() -> None:
    def work(a: SecretStr | None) -> None: ...

    assert shape_of(work).sealed["a"].write_one("hush") == b'"hush"'


def test_the_one_bad_annotation_among_several_is_named() -> None:
    class Thing:
        pass

    def work(a: int, b: Thing, c: str) -> None: ...

    with pytest.raises(BadJob, match=r"work\(\): argument 'b' is annotated .*Thing, which cannot"):
        shape_of(work)


def test_types_are_named_as_people_write_them() -> None:
    assert name_of_type(int) == "int"
    assert name_of_type(list[int]) == "list[int]"
    assert name_of_type(int | None) == "int | None"


def test_a_mark_is_seen_as_class_and_as_instance() -> None:
    assert mentions_secret(Annotated[str, Secret])
    assert mentions_secret(list[Annotated[str, Secret()]])
    assert not mentions_secret(str)
