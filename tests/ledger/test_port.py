"""Engines have exactly the methods of the port, with its signatures."""

import ast
import inspect
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from backstay.ledger import Claims, Ledger, Wake
from backstay.ledger.port import Heart
from backstay.ledger.postgres import PostgresLedger
from backstay.ledger.sqlite import SqliteLedger
from backstay.testing import ledger_conformance

ENGINES = [SqliteLedger, PostgresLedger]
METHODS = sorted(
    name
    for name, value in vars(Ledger).items()
    if not name.startswith("_") and inspect.isfunction(value)
)
ATTRIBUTES = sorted(name for name, value in vars(Ledger).items() if isinstance(value, property))


def shape(function: Any) -> list[tuple[str, Any, Any]]:
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters]


def test_the_port_is_what_we_think_it_is() -> None:
    assert len(METHODS) == 33
    assert ATTRIBUTES == ["dialect", "url"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", METHODS)
def test_an_engines_method_takes_what_the_port_says(engine: type, name: str) -> None:
    promised, kept = getattr(Ledger, name), getattr(engine, name)
    assert shape(kept) == shape(promised)
    assert inspect.iscoroutinefunction(kept) is inspect.iscoroutinefunction(promised)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", METHODS)
def test_an_engines_method_returns_what_the_port_says(engine: type, name: str) -> None:
    promised = get_type_hints(getattr(Ledger, name))["return"]
    kept = get_type_hints(getattr(engine, name))["return"]
    # A class that implements a protocol may be named where the protocol is.
    assert kept == promised or (promised is Heart and not isinstance(kept, str))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_engines_attributes_are_readable(engine: type, name: str) -> None:
    assert isinstance(getattr(engine, name), property)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_is_made_with_what_opening_gives_it(engine: type) -> None:
    names = ["now", "prefix", "schema"]
    parameters = inspect.signature(engine).parameters
    assert next(iter(parameters)) == "url"
    assert [parameters[name].kind for name in names] == [inspect.Parameter.KEYWORD_ONLY] * 3
    assert [parameters[name].default for name in names] == [None, "backstay_", None]


@pytest.mark.parametrize("protocol", [Ledger, Heart])
def test_every_promise_is_written_down(protocol: type) -> None:
    for name, value in vars(protocol).items():
        if not name.startswith("_"):
            assert inspect.getdoc(value), name


@pytest.fixture(scope="module")
def called() -> set[str]:
    [folder] = ledger_conformance.__path__
    return {
        node.attr
        for path in Path(folder).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_port_is_called_by_the_conformance_suite(
    name: str, called: set[str]
) -> None:
    assert name in called


def test_what_claims_and_wakes_hold_is_named() -> None:
    assert Claims._fields == ("jobs", "next_due_s", "more")
    assert Wake._fields == ("enqueued", "cancelled")
