"""An endpoint is looked over where it is declared, and called on instances."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from pydantic import BaseModel

from backstay.errors import BadIntegration
from backstay.integration import (
    ApiHTTP,
    EndpointsDeclaration,
    HTTPMethod,
    IntegrationHTTP,
    endpoint_of,
    sp,
)
from tests.support import async_test


class Names(EndpointsDeclaration):
    integration = IntegrationHTTP("Names", doc="Knows names.")

    class Schema:
        class Name(BaseModel):
            name: str

    @integration.endpoint(HTTPMethod.get, "/names/{number}", version="v2", docurl="https://n/docs")
    @sp.Timeout(3)
    @sp.RetryPattern()
    async def get(api: ApiHTTP, number: int, *, long: bool = False) -> Schema.Name:
        """The name of that number."""
        return await api.send()


class Others(Names):
    class Schema:
        class Name(BaseModel):
            nom: str


def test_it_knows_what_was_declared() -> None:
    endpoint = endpoint_of(Names.get)
    assert (endpoint.name, endpoint.label) == ("get", "Names.get")
    assert (endpoint.method, endpoint.path) == (HTTPMethod.get, "/names/{number}")
    assert (endpoint.version, endpoint.docurl) == ("v2", "https://n/docs")
    assert endpoint.doc == "The name of that number."
    assert endpoint_of(Names("https://n").get) is endpoint


def test_its_method_looks_like_one_without_the_api() -> None:
    assert str(inspect.signature(Names("https://n").get)).startswith("(number: 'int', *, long")
    assert Names.get.__qualname__ == "Names.get"
    assert inspect.iscoroutinefunction(Names.get)


def test_annotations_are_resolved_in_the_declaring_class() -> None:
    endpoint = endpoint_of(Names.get)
    assert endpoint.answers(Names).success is Names.Schema.Name
    assert endpoint.answers(Others).success is Others.Schema.Name


class Sums(EndpointsDeclaration):
    integration = IntegrationHTTP("Sums")

    @integration.endpoint(HTTPMethod.get, "/sums")
    async def add(api: ApiHTTP, a: int, b: int = 2) -> int:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/sums")
    async def rest(api: ApiHTTP, a: int, /, *more: int, c: int = 3, **named: int) -> int:
        return await api.send()


@pytest.mark.parametrize(
    ("args", "kwargs", "found"),
    [
        ((1, 5), {}, {"a": 1, "b": 5}),
        ((1,), {"b": 5}, {"a": 1, "b": 5}),
        ((), {"b": 5, "a": 1}, {"a": 1, "b": 5}),
        ((1,), {}, {"a": 1, "b": 2}),
    ],
    ids=["in-order", "mixed", "by-name", "default"],
)
def test_arguments_are_known_by_their_names(args: Any, kwargs: Any, found: Any) -> None:
    bound = endpoint_of(Sums.add).bind(args, kwargs)
    assert list(bound.items()) == [("api", None), *found.items()]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1, 2, 3), {}), ((), {}), ((1,), {"a": 1}), ((1,), {"c": 1}), ((), {"api": 1, "a": 2})],
    ids=["too-many", "none", "twice", "unknown", "the-api"],
)
def test_arguments_that_do_not_fit_are_refused(args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError):
        endpoint_of(Sums.add).bind(args, kwargs)


def test_parameters_of_every_kind_are_known() -> None:
    bound = endpoint_of(Sums.rest).bind((1, 2, 3), {"c": 4, "d": 5})
    assert dict(bound) == {"api": None, "a": 1, "more": (2, 3), "c": 4, "named": {"d": 5}}


@async_test
async def test_on_the_class_it_cannot_be_called() -> None:
    with pytest.raises(TypeError, match="on an instance, not the class"):
        await Names.get(Names, 3)


@async_test
async def test_arguments_that_it_does_not_take_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="colour"):
        await Names("https://n").get(3, colour="red")  # type: ignore[call-arg]  # that is the point


def test_what_is_no_endpoint_is_none() -> None:
    with pytest.raises(BadIntegration, match="no endpoint"):
        endpoint_of(test_what_is_no_endpoint_is_none)


def declare(func: Any, path: str = "/") -> None:
    IntegrationHTTP("X").endpoint(HTTPMethod.get, path)(func)


def test_a_function_that_could_never_be_one_is_refused() -> None:
    def sync(api: ApiHTTP) -> int:
        return 1

    async def untyped(api: ApiHTTP):
        return 1

    async def without() -> int:
        return 1

    async def good(api: ApiHTTP) -> int:
        return 1

    for func, why in ((sync, "not async"), (untyped, "Return type"), (without, "takes no api")):
        with pytest.raises(BadIntegration, match=why):
            declare(func)
    with pytest.raises(BadIntegration, match="'item'"):
        declare(good, "/{item}")
    with pytest.raises(BadIntegration):
        declare(3)
    declare(good)


def test_an_annotation_that_nobody_can_resolve_is_refused_where_it_is_asked_for() -> None:
    class Odd(EndpointsDeclaration):
        integration = IntegrationHTTP("Odd")

        @integration.endpoint(HTTPMethod.get, "/")
        async def get(api: ApiHTTP) -> Nowhere:  # noqa: F821
            return await api.send()

    with pytest.raises(BadIntegration, match="Nowhere"):
        endpoint_of(Odd.get).answers(Odd)
