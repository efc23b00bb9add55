"""Whatever is done in whatever order, a cache gives what is true, or nothing."""

import asyncio
import tempfile
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from backstay.cache import Cache, Fill
from backstay.cache.state_store import StateCacheStore
from backstay.testing import FakeClock
from tests.ledger.databases import quick_directory

KEYS = st.sampled_from(["a", "b"])
TAGS = st.lists(st.sampled_from(["t", "u", "v"]), max_size=2, unique=True)
LIVES = st.sampled_from([5.0, 20.0, 100.0])


class Truth(RuleBasedStateMachine):
    """A table that changes, and a cache in front of it, used by one or two processes.

    What is promised: nobody gets a value from before a change whose tag was invalidated since, nor
    one that is too old.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.versions = {"t": 0, "u": 0, "v": 0}
        self.caches: list[Cache] = []

    def make_caches(self) -> list[Cache]:
        cache = Cache(clock=self.clock)
        return [cache, cache]

    @initialize()
    def begin(self) -> None:
        self.caches = self.make_caches()
        for cache in self.caches:
            self.runner.run(cache.open())

    def truth(self, tags: list[str], extra: list[str]) -> bytes:
        return ",".join(f"{tag}{self.versions[tag]}" for tag in (*tags, *extra)).encode()

    @rule(who=st.integers(0, 1), key=KEYS, tags=TAGS, extra=TAGS, life=LIVES, during=TAGS)
    def ask(
        self,
        who: int,
        key: str,
        tags: list[str],
        extra: list[str],
        life: float,
        during: list[str],
    ) -> None:
        """Ask for what stands in the table under some tags, while somebody else changes it."""
        extra = [tag for tag in extra if tag not in tags]
        made_at = self.clock.monotonic()
        name = f"{key}:{tags}:{extra}:{life}"

        async def run() -> None:
            before = self.truth(tags, extra)

            async def produce() -> Fill:
                read = self.truth(tags, extra)
                for tag in during:
                    self.versions[tag] += 1
                    await self.caches[1 - who].invalidate(tag)
                return Fill(read, tags=extra)

            found = await self.caches[who].get_or_fill(name, produce, ttl_s=life, tags=tags)
            assert found.value == before
            assert found.age_s < life
            assert self.clock.monotonic() == made_at

        self.runner.run(run())

    @rule(who=st.integers(0, 1), tag=st.sampled_from(["t", "u", "v"]))
    def change(self, who: int, tag: str) -> None:
        self.versions[tag] += 1
        self.runner.run(self.caches[who].invalidate(tag))

    @rule(seconds=st.sampled_from([0.5, 3.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.runner.run(self.clock.advance(seconds))

    @rule(who=st.integers(0, 1), tag=st.sampled_from(["t", "u", "v"]))
    def lose_a_mark(self, who: int, tag: str) -> None:
        """As a store does that needs room."""
        shelf = self.caches[who]._shelf
        self.runner.run(shelf.store.delete([shelf.names.tag(tag)]))

    @rule(who=st.integers(0, 1))
    def clear(self, who: int) -> None:
        self.runner.run(self.caches[who].clear())

    @invariant()
    def nothing_is_owed(self) -> None:
        assert not any(each._shelf.debts for each in self.caches)

    def teardown(self) -> None:
        for cache in self.caches:
            self.runner.run(cache.close())
        self.runner.close()


class TruthInSqlite(Truth):
    """Two processes that share a file."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(dir=quick_directory())

    def make_caches(self) -> list[Cache]:
        url = f"sqlite:///{self.directory.name}/cache.db"
        return [
            Cache(
                StateCacheStore(url, namespace="backstay", clock=self.clock),
                clock=self.clock,
                op_timeout_s=10,
            )
            for _ in range(2)
        ]

    def teardown(self) -> None:
        super().teardown()
        self.directory.cleanup()


@pytest.mark.parametrize(
    ("machine", "examples"), [(Truth, 60), (TruthInSqlite, 12)], ids=["memory", "sqlite"]
)
def test_what_was_invalidated_never_comes_back(machine: Any, examples: int) -> None:
    case = machine.TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=25, deadline=None)
    case("runTest").runTest()
