"""Stores that break one promise each, and whether the suite notices."""

import asyncio
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backstay.state.memory import MemoryStore
from backstay.state.port import StateStore, Ttl
from backstay.testing import FakeClock
from backstay.testing.state_conformance import StateConformance
from tests.support import PATIENCE_S

TESTS = [name for name in dir(StateConformance) if name.startswith("test_")]


class Good(MemoryStore):
    """Keeps every promise."""


class Shared(MemoryStore):
    """One namespace for all."""

    async def read(self, scope: bytes, key: bytes) -> str | None:
        return await super().read(b"", scope + key)

    async def write(self, scope: bytes, key: bytes, value: str, ttl_s: float | None) -> None:
        await super().write(b"", scope + key, value, ttl_s)


class Late(MemoryStore):
    """Lets values live a little longer."""

    async def write(self, scope: bytes, key: bytes, value: str, ttl_s: float | None) -> None:
        await super().write(scope, key, value, ttl_s and ttl_s + 0.01)


class Early(MemoryStore):
    """Takes them a little too soon."""

    async def write(self, scope: bytes, key: bytes, value: str, ttl_s: float | None) -> None:
        await super().write(scope, key, value, ttl_s and ttl_s - 0.01)


class Sticky(MemoryStore):
    """Keeps the end of what stood there before."""

    async def write(self, scope: bytes, key: bytes, value: str, ttl_s: float | None) -> None:
        before = await self.read(scope, key)
        await self.swap(scope, key, before, value, ... if ttl_s is None else ttl_s)


class Racing(MemoryStore):
    """Looks, and writes later."""

    async def add(self, scope: bytes, key: bytes, by: int, ttl_s: float | None) -> int | None:
        before = int(await self.read(scope, key) or 0)
        await asyncio.sleep(0)
        await self.write(scope, key, str(before + by), ttl_s)
        return before + by


class Careless(MemoryStore):
    """Swaps whatever is there."""

    async def swap(
        self, scope: bytes, key: bytes, expected: str | None, value: str, ttl: Ttl
    ) -> bool:
        before = await self.read(scope, key)
        await asyncio.sleep(0)
        return await super().swap(scope, key, await self.read(scope, key), value, ttl) or bool(
            before
        )


class Forgetful(MemoryStore):
    """Forgets the end when it adds."""

    async def add(self, scope: bytes, key: bytes, by: int, ttl_s: float | None) -> int | None:
        total = await super().add(scope, key, by, ttl_s)
        if total is not None and ttl_s is None:
            await self.write(scope, key, str(total), None)
        return total


class Floating(MemoryStore):
    """Adds by floats."""

    async def add(self, scope: bytes, key: bytes, by: int, ttl_s: float | None) -> int | None:
        total = await super().add(scope, key, by, ttl_s)
        return None if total is None else int(float(total))


class Sweeping(MemoryStore):
    """Sweeps what has not expired."""

    async def sweep(self, limit: int) -> int:
        swept = await super().sweep(limit)
        for scope in list(self._scopes):
            await self.clear(scope)
        return swept


class Greedy(MemoryStore):
    """Clears everybody's."""

    async def clear(self, scope: bytes) -> int:
        count = await super().clear(scope)
        self._scopes.clear()
        return count


class Unsorted(MemoryStore):
    """Lists keys as they come."""

    async def keys(self, scope: bytes, prefix: bytes) -> list[bytes]:
        return (await super().keys(scope, prefix))[::-1]


class Unhelpful(MemoryStore):
    """Says nothing once it is closed."""

    def _check(self) -> None:
        pass


class Trimming(MemoryStore):
    """Cuts large values off."""

    async def write(self, scope: bytes, key: bytes, value: str, ttl_s: float | None) -> None:
        await super().write(scope, key, value if len(value) < 60_000 else '""', ttl_s)


class Vague(MemoryStore):
    """Always says that there was something."""

    async def remove(self, scope: bytes, key: bytes) -> bool:
        await super().remove(scope, key)
        return True


def failures(store: Callable[..., StateStore]) -> list[str]:
    class Home(StateConformance):
        patience_s = 5.0

        def new_store(self, clock: FakeClock) -> StateStore:
            return store(clock=clock)

    failed = []
    for name in TESTS:
        try:
            getattr(Home(), name)()
        except pytest.skip.Exception:
            pass
        except Exception:
            failed.append(name)
    return failed


def test_a_good_store_passes() -> None:
    assert failures(Good) == []


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Shared, "test_two_scopes_never_see_each_other"),
        (Late, "test_a_value_lives_until_its_time_is_over_and_no_longer"),
        (Early, "test_a_value_lives_until_its_time_is_over_and_no_longer"),
        (Sticky, "test_set_says_anew_how_long_a_value_lives"),
        (Racing, "test_sixty_four_at_once_lose_nothing"),
        (Careless, "test_of_many_who_would_be_first_one_is"),
        (Forgetful, "test_incr_and_update_keep_the_end_unless_told_otherwise"),
        (Floating, "test_incr_adds_exactly"),
        (Sweeping, "test_sweeping_forgets_what_has_expired_and_nothing_else"),
        (Greedy, "test_clear_takes_one_scope_and_counts"),
        (Unsorted, "test_keys_are_sorted_and_chosen_by_their_beginning"),
        (Unhelpful, "test_a_closed_store_says_so"),
        (Trimming, "test_large_values_come_back_whole"),
        (Vague, "test_delete_says_whether_there_was_something"),
    ],
)
def test_the_suite_notices_a_broken_promise(broken: Callable[..., Any], test: str) -> None:
    assert test in failures(broken)


def test_every_test_says_what_it_proves_and_needs_nothing() -> None:
    assert len(TESTS) >= 25
    for name in TESTS:
        assert list(inspect.signature(getattr(StateConformance, name)).parameters) == ["self"]


def test_authors_of_stores_run_it_with_a_subclass_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        textwrap.dedent(
            """
            from backstay.state.memory import MemoryStore
            from backstay.testing.state_conformance import StateConformance

            class TestMine(StateConformance):
                def new_store(self, clock):
                    return MemoryStore(clock=clock)
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
        "import backstay.testing.state_conformance as suite; suite.StateConformance()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
