"""Entries in a store: looked at, kept, and made worthless, whatever the store is up to.

Nothing here raises because the store fails. Where the store is in this process's memory, nothing
here waits, either.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from backstay.cache.debts import Debts
from backstay.cache.entry import Entry, pack
from backstay.cache.generations import (
    GENERATION_TTL_S,
    bumped_since,
    first_generation,
    new_generation,
)
from backstay.cache.guard import Guard, StoreSilent
from backstay.cache.names import Names
from backstay.cache.outcome import Fill
from backstay.cache.port import CacheStore, LocalStore
from backstay.cache.reading import Reading
from backstay.clock import Clock

__all__ = ["Shelf"]

_CLEAR_TIMEOUT_S = 60.0
_MOST_HINTS = 1000


class Shelf:
    """One namespace of a store.

    Args:
        store: the store.
        guard: through which it is asked.
        names: of the namespace.
        clock: says when entries are made and too old.

    Attributes:
        debts: what this process does not trust.
        local: the store, if it is in this process's memory.
    """

    def __init__(self, store: CacheStore, guard: Guard, names: Names, clock: Clock) -> None:
        self.store = store
        self.guard = guard
        self.names = names
        self.clock = clock
        self.debts = Debts()
        self.local: LocalStore | None = store if isinstance(store, LocalStore) else None
        # Tags that the last value of a key has brought and was not kept for: next time it is known
        # beforehand what they stand at.
        self._hints: OrderedDict[str, Sequence[str]] = OrderedDict()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.clock.now().timestamp()

    # ------------------------------------------------------------------ looking

    async def look(self, key: str, tags: Sequence[str]) -> Reading:
        """What stands under a key."""
        if self.local is not None:
            return self.look_now(key, tags)
        reading, names = self._begin(key, tags)
        try:
            values = await self.guard.ask(lambda: self.store.get_many(names), "reading")
            more = reading.take(values)
            if more:
                tag_names = [self.names.tag(tag) for tag in more]
                found = await self.guard.ask(lambda: self.store.get_many(tag_names), "reading")
                reading.generations.update(zip(more, found, strict=True))
        except StoreSilent:
            reading.reached, reading.entry = False, None
            return reading
        return self._trusted(reading, names[0])

    def look_now(self, key: str, tags: Sequence[str]) -> Reading:
        """The same, at once."""
        reading, names = self._begin(key, tags)
        local = self.local
        assert local is not None
        try:
            more = reading.take(self.guard.ask_at_once(lambda: local.peek(names), "reading"))
            if more:
                tag_names = [self.names.tag(tag) for tag in more]
                found = self.guard.ask_at_once(lambda: local.peek(tag_names), "reading")
                reading.generations.update(zip(more, found, strict=True))
        except StoreSilent:
            reading.reached, reading.entry = False, None
            return reading
        return self._trusted(reading, names[0])

    def _begin(self, key: str, tags: Sequence[str]) -> tuple[Reading, list[str]]:
        names = [self.names.entry(key), *map(self.names.tag, tags)]
        reading = Reading(key, tags, self.now())
        if self._hints and (hinted := self._hints.get(key)):
            reading.hinted = [tag for tag in hinted if tag not in tags]
            names += map(self.names.tag, reading.hinted)
        return reading, names

    def _trusted(self, reading: Reading, name: str) -> Reading:
        if self.debts and self.debts.includes(name, self._tag_names(reading.generations)):
            reading.entry = None
        return reading

    def _tag_names(self, tags: Iterable[str]) -> list[str]:
        return [self.names.tag(tag) for tag in tags]

    # ------------------------------------------------------------------ before and after producing

    async def settle(self, reading: Reading) -> None:
        """See to it that every tag has a mark, so that it is known what it stood at before."""
        if not reading.reached:
            return
        if self.local is not None:
            self.settle_now(reading)
        elif unmarked := reading.unmarked:
            try:
                marks = await self._settle(unmarked)
                reading.generations.update(zip(unmarked, marks, strict=True))
            except StoreSilent:
                reading.reached = False

    def settle_now(self, reading: Reading) -> None:
        """The same, at once."""
        unmarked = reading.unmarked if reading.reached else ()
        if unmarked:
            try:
                marks = self._settle_now(unmarked)
                reading.generations.update(zip(unmarked, marks, strict=True))
            except StoreSilent:
                reading.reached = False

    async def _settle(self, tags: Sequence[str]) -> list[bytes]:
        names, first = self._tag_names(tags), first_generation(self.clock)
        return await self.guard.ask(
            lambda: self.store.settle(names, first, GENERATION_TTL_S), "writing to"
        )

    def _settle_now(self, tags: Sequence[str]) -> list[bytes]:
        local = self.local
        assert local is not None
        names, first = self._tag_names(tags), first_generation(self.clock)
        return self.guard.ask_at_once(
            lambda: local.settle_now(names, first, GENERATION_TTL_S), "writing to"
        )

    async def learn(self, reading: Reading, fill: Fill) -> bool:
        """Find out what the tags stand at that the value itself has brought.

        Returns:
            Whether they stood there before it was made: as is known of those that the value before
            had, and as the time of their mark says of the others.
        """
        extra = _extra(reading, fill)
        if not extra or not reading.reached:
            return True
        if self.local is not None:
            return self.learn_now(reading, fill)
        try:
            return self._learn(reading, extra, await self._settle(extra))
        except StoreSilent:
            reading.reached = False
            return True

    def learn_now(self, reading: Reading, fill: Fill) -> bool:
        """The same, at once."""
        extra = _extra(reading, fill)
        if not extra or not reading.reached:
            return True
        try:
            return self._learn(reading, extra, self._settle_now(extra))
        except StoreSilent:
            reading.reached = False
            return True

    def _learn(self, reading: Reading, tags: Sequence[str], marks: Sequence[bytes]) -> bool:
        for tag, mark in zip(tags, marks, strict=True):
            before = reading.generations.get(tag)
            if before is None:
                one_clock = self.local is not None
                if bumped_since(mark, reading.began_at, one_clock=one_clock):
                    self._hint(reading.key, tags)
                    return False
                reading.generations[tag] = mark
            elif mark != before:
                return False
        self._hints.pop(reading.key, None)
        return True

    def _hint(self, key: str, tags: Sequence[str]) -> None:
        self._hints.pop(key, None)
        self._hints[key] = tags
        if len(self._hints) > _MOST_HINTS:
            self._hints.popitem(last=False)

    async def keep(self, reading: Reading, fill: Fill, ttl_s: float, stale_s: float) -> bool:
        """Put a value there, with what its tags stood at before it was made.

        Returns:
            Whether it was; not if one of its tags is not known, or not trusted.
        """
        if self.local is not None:
            return self.keep_now(reading, fill, ttl_s, stale_s)
        packed = self._packed(reading, fill, ttl_s, stale_s)
        if packed is None:
            return False
        name, raw = packed
        try:
            await self.guard.ask(lambda: self.store.set(name, raw, ttl_s + stale_s), "writing to")
        except StoreSilent:
            return False
        return True

    def keep_now(self, reading: Reading, fill: Fill, ttl_s: float, stale_s: float) -> bool:
        """The same, at once."""
        local = self.local
        assert local is not None
        packed = self._packed(reading, fill, ttl_s, stale_s)
        if packed is None:
            return False
        name, raw = packed
        try:
            self.guard.ask_at_once(lambda: local.put({name: raw}, ttl_s + stale_s), "writing to")
        except StoreSilent:
            return False
        return True

    def _packed(
        self, reading: Reading, fill: Fill, ttl_s: float, stale_s: float
    ) -> tuple[str, bytes] | None:
        if not reading.reached or ttl_s <= 0:
            return None
        generations: dict[str, bytes] = {}
        for tag in (*reading.tags, *fill.tags):
            mark = reading.generations.get(tag)
            if mark is None:
                return None
            generations[tag] = mark
        name = self.names.entry(reading.key)
        if self.debts and self.debts.includes(name, self._tag_names(generations)):
            return None
        return name, pack(Entry(fill.value, self.now(), ttl_s, stale_s, generations))

    # ------------------------------------------------------------------ making worthless

    async def renew(self, tags: Iterable[str]) -> bool:
        """Give tags new marks, so that no value made before is good. Whether that was done.

        If it was not, they are not trusted in this process, and ``make_up`` does it later.
        """
        if self.local is not None:
            return self.renew_now(tags)
        names = self._tag_names(tags)
        number = self.debts.owe(tags=names)
        if not await self._renew(names):
            return False
        self.debts.settled(number, tags=names)
        return True

    def renew_now(self, tags: Iterable[str]) -> bool:
        """The same, at once."""
        local = self.local
        assert local is not None
        names, mark = self._tag_names(tags), new_generation(self.clock)
        number = self.debts.owe(tags=names)
        try:
            self.guard.ask_at_once(
                lambda: local.put(dict.fromkeys(names, mark), GENERATION_TTL_S), "writing to"
            )
        except StoreSilent:
            return False
        self.debts.settled(number, tags=names)
        return True

    async def _renew(self, names: Sequence[str]) -> bool:
        values = dict.fromkeys(names, new_generation(self.clock))
        try:
            await self.guard.ask(
                lambda: self.store.set_many(values, GENERATION_TTL_S), "writing to"
            )
        except StoreSilent:
            return False
        return True

    async def drop(self, keys: Iterable[str]) -> bool:
        """Delete what stands under keys; as ``renew``."""
        names = [self.names.entry(key) for key in keys]
        number = self.debts.owe(entries=names)
        if not await self._drop(names):
            return False
        self.debts.settled(number, entries=names)
        return True

    async def _drop(self, names: Sequence[str]) -> bool:
        try:
            await self.guard.ask(lambda: self.store.delete(names), "writing to")
        except StoreSilent:
            return False
        return True

    async def drop_everything(self) -> bool:
        """Delete everything; as ``renew``."""
        number = self.debts.owe_everything()
        try:
            await self.guard.ask(self.store.clear, "clearing", timeout_s=_CLEAR_TIMEOUT_S)
        except StoreSilent:
            return False
        self.debts.settled_everything(number)
        return True

    async def make_up(self) -> bool:
        """Do what could not be done. Whether nothing is left."""
        debts = self.debts
        if debts.everything is not None:
            await self.drop_everything()
        if debts.tags:
            number, names = max(debts.tags.values()), list(debts.tags)
            if await self._renew(names):
                debts.settled(number, tags=names)
        if debts.entries:
            number, names = max(debts.entries.values()), list(debts.entries)
            if await self._drop(names):
                debts.settled(number, entries=names)
        return not debts


def _extra(reading: Reading, fill: Fill) -> list[str]:
    return [tag for tag in dict.fromkeys(fill.tags) if tag not in reading.tags]
