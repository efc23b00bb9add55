"""``Cache``: what was made once is not made again for a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from backstay.cache.background import Background
from backstay.cache.blocking import Blocking, ProduceBlocking, run_in_loop
from backstay.cache.filling import Filling, Produce, Terms
from backstay.cache.flight import Flights
from backstay.cache.guard import Guard, StoreSilent
from backstay.cache.names import Names
from backstay.cache.opening import store_of
from backstay.cache.outcome import Fill, Outcome
from backstay.cache.port import CacheStore, LockingStore
from backstay.cache.shelf import Shelf
from backstay.cache.stats import Stats, Tally
from backstay.cache.times import seconds_of
from backstay.cache.values import decoded, encoded
from backstay.cache.waiting import Waiting, has_committed
from backstay.clock import Clock, SystemClock
from backstay.context import Context, current_work
from backstay.errors import BadCache

__all__ = ["Cache", "Produce"]

_CLOSE_PATIENCE_S = 5.0


class Cache:
    """Values under keys, each for a while, in memory or in a store that processes share.

    A store that fails is never heard of: what is not found is made, and not kept. It costs one
    ``op_timeout_s`` every ``retry_after_s``, and a line in the log now and then.

    It opens itself when it is first used. ``add_cache(app, ...)`` opens and closes one with the
    app; any other is closed by whoever made it, ``await cache.close()``, or used as
    ``async with Cache(...) as cache``. One event loop at a time uses it.

    Args:
        where: ``None`` or ``"memory://"``, ``"sqlite:///cache.db"``, ``"postgresql://…"``,
            ``"redis://…"``; a client of ``redis.asyncio`` (with or without ``decode_responses``),
            cashews' ``Cache``, or a ``CacheStore``. Clients and stores that are given have other
            uses: ``close`` leaves the clients open.
        namespace: what all keys begin with, so that several may share a store.
        max_bytes: of everything that is kept in memory; what was not used for longest makes room.
        clock: says what is too old. ``None``: the machine's.
        default_ttl: how long ``set`` keeps what it is not told; seconds, or a ``timedelta``.
        stale_s: for how many seconds a value that is too old may still be answered while it is
            made anew (RFC 5861 §3), where ``get_or_fill`` is not told.
        flight_timeout_s: how long anybody waits for a value that somebody else is making, before
            making it too.
        across: ``True``: of several processes, too, one makes a value and the others wait. Costs
            two more trips for each value that is made; needs Redis, SQLite or PostgreSQL.
        op_timeout_s: seconds that the store may take for one thing.
        retry_after_s: seconds before a store that failed is asked again.

    Raises:
        BadCache: ``where`` is none of these, or an option makes no sense.
        MissingExtra: the store's driver is not installed.
    """

    _ctx: Context | None = None

    def __init__(
        self,
        where: str | CacheStore | Any = None,
        *,
        namespace: str = "backstay",
        max_bytes: int = 64 * 1024 * 1024,
        clock: Clock | None = None,
        default_ttl: float | timedelta = 300.0,
        stale_s: float = 0.0,
        flight_timeout_s: float = 10.0,
        across: bool = False,
        op_timeout_s: float = 0.25,
        retry_after_s: float = 1.0,
    ) -> None:
        names = Names(namespace)
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._default_ttl_s = seconds_of(default_ttl, "default_ttl")
        self._stale_s = seconds_of(stale_s, "stale_s", zero=True)
        self._flight_timeout_s = seconds_of(flight_timeout_s, "flight_timeout_s")
        self._retry_after_s = seconds_of(retry_after_s, "retry_after_s")
        store = store_of(where, namespace=namespace, max_bytes=max_bytes, clock=self._clock)
        if across and not isinstance(store, LockingStore):
            raise BadCache(
                f"across=True needs a store that processes share and can lock; {store.url} is not "
                "one: use Redis, SQLite or PostgreSQL, or leave it away"
            )
        guard = Guard(
            store,
            self._clock,
            timeout_s=seconds_of(op_timeout_s, "op_timeout_s"),
            retry_after_s=self._retry_after_s,
        )
        self._shelf = Shelf(store, guard, names, self._clock)
        self._flights = Flights()
        self._tally = Tally()
        self._background = Background(self._clock, patience_s=_CLOSE_PATIENCE_S)
        self._filling = Filling(
            self._shelf,
            self._flights,
            self._background,
            self._tally,
            timeout_s=self._flight_timeout_s,
            across=across,
        )
        self._blocking = Blocking(
            self._shelf, self._flights, self._tally, timeout_s=self._flight_timeout_s
        )
        self._waiting = Waiting(self._invalidate_all_of, self._background.start)
        self._making_up = False

    # ------------------------------------------------------------------ life

    @property
    def url(self) -> str:
        """Where it is, without a password."""
        return self._shelf.store.url

    @property
    def clock(self) -> Clock:
        """What it goes by."""
        return self._clock

    @property
    def is_local(self) -> bool:
        """Whether it is in this process's memory, so that ``peek`` and plain functions reach it."""
        return self._shelf.local is not None

    async def open(self) -> None:
        """Open the store. One that cannot be opened now is opened when it can be."""
        self._background.open()
        with suppress(StoreSilent):
            await self._shelf.guard.ask(_nothing, "opening")

    async def close(self) -> None:
        """Finish what is under way in the background, five seconds at most, and close the store."""
        await self._background.close()
        if self._shelf.debts and not self._shelf.guard.is_silent:
            await self._shelf.make_up()
        await self._shelf.guard.close()

    async def __aenter__(self) -> Cache:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def settle(self) -> None:
        """Wait until nothing is being made in the background. For tests."""
        await self._background.settle()

    def stats(self) -> Stats:
        """How often it was asked, and what came of it."""
        return self._tally.stats()

    # ------------------------------------------------------------------ for people: JSON values

    async def get(self, key: str, default: Any = None) -> Any:
        """The value that was ``set``; ``default`` if there is none, or the store is out of reach.

        It is the caller's own: changing it changes nothing but it.
        """
        found = await self.lookup(key)
        if found is None or found.value is None:
            self._tally.add(key, "MISS")
            return default
        return decoded(found.value, default)

    async def set(
        self,
        key: str,
        value: Any,
        *,
        ttl: float | timedelta | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        """Keep a value; not, if the store is out of reach.

        What may have been invalidated since the value was read from somewhere is better made in
        ``get_or_fill``, which knows when that was.

        Args:
            key: any text.
            value: ``None``, bools, numbers, texts, lists, and dicts with str keys of these.
            ttl: seconds to live, or a ``timedelta``; ``None``: ``default_ttl``.
            tags: by which it can be invalidated.

        Raises:
            BadCache: it is no JSON, or ``ttl`` is no time.
        """
        raw = encoded(value, f"the value for {key!r}")
        ttl_s = self._default_ttl_s if ttl is None else seconds_of(ttl, "ttl")
        tags = _texts(tags)
        reading = await self._shelf.look(key, tags)
        await self._shelf.settle(reading)
        await self._shelf.keep(reading, Fill(raw), ttl_s, 0.0)

    async def delete(self, *keys: str) -> None:
        """Take values away, also those that this process is just making.

        What another process is just making is kept afterwards: use tags for what is filled. If
        the store is out of reach, this process trusts these keys no more until it was done.
        """
        if keys:
            self._flights.doom_keys(keys)
            if not await self._shelf.drop(keys):
                self._make_up_later()

    async def clear(self) -> None:
        """Take everything of this namespace away. As ``delete``, for all keys."""
        self._flights.doom_all()
        if not await self._shelf.drop_everything():
            self._make_up_later()

    # ------------------------------------------------------------------ tags

    async def invalidate(self, *tags: str) -> None:
        """Make everything worthless that has one of these tags, once what changed it is committed.

        Inside a piece of work (a request, a task, a job, a widget's call) that waits for its
        success, after the commit and before the answer leaves; if the work fails it is forgotten.
        Elsewhere it is done at once, and also if the work has used ``ctx.db`` and committed.

        Whoever was just making such a value from what was there before does not get it kept. The
        work itself finds nothing with these tags from now on, and nothing that it makes is kept.
        """
        _texts(tags)
        ctx = self._context()
        if ctx is None or not self._waiting.take(ctx, tags) or has_committed(ctx):
            await self.invalidate_now(*tags)

    async def invalidate_now(self, *tags: str) -> None:
        """The same without waiting for anything.

        If the store is out of reach, this process trusts nothing that has these tags until it was
        done, which is tried again and again in the background. Other processes, which cannot
        know, go on with what they find until then, or until its time is over.
        """
        if _texts(tags):
            await self._invalidate_all_of(tags)

    def _context(self) -> Context | None:
        """That of the piece of work that asks."""
        if self._ctx is not None:
            return self._ctx
        work = current_work.get()
        return None if work is None else work.context

    def _hidden(self) -> Mapping[str, None] | None:
        """Tags of what the piece of work that asks has changed, and not committed."""
        if not self._waiting or (ctx := self._context()) is None:
            return None
        return self._waiting.of(ctx)

    async def _invalidate_all_of(self, tags: Iterable[str]) -> None:
        self._flights.doom_tags(tags)
        if not await self._shelf.renew(tags):
            self._make_up_later()

    def invalidate_blocking(self, *tags: str) -> None:
        """``invalidate`` for plain functions; see ``get_or_fill_blocking``.

        Outside of worker threads, a cache in memory is invalidated at once.
        """
        try:
            run_in_loop(self.invalidate, *_texts(tags))
        except TypeError:
            if self._shelf.local is None:
                raise
            self._flights.doom_tags(tags)
            self._shelf.renew_now(tags)

    def _make_up_later(self) -> None:
        """Try again what the store could not do."""
        if not self._making_up:
            self._making_up = True
            self._clock.call_later(self._retry_after_s, self._begin_making_up)

    def _begin_making_up(self) -> None:
        self._background.start(self._make_up())

    async def _make_up(self) -> None:
        self._making_up = False
        if not await self._shelf.make_up() and not self._background.closed:
            self._make_up_later()

    # ------------------------------------------------------------------ looking

    async def lookup(self, key: str, tags: Sequence[str] = ()) -> Outcome | None:
        """What is there, ``"HIT"`` or ``"STALE"``; ``None`` for nothing. Nothing is made anew.

        Args:
            key: any text.
            tags: those that ``get_or_fill`` is given, if it is: they are found in the same trip.
        """
        reading = await self._shelf.look(key, tags)
        if (hidden := self._hidden()) and reading.touches(hidden):
            return None
        found = reading.outcome(self._shelf.now())
        if found is not None:
            self._tally.add(key, found.status)
        return found

    def peek(self, key: str, tags: Sequence[str] = ()) -> Outcome | None:
        """What is there and not too old, without waiting.

        ``None`` for nothing, and always where the cache is not in this process's memory.
        """
        if self._shelf.local is None:
            return None
        reading = self._shelf.look_now(key, tags)
        found = reading.outcome(reading.began_at)  # no time has passed since
        if found is None or found.status != "HIT":
            return None
        self._tally.add(key, "HIT")
        return found

    # ------------------------------------------------------------------ looking, else making

    async def get_or_fill(
        self,
        key: str,
        produce: Produce,
        *,
        ttl_s: float,
        stale_s: float | None = None,
        tags: Sequence[str] = (),
        refresh: Produce | None = None,
    ) -> Outcome:
        """What is there; if there is nothing, what ``produce`` makes, which is kept.

        Of several that want the same key at once in this process, one produces, and the others
        wait for that. If it fails or is cancelled, that is its caller's alone, and one of the
        others produces. If it returns ``None`` each of them produces for himself, and so does
        whoever has waited for ``flight_timeout_s``.

        Args:
            key: any text; different values have different ones.
            produce: makes the value, in the caller's own task. What it raises is raised here.
            ttl_s: seconds to live, unless the ``Fill`` says otherwise. 0: not kept.
            stale_s: for how many more the value may be answered while it is made anew in the
                background; ``None``: what the cache was told.
            tags: by which it can be invalidated.
            refresh: what the background calls in place of ``produce``. It runs when the caller
                has been answered: no context variable, nothing of a request is there any more.
        """
        terms = Terms(ttl_s, self._stale_s if stale_s is None else stale_s, tags)
        if hidden := self._hidden():
            return await self._filling.get_uncommitted(key, produce, terms=terms, hidden=hidden)
        return await self._filling.get(
            key, produce, terms=terms, refresh=refresh if refresh is not None else produce
        )

    def get_or_fill_blocking(
        self,
        key: str,
        produce: ProduceBlocking,
        *,
        ttl_s: float,
        stale_s: float | None = None,
        tags: Sequence[str] = (),
    ) -> Outcome:
        """The same for plain functions in threads: ``produce`` is one, too.

        A cache in memory is reached from anywhere, one elsewhere only from the worker threads that
        plain endpoints, dependencies and tasks run in. What is a little too old is made anew by
        the first who finds it so, while others are given the old one.

        Raises:
            TypeError: the cache is not in memory, and this is no worker thread.
        """
        terms = Terms(ttl_s, self._stale_s if stale_s is None else stale_s, tags)
        if hidden := self._hidden():
            return self._blocking.get_uncommitted(key, produce, terms, hidden)
        return self._blocking.get(key, produce, terms)

    def __repr__(self) -> str:
        return f"<Cache {self._shelf.names.namespace!r} in {self.url}>"


async def _nothing() -> None:
    """What is asked of a store that is only to be opened."""


def _texts(tags: Sequence[str]) -> tuple[str, ...]:
    """Raises: BadCache: a single text, which would be a tag for each of its letters."""
    if isinstance(tags, str):
        raise BadCache(f"tags= is several texts; got the one text {tags!r}: write [{tags!r}]")
    for tag in tags:
        if not isinstance(tag, str):
            raise BadCache(f"a tag is a str; got {tag!r} of type {type(tag).__qualname__}")
    return tuple(tags)
