"""What conformance tests stand on: bounded, cleaned up after, and skipped where they must be."""

import asyncio
import inspect
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from backstay.ledger import Ledger
from backstay.ledger.sqlite import SqliteLedger
from backstay.testing.ledger_conformance.stage import (
    START,
    LedgerHome,
    LedgerTime,
    Stage,
    conformance_test,
    job,
    on_its_own_clock,
)


class Home(LedgerHome):
    def __init__(self) -> None:
        self.made: list[Ledger] = []
        self.cleaned: list[Ledger] = []

    def new_ledger(self, now: Callable[[], datetime] | None) -> Ledger:
        self.made.append(SqliteLedger("memory://", now=now))
        return self.made[-1]

    def clean_up(self, ledger: Ledger) -> None:
        self.cleaned.append(ledger)

    @conformance_test
    async def good(self, on: Stage) -> None:
        """Something true."""
        await on.add(job())
        assert await on.another() is on.ledger

    @conformance_test
    async def bad(self, on: Stage) -> None:
        raise ZeroDivisionError

    @conformance_test
    async def endless(self, on: Stage) -> None:
        await asyncio.Event().wait()

    @conformance_test
    async def needs_another(self, on: Stage) -> None:
        await on.another(needed=True)

    @conformance_test
    async def needs_a_transaction(self, on: Stage) -> None:
        on.transaction()

    @conformance_test
    async def needs_damage(self, on: Stage) -> None:
        on.damage((await on.add(job()))[0])

    @conformance_test
    async def asks_for_the_time(self, on: Stage) -> None:
        assert await on.ledger.now() == START

    @on_its_own_clock
    async def asks_for_its_own_time(self, on: Stage) -> None:
        assert await on.ledger.now() != START


def test_a_test_is_an_ordinary_function_of_pytest() -> None:
    assert not inspect.iscoroutinefunction(Home.good)
    assert list(inspect.signature(Home.good).parameters) == ["self"]
    assert (Home.good.__name__, Home.good.__doc__) == ("good", "Something true.")


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("good", None),
        ("bad", ZeroDivisionError),
        ("endless", TimeoutError),
        ("needs_another", pytest.skip.Exception),
        ("needs_a_transaction", pytest.skip.Exception),
        ("needs_damage", pytest.skip.Exception),
    ],
)
def test_whatever_becomes_of_a_test_it_is_cleaned_up_after(
    name: str, ends: type[BaseException] | None
) -> None:
    home = Home()
    home.patience_s = 0.2 if name == "endless" else 20.0
    if ends is None:
        getattr(home, name)()
    else:
        with pytest.raises(ends):
            getattr(home, name)()
    [ledger] = home.made
    assert home.cleaned == [ledger]
    assert isinstance(ledger, SqliteLedger)
    assert ledger.writer is None, "it was not closed"


def test_an_engine_goes_by_the_tests_time_or_by_its_own() -> None:
    Home().asks_for_the_time()
    Home().asks_for_its_own_time()


def test_time_moves_as_it_is_told() -> None:
    time = LedgerTime()
    assert time() == START
    time.move(1.5)
    assert time() == START + timedelta(seconds=1.5)
    time.move(-2)
    assert time() == START - timedelta(seconds=0.5)


def test_who_gives_no_engine_hears_what_to_do() -> None:
    class Empty(LedgerHome):
        @conformance_test
        async def test(self, on: Stage) -> None:
            pass

    with pytest.raises(NotImplementedError, match="Empty has no new_ledger"):
        Empty().test()


def test_jobs_have_ids_of_their_own() -> None:
    assert job().id != job().id
    one = job()
    assert job(id=one.id).id == one.id
