"""Stores that break one promise each, and whether the suite notices."""

import asyncio
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from backstay.integration.stability.shared.memory_store import MemoryStore
from backstay.integration.stability.shared.port import (
    ANY_EPOCH,
    Ending,
    Lease,
    Pace,
    SharedCircuit,
    SharedStore,
    Taken,
)
from backstay.testing import FakeClock
from backstay.testing.integration_conformance import SharedStoreConformance
from tests.support import PATIENCE_S

TESTS = [name for name in dir(SharedStoreConformance) if name.startswith("test_")]


class Good(MemoryStore):
    """Keeps every promise."""


class Prolonging(MemoryStore):
    """Opens what is open once more."""

    async def trip(self, name: bytes, *, epoch: int, reset_s: float) -> SharedCircuit:
        self._circuits.pop(name, None)
        return await super().trip(name, epoch=epoch, reset_s=reset_s)


class Trusting(MemoryStore):
    """Asks nobody what he has heard of."""

    async def trip(self, name: bytes, *, epoch: int, reset_s: float) -> SharedCircuit:
        return await super().trip(name, epoch=ANY_EPOCH, reset_s=reset_s)


class Racing(MemoryStore):
    """Looks who may try, and writes it down later."""

    async def lease(self, name: bytes, *, lease_s: float) -> Lease:
        before = dict(self._circuits)
        found = await super().lease(name, lease_s=lease_s)
        after, self._circuits = self._circuits, before
        await asyncio.sleep(0)
        self._circuits.update(after)
        return found


class Impatient(MemoryStore):
    """Lets somebody try a moment too early."""

    def _now(self) -> int:
        return super()._now() + (1_500_000 if inspect.stack()[1].function == "lease" else 0)


class Eternal(MemoryStore):
    """Knows no end of a lease when it is told how it went."""

    async def settle(
        self, name: bytes, *, epoch: int, ending: Ending, reset_s: float
    ) -> SharedCircuit:
        await self.renew(name, epoch=epoch, lease_s=1)
        if (found := self._circuits.get(name)) is not None and found.epoch == epoch:
            found.leased_until = self._now() + 1
        return await super().settle(name, epoch=epoch, ending=ending, reset_s=reset_s)


class Unfenced(MemoryStore):
    """Believes whoever says something while anybody may try."""

    async def settle(
        self, name: bytes, *, epoch: int, ending: Ending, reset_s: float
    ) -> SharedCircuit:
        found = self._circuits.get(name)
        return await super().settle(
            name, epoch=found.epoch if found else epoch, ending=ending, reset_s=reset_s
        )


class Counting(MemoryStore):
    """Has small numbers for epochs."""

    def _change(self, *args: Any) -> Any:
        changed = super()._change(*args)
        changed.epoch = args[1].epoch + 1
        return changed


class Silent(MemoryStore):
    """Takes "nothing" for a failure."""

    async def settle(
        self, name: bytes, *, epoch: int, ending: Ending, reset_s: float
    ) -> SharedCircuit:
        ending = Ending.FAILURE if ending is Ending.NOTHING else ending
        return await super().settle(name, epoch=epoch, ending=ending, reset_s=reset_s)


class Unordered(MemoryStore):
    """Answers in an order of its own."""

    async def look(self, names: Sequence[bytes]) -> list[SharedCircuit]:
        return await super().look(sorted(set(names)))


class Generous(MemoryStore):
    """Gives all or nothing, and rather all."""

    async def take(self, name: bytes, pace: Pace, *, count: int, max_wait_s: float) -> Taken:
        found = await super().take(name, pace, count=count, max_wait_s=max_wait_s)
        return Taken(count if found.count else 0, found.next_in_s, found.mark)


class Lax(MemoryStore):
    """Takes back whatever is brought."""

    async def give_back(self, name: bytes, pace: Pace, *, mark: int) -> None:
        if name in self._buckets:
            self._buckets[name] -= pace.each_us


class Forgetful(MemoryStore):
    """Forgets too much."""

    async def prune(self, at_most: int) -> int:
        gone = len(self._circuits)
        self._circuits.clear()
        return gone


def failures(store: type[MemoryStore]) -> list[str]:
    class Home(SharedStoreConformance):
        patience_s = 5.0

        def new_store(self, clock: FakeClock) -> SharedStore:
            return store(clock)

    failed = []
    for name in TESTS:
        try:
            getattr(Home(), name)()
        except Exception:
            failed.append(name)
    return failed


def test_a_good_store_passes() -> None:
    assert failures(Good) == []


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Prolonging, "test_who_opens_it_once_more_prolongs_nothing"),
        (Trusting, "test_who_has_not_heard_that_it_was_opened_and_closed_does_not_open_it"),
        (Racing, "test_of_many_exactly_one_may_try"),
        (Impatient, "test_nobody_may_try_before_it_is_time"),
        (Eternal, "test_who_was_away_for_too_long_changes_nothing"),
        (Unfenced, "test_who_was_away_for_too_long_changes_nothing"),
        (Counting, "test_epochs_are_times_so_that_none_returns_when_all_is_forgotten"),
        (Silent, "test_who_says_nothing_lets_the_next_one_try"),
        (Unordered, "test_a_circuit_that_one_opens_is_open_for_all"),
        (Generous, "test_several_places_at_once_are_as_many_as_there_are"),
        (Lax, "test_the_last_place_can_be_given_back"),
        (Forgetful, "test_what_no_longer_matters_is_let_go_and_the_rest_stays"),
    ],
)
def test_the_suite_notices_a_broken_promise(broken: type[MemoryStore], test: str) -> None:
    assert test in failures(broken)


def test_every_test_says_what_it_proves_and_needs_nothing() -> None:
    assert len(TESTS) >= 25
    for name in TESTS:
        assert list(inspect.signature(getattr(SharedStoreConformance, name)).parameters) == ["self"]


def test_authors_of_stores_run_it_with_a_subclass_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        textwrap.dedent(
            """
            from backstay.integration.stability.shared.memory_store import MemoryStore
            from backstay.testing.integration_conformance import SharedStoreConformance

            class TestMine(SharedStoreConformance):
                def new_store(self, clock):
                    return MemoryStore(clock)
            """
        )
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_mine.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S * 2,
    )
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout


def test_the_suite_imports_without_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None; "
        "import backstay.testing.integration_conformance as suite; suite.SharedStoreConformance()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
