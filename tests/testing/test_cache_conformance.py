"""Stores that break one promise each, and whether the suite notices."""

import asyncio
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from backstay.cache.memory import MemoryStore
from backstay.cache.port import CacheStore
from backstay.testing import FakeClock
from backstay.testing.cache_conformance import CacheConformance
from tests.cache.fakes import Shaky
from tests.support import PATIENCE_S

TESTS = [name for name in dir(CacheConformance) if name.startswith("test_")]


class Good(MemoryStore):
    """Keeps every promise."""


class Late(MemoryStore):
    """Lets values live a little longer."""

    def put(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        super().put(values, ttl_s + 0.01)


class Early(MemoryStore):
    """Takes them a little too soon."""

    def put(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        super().put(values, ttl_s - 0.01)


class Stubborn(MemoryStore):
    """Keeps what stands there."""

    def put(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        for key, value in values.items():
            if self.peek([key]) == [None]:
                super().put({key: value}, ttl_s)


class Text(MemoryStore):
    """Takes everything for text."""

    def put(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        super().put({k: v.decode("utf-8", "replace").encode() for k, v in values.items()}, ttl_s)


class Sorted(MemoryStore):
    """Answers in an order of its own."""

    def peek(self, keys: Sequence[str]) -> list[bytes | None]:
        return super().peek(sorted(keys))


class Shortened(MemoryStore):
    """Takes long keys, and those with spaces, for others."""

    def peek(self, keys: Sequence[str]) -> list[bytes | None]:
        return super().peek([key.split(" ")[0][:100] for key in keys])

    def put(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        super().put({key.split(" ")[0][:100]: value for key, value in values.items()}, ttl_s)


class Hasty(MemoryStore):
    """Settles whatever stands there."""

    def settle_now(self, keys: Sequence[str], value: bytes, ttl_s: float) -> list[bytes]:
        self.put(dict.fromkeys(keys, value), ttl_s)
        return [value for _ in keys]


class Racing(Shaky):
    """Looks, and settles later."""

    def __init__(self, *, clock: FakeClock) -> None:
        super().__init__(clock)

    async def settle(self, keys: Sequence[str], value: bytes, ttl_s: float) -> list[bytes]:
        before = self.inner.peek(keys)
        await asyncio.sleep(0)
        for key, each in zip(keys, before, strict=True):
            if each is None:
                self.inner.put({key: value}, ttl_s)
        return [value if each is None else each for each in before]


class Locking(Shaky):
    """Gives its lock to everybody."""

    def __init__(self, *, clock: FakeClock) -> None:
        super().__init__(clock)

    async def lock(self, key: str, token: bytes, ttl_s: float) -> bool:
        return True


class Vague(MemoryStore):
    """Always says that there was something."""

    async def delete(self, keys: Sequence[str]) -> int:
        await super().delete(keys)
        return len(keys)


class Forgetful(MemoryStore):
    """Clears nothing."""

    async def clear(self) -> int:
        return 30


class Reviving(Shaky):
    """Makes up for a lost mark with one that there was before."""

    def __init__(self, *, clock: FakeClock) -> None:
        super().__init__(clock)
        self.marks: dict[str, bytes] = {}

    async def settle(self, keys: Sequence[str], value: bytes, ttl_s: float) -> list[bytes]:
        found = []
        for key in keys:
            [each] = await super().settle([key], self.marks.setdefault(key, value), ttl_s)
            found.append(each)
        return found

    async def set_many(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        await super().set_many({key: self.marks.get(key, values[key]) for key in values}, ttl_s)


def failures(store: Callable[..., CacheStore]) -> list[str]:
    class Home(CacheConformance):
        patience_s = 5.0

        def new_store(self, clock: FakeClock, namespace: str) -> CacheStore:
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


LIFE = "test_a_value_is_there_until_its_time_is_over_and_not_after"


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Late, LIFE),
        (Early, LIFE),
        (Stubborn, "test_the_last_that_was_put_there_counts"),
        (Text, "test_what_comes_back_is_what_was_put_there"),
        (Sorted, "test_answers_come_in_the_order_of_the_keys"),
        (Shortened, "test_no_two_keys_are_the_same"),
        (Hasty, "test_settling_leaves_what_stands_there"),
        (Racing, "test_of_many_that_settle_at_once_all_get_the_same"),
        (Locking, "test_a_lock_is_one_processs_until_it_is_freed_or_its_time_is_over"),
        (Vague, "test_deleting_says_how_many_there_were"),
        (Forgetful, "test_clearing_takes_what_is_of_this_namespace_only"),
        (Reviving, "test_an_invalidated_value_never_comes_back"),
    ],
)
def test_the_suite_notices_a_broken_promise(broken: Callable[..., Any], test: str) -> None:
    assert test in failures(broken)


def test_every_test_says_what_it_proves_and_needs_nothing() -> None:
    assert len(TESTS) >= 15
    for name in TESTS:
        assert list(inspect.signature(getattr(CacheConformance, name)).parameters) == ["self"]


def test_authors_of_stores_run_it_with_a_subclass_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        textwrap.dedent(
            """
            from backstay.cache.memory import MemoryStore
            from backstay.testing.cache_conformance import CacheConformance

            class TestMine(CacheConformance):
                def new_store(self, clock, namespace):
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
        "import backstay.testing.cache_conformance as suite; suite.CacheConformance()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
