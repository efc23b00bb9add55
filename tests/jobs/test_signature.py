import functools
import inspect
import typing
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from fastapi import Depends
from pydantic import BaseModel
from typing_extensions import TypedDict

from backstay.jobs.signature import Signature, find_within, is_union
from tests.jobs import late_dependencies, late_names


class Mark:
    pass


class Inner(BaseModel):
    value: Annotated[int, Mark]


@dataclass
class Outer:
    inner: list[Inner]
    again: "Outer | None" = None


class Keys(TypedDict):
    key: Annotated[str, Mark]


class TestSignature:
    def test_an_annotation_that_is_a_string_is_looked_up_when_it_is_asked_for(self) -> None:
        signature = Signature(late_names.ship)
        assert signature.annotation("order") is late_names.Later
        assert signature.annotation("others") == list[late_names.Later]
        assert signature.returns() is late_names.Later

    def test_no_annotation_is_any(self) -> None:
        signature = Signature(lambda a: a)
        assert signature.annotation("a") is Any
        assert signature.returns() is Any

    def test_a_name_that_is_not_there_is_a_name_error(self) -> None:
        with pytest.raises(NameError):
            Signature(late_names.pay).annotation("amount")

    def test_names_of_the_enclosing_function_are_seen_as_far_as_they_are_used(self) -> None:
        class Local:
            pass

        def work(a: "Local") -> Any:
            return Local

        assert Signature(work).annotation("a") is Local

    def test_wrappers_partials_methods_and_callable_objects_are_looked_through(self) -> None:
        class Sender:
            def __call__(self, a: "Inner") -> None: ...
            def send(self, a: "Inner") -> None: ...

        @functools.wraps(late_names.ship)
        def wrapped(*args: Any, **kwargs: Any) -> Any: ...

        assert Signature(Sender()).annotation("a") is Inner
        assert Signature(Sender().send).annotation("a") is Inner
        assert Signature(functools.partial(late_names.ship)).annotation("order") is late_names.Later
        assert Signature(wrapped).annotation("order") is late_names.Later

    def test_early_says_as_much_as_can_be_said_before_names_are_there(self) -> None:
        def work(
            a: "Annotated[Missing, Depends(get)]",  # type: ignore[name-defined]  # noqa: F821
            b: "missing.module.Type[int] | None",  # type: ignore[name-defined]  # noqa: F821
            c: "1 +",  # type: ignore[syntax]  # noqa: F722
            d: "int",
        ) -> None: ...

        signature = Signature(work)
        metadata = signature.early("a").__metadata__
        assert type(metadata[0]) is type(Depends())
        assert is_union(signature.early("b"))
        assert signature.early("c") is Any
        assert signature.early("d") is int

    def test_early_looks_where_the_function_stands(self) -> None:
        depends = Signature(late_dependencies.send).early("mailer").__metadata__[0]
        assert depends.dependency is late_dependencies.get_mailer

    def test_parameters_are_those_of_inspect(self) -> None:
        signature = Signature(late_names.ship)
        assert [*signature.parameters] == ["order", "others"]
        assert signature.parameters["order"].default is inspect.Parameter.empty


class TestFindWithin:
    @pytest.mark.parametrize(
        "annotation",
        [
            Annotated[int, Mark],
            Annotated[int, Mark] | None,
            dict[str, list[Annotated[int, "a", Mark]]],
            Inner,
            Outer,
            Keys,
            typing.Optional[tuple[Outer, ...]],  # noqa: UP045
        ],
        ids=str,
    )
    def test_it_is_found_wherever_it_stands(self, annotation: Any) -> None:
        assert find_within(annotation, lambda one: one is Mark) is Mark

    @pytest.mark.parametrize("annotation", [int, Any, list[int], Annotated[int, "x"], None, "Mark"])
    def test_what_is_not_there_is_none(self, annotation: Any) -> None:
        assert find_within(annotation, lambda one: one is Mark) is None

    def test_classes_whose_annotations_cannot_be_resolved_are_passed_over(self) -> None:
        class Odd:
            a: "Missing"  # type: ignore[name-defined]  # noqa: F821

        assert find_within(list[Odd], lambda one: one is Mark) is None


def test_unions_are_recognised_in_both_spellings() -> None:
    assert is_union(int | None)
    assert is_union(typing.Union[int, str])  # noqa: UP007
    assert not is_union(list[int])
