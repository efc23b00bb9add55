"""FastAPI sees the handler's own parameters, whatever its annotations are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, Response
from starlette.requests import Request

from backstay.cache.handler_signature import HandlerSignature

if TYPE_CHECKING:
    from decimal import Decimal


class Mine(Request):
    """A request of the test's own kind."""


def test_a_handler_that_knows_neither_is_given_both_behind_its_own_parameters() -> None:
    async def handler(item_id: int, page: int = 0) -> str: ...

    found = HandlerSignature.of(handler)
    assert list(found.signature.parameters) == ["item_id", "page", *found.hidden]
    assert found.hidden == (found.request, found.response)
    assert found.signature.parameters[found.request].annotation is Request
    assert found.signature.parameters[found.response].annotation is Response
    assert found.signature.return_annotation == "str"


def with_request(item_id: int, asked: Request) -> None: ...


def with_kind(asked: Mine, item_id: int = 0) -> None: ...


def with_note(asked: Annotated[Request, "mine"]) -> None: ...


def with_both(asked: Request, out: Response) -> None: ...


@pytest.mark.parametrize(
    ("handler", "request_name", "hidden"),
    [
        (with_request, "asked", 1),
        (with_kind, "asked", 1),
        (with_note, "asked", 1),
        (with_both, "asked", 0),
    ],
)
def test_what_the_handler_takes_itself_is_not_asked_for_twice(
    handler: Callable[..., Any], request_name: str, hidden: int
) -> None:
    found = HandlerSignature.of(handler)
    assert found.request == request_name
    assert len(found.hidden) == hidden
    assert found.signature.replace(
        parameters=[
            each for each in found.signature.parameters.values() if each.name not in found.hidden
        ]
    ) == inspect.signature(handler)


def test_parameters_for_anything_stay_last() -> None:
    def handler(a: int, **others: Any) -> None: ...

    found = HandlerSignature.of(handler)
    assert [each.kind for each in found.signature.parameters.values()][-1] is (
        inspect.Parameter.VAR_KEYWORD
    )


def test_texts_that_the_module_gives_a_meaning_stay_as_they_are() -> None:
    def handler(a: Annotated[int, Depends(with_both)]) -> Mine: ...

    found = HandlerSignature.of(handler)
    assert found.signature.parameters["a"].annotation == "Annotated[int, Depends(with_both)]"
    assert found.signature.return_annotation == "Mine"


def test_texts_that_name_what_stands_around_the_handler_get_their_meaning() -> None:
    class View:
        model = int

    self = View()

    def handler(a: self.model) -> list[self.model]: ...  # type: ignore[name-defined]  # as views write it

    found = HandlerSignature.of(handler, locals())
    assert found.signature.parameters["a"].annotation is int
    assert found.signature.return_annotation == list[int]


def test_variables_that_the_body_uses_are_found_without_being_told() -> None:
    model = int

    def handler(a: model) -> None:
        assert model is int

    assert HandlerSignature.of(handler).signature.parameters["a"].annotation is int


def test_what_nobody_knows_is_left_for_fastapi_to_complain_of() -> None:
    def handler(a: Decimal) -> Missing: ...  # type: ignore[name-defined]  # noqa: F821  # that is the point

    found = HandlerSignature.of(handler)
    assert found.signature.parameters["a"].annotation == "Decimal"
    assert found.signature.return_annotation == "Missing"


def test_an_object_that_can_be_called_is_a_handler() -> None:
    class Handler:
        def __call__(self, item_id: int) -> int: ...

    assert "item_id" in HandlerSignature.of(Handler()).signature.parameters
