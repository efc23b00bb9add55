"""``ctx.state``: values that outlive the piece of work that stored them."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import EllipsisType
from typing import Any

from backstay.calls import is_async_callable, require_function
from backstay.errors import BadState, StateError
from backstay.state.bounds import MAX_VALUE_BYTES, key_bytes, scope_bytes, seconds_of
from backstay.state.port import StateStore, Ttl
from backstay.state.turns import Turns
from backstay.state.values import decoded, encoded

__all__ = ["State"]

_ATTEMPTS = 1000
_SMALL = 2**63
_NAMED = "named:"


class State:
    """JSON values by key, within one scope. All methods are coroutines but ``scope``.

    What may be stored: ``None``, bools, ints of any size, finite floats, texts, lists, and dicts
    with str keys of these. Everything else is refused, and the message says what to store in its
    place, because it would come back as something else.

    What ``get`` gives is the caller's own: changing it changes nothing but it. Call ``set``.

    State is no part of ``ctx.db``'s transaction: what is set stays set if the work fails later.

    Args:
        store: where the values are.
        scope: whose they are. Two scopes never see each other.
        max_value_bytes: how large a value may be, as JSON in UTF-8.
        ready: awaited before the store is used: opens it where it is not.
        may_write: called before every change; raises if it could only wait for itself.
        turns: shared by all states of one store; ``None``: this one's own.
        keep_s: seconds after its last change that a value lives at most, whatever was said.
            ``None``: as long as was said.

    Raises:
        BadState: ``scope`` is longer than 1024 bytes.
    """

    __slots__ = ("_keep_s", "_may_write", "_most", "_name", "_ready", "_scope", "_store", "_turns")

    def __init__(
        self,
        store: StateStore,
        scope: str,
        *,
        max_value_bytes: int = MAX_VALUE_BYTES,
        ready: Callable[[], Awaitable[object]] | None = None,
        may_write: Callable[[], object] | None = None,
        turns: Turns | None = None,
        keep_s: float | None = None,
    ) -> None:
        self._store = store
        self._keep_s = keep_s
        self._name = scope
        self._scope = scope_bytes(scope)
        self._most = max_value_bytes
        self._ready = ready
        self._may_write = may_write
        self._turns = turns if turns is not None else Turns()

    @classmethod
    def named(cls, store: StateStore, name: str, **options: Any) -> State:
        """The scope that everybody reaches with ``scope(name)``. ``options`` as for the class."""
        return cls(store, _named(name), **options)

    def scope(self, name: str) -> State:
        """Another scope, shared by whoever names it.

        Args:
            name: up to 1000 bytes. ``"app"`` is the one of requests, tasks and jobs. The scopes
                that backstay keeps for somebody (a user of a widget) cannot be named, so a name
                may come from outside.

        Raises:
            BadState: it is no text, or too long.
        """
        return State.named(
            self._store,
            name,
            max_value_bytes=self._most,
            ready=self._ready,
            may_write=self._may_write,
            turns=self._turns,
        )

    async def get(self, key: str, default: Any = None) -> Any:
        """The value of a key.

        Args:
            key: up to 512 bytes.
            default: returned if there is none, or its time is over. It is not stored, and of a
                dict, list or set a copy is returned.

        Raises:
            StateUnavailable: the store cannot be read; the default would be a lie.
        """
        name = key_bytes(key)
        if self._ready is not None:
            await self._ready()
        text = await self._store.read(self._scope, name)
        return _own(default) if text is None else decoded(text, key=key)

    async def set(self, key: str, value: Any, ttl: float | timedelta | None = None) -> None:
        """Store a value. When this returns it is written, and others see it.

        Args:
            key: up to 512 bytes.
            value: JSON, see the class.
            ttl: seconds, or a timedelta, after which it is gone. ``None``: never, whatever an
                earlier ``set`` said.

        Raises:
            BadState: the value, the key or the ttl cannot be; nothing was stored.
            StateUnavailable: the store cannot be written.
        """
        name = key_bytes(key)
        text = encoded(value, key=key, max_bytes=self._most)
        ttl_s = self._at_most(seconds_of(ttl))
        await self._before_change()
        await self._store.write(self._scope, name, text, ttl_s)

    async def delete(self, key: str) -> bool:
        """Forget a value. Whether there was one."""
        name = key_bytes(key)
        await self._before_change()
        return await self._store.remove(self._scope, name)

    async def clear(self) -> int:
        """Forget everything in this scope. How many values there were."""
        await self._before_change()
        return await self._store.clear(self._scope)

    async def keys(self, prefix: str = "") -> list[str]:
        """The keys that have a value now and begin with ``prefix``, sorted by code point."""
        start = key_bytes(prefix, "prefix of keys")
        if self._ready is not None:
            await self._ready()
        found = await self._store.keys(self._scope, start)
        return [each.decode("utf-8", "surrogatepass") for each in found]

    async def incr(
        self, key: str, by: float = 1, *, ttl: float | timedelta | None = None
    ) -> int | float:
        """Add to a number, atomically. What is not there counts as 0.

        Args:
            key: up to 512 bytes.
            by: how much, an int or a float; negative ones subtract.
            ttl: seconds to live from now on. ``None``: what it has left, and for ever if it is
                new. A window of a minute: set it with the first, ``if await incr(k) == 1``, or
                let it slide with ``ttl=60`` each time.

        Returns:
            The sum: an int if both were, else a float.

        Raises:
            BadState: what is stored is no number, or the sum is not finite; nothing was changed.
        """
        name = key_bytes(key)
        if isinstance(by, bool) or not isinstance(by, (int, float)) or not _is_finite(by):
            raise BadState(
                f"incr({key!r}, by=) is a finite number; got {by!r} of type {type(by).__qualname__}"
            )
        ttl_s = self._at_most(seconds_of(ttl))
        await self._before_change()
        if isinstance(by, int) and -_SMALL <= by < _SMALL:
            found = await self._store.add(self._scope, name, by, ttl_s)
            if found is not None:
                return found

        def add(current: Any) -> int | float:
            if isinstance(current, bool) or not isinstance(current, (int, float)):
                raise BadState(
                    f"incr({key!r}) needs a number, and the value stored is of type "
                    f"{type(current).__qualname__}; set or delete it first"
                )
            try:
                total = current + by
            except OverflowError:
                total = math.inf
            if not _is_finite(total):
                raise BadState(
                    f"incr({key!r}) would be beyond every float; the value was left as it is"
                )
            return total

        total: int | float = await self._change(key, name, add, 0, ... if ttl_s is None else ttl_s)
        return total

    async def update(
        self,
        key: str,
        fn: Callable[[Any], Any],
        default: Any = None,
        *,
        ttl: float | timedelta | EllipsisType | None = ...,
    ) -> Any:
        """Replace a value by what a function makes of it, atomically: no other change is lost.

        Args:
            key: up to 512 bytes.
            fn: given the value, returns the new one; async or not. It may run more than once, if
                somebody else changed the value meanwhile: it should do nothing but compute. What
                it raises is raised here, and nothing is changed. It runs in the event loop.
            default: given to ``fn`` if there is no value; never stored itself.
            ttl: seconds to live from now on, ``None`` for ever; left away, the value keeps what
                it has left (a new one lives for ever).

        Returns:
            The new value.

        Raises:
            BadState: ``fn`` returned what cannot be stored.
            StateError: others were faster a thousand times in a row.
        """
        name = key_bytes(key)
        require_function(fn, "ctx.state.update")
        kept: Ttl = ... if ttl is ... else self._at_most(seconds_of(ttl))
        if kept is ... and self._keep_s is not None:
            kept = self._keep_s
        await self._before_change()
        return await self._change(key, name, fn, default, kept)

    def __repr__(self) -> str:
        return f"<State {self._name!r} in {self._store.url}>"

    # ------------------------------------------------------------------ changing

    def _at_most(self, ttl_s: float | None) -> float | None:
        if self._keep_s is None:
            return ttl_s
        return self._keep_s if ttl_s is None else min(ttl_s, self._keep_s)

    async def _before_change(self) -> None:
        if self._may_write is not None:
            self._may_write()
        if self._ready is not None:
            await self._ready()

    async def _change(
        self, key: str, name: bytes, fn: Callable[[Any], Any], default: Any, ttl: Ttl
    ) -> Any:
        asynchronous = is_async_callable(fn)
        for _ in range(_ATTEMPTS):
            if asynchronous:
                # Not in turn: it may itself change this value, and would wait for its own end.
                done, value = await self._attempt(key, name, fn, default, ttl)
            else:
                async with self._turns.of(self._scope, name):
                    done, value = await self._attempt(key, name, fn, default, ttl)
            if done:
                return value
        raise StateError(
            f"update({key!r}) was overtaken {_ATTEMPTS} times by other changes of the same value, "
            "or its function changes that value itself; make the function faster, or use several "
            "keys"
        )

    async def _attempt(
        self, key: str, name: bytes, fn: Callable[[Any], Any], default: Any, ttl: Ttl
    ) -> tuple[bool, Any]:
        before = await self._store.read(self._scope, name)
        value = fn(_own(default) if before is None else decoded(before, key=key))
        if inspect.isawaitable(value):
            value = await value
        text = encoded(value, key=key, max_bytes=self._most)
        return await self._store.swap(self._scope, name, before, text, ttl), value


def _named(name: str) -> str:
    if not isinstance(name, str):
        raise BadState(f"a scope's name is a str; got {name!r} of type {type(name).__qualname__}")
    return _NAMED + name


def _own(default: Any) -> Any:
    return copy.deepcopy(default) if isinstance(default, (dict, list, set)) else default


def _is_finite(number: float) -> bool:
    return isinstance(number, int) or math.isfinite(number)
