"""What stands in does so for as long as the block or the function runs, whatever kind it is."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from backstay.errors import BadIntegration
from backstay.integration import EndpointsDeclaration
from backstay.integration.http.stand_in import StandIn
from backstay.testing.integrations.block import Block, Miss
from tests.support import async_test


class Somebody:
    def call(self, *_: Any) -> Any:
        raise NotImplementedError


class Stage(Block[list[str]]):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def _begin(self, function: str | None, outer: StandIn | None) -> tuple[list[str], StandIn]:
        self.told.append(f"begin {(function or 'with').rpartition('.')[2]}")
        return self.told, Somebody()

    def _end(self, subject: list[str], *, failed: bool) -> None:
        subject.append("failed" if failed else "ended")


def stands_in() -> bool:
    return isinstance(EndpointsDeclaration.stand_in, Somebody)


@async_test
async def test_it_is_a_context_manager_of_both_kinds() -> None:
    stage = Stage()
    with stage as told:
        assert stands_in()
        assert told is stage.told
    async with stage:
        assert stands_in()
    assert EndpointsDeclaration.stand_in is None
    assert stage.told == ["begin with", "ended"] * 2


@async_test
async def test_functions_of_every_kind_are_decorated() -> None:
    stage = Stage()

    @stage
    def plain() -> bool:
        return stands_in()

    @stage
    async def waits() -> bool:
        await asyncio.sleep(0)
        return stands_in()

    @stage
    def yields() -> Iterator[bool]:
        yield stands_in()

    @stage
    async def yields_async() -> AsyncIterator[bool]:
        yield stands_in()

    class Test:
        @stage
        def method(self) -> bool:
            return stands_in()

    assert plain()
    assert await waits()
    assert list(yields()) == [True]
    assert [each async for each in yields_async()] == [True]
    assert Test().method()
    assert EndpointsDeclaration.stand_in is None
    names = ["plain", "waits", "yields", "yields_async", "method"]
    assert stage.told[::2] == [f"begin {each}" for each in names]


def test_the_signature_stays_for_the_fixtures() -> None:
    @Stage()
    async def test(client: int, tmp_path: str) -> None: ...

    assert list(inspect.signature(test).parameters) == ["client", "tmp_path"]
    assert inspect.iscoroutinefunction(test)


def fail_unless(is_true: bool) -> None:
    if not is_true:
        raise RuntimeError


def test_what_stood_in_before_stands_in_again_also_after_an_error() -> None:
    outer, inner = Stage(), Stage()
    with outer:
        before = EndpointsDeclaration.stand_in
        with pytest.raises(RuntimeError), inner:
            fail_unless(EndpointsDeclaration.stand_in is before)
        assert EndpointsDeclaration.stand_in is before
        with inner, inner:
            pass
        assert EndpointsDeclaration.stand_in is before
    assert EndpointsDeclaration.stand_in is None
    assert inner.told[:2] == ["begin with", "failed"]


def test_a_decorated_function_that_raises_leaves_nothing_behind() -> None:
    stage = Stage()

    @stage
    def fails() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert EndpointsDeclaration.stand_in is None
    assert stage.told == ["begin fails", "failed"]


def test_a_class_is_refused() -> None:
    with pytest.raises(BadIntegration, match="put the decorator on test functions"):

        @Stage()
        class Tests: ...


def test_what_is_missing_is_not_caught_by_who_catches_exceptions() -> None:
    assert not issubclass(Miss, Exception)
