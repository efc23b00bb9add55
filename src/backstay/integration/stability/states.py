"""What a pattern remembers, apart for each thing that is called."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Final, Generic, NamedTuple, Protocol, TypeVar
from weakref import WeakKeyDictionary, ref

__all__ = ["State", "States"]

_LOOKED_AT: Final = 8
"""How many of the oldest are asked whether they can be let go, each time one is added."""


class State(Protocol):
    """What is remembered about one thing."""

    def is_idle(self, now: float) -> bool:
        """Whether a new one would behave the same from now on.

        Args:
            now: seconds, as the clock's ``monotonic()``.
        """


S = TypeVar("S", bound=State)


class States(Generic[S]):
    """States by owner and name, made on first use. Safe to use from several threads.

    Those of an owner that is gone are gone with it, where it can be referred to weakly. Others are
    let go like those of nobody.

    Args:
        make: makes a new one.
        most: beyond so many of one owner, those not used for longest are let go if they are idle,
            so that keys taken from requests do not fill the memory.
    """

    def __init__(self, make: Callable[[], S], *, most: int = 10_000) -> None:
        self._make = make
        self._most = most
        self._nobodys: OrderedDict[Hashable, S] = OrderedDict()
        self._by_owner: WeakKeyDictionary[Hashable, OrderedDict[Hashable, S]] = WeakKeyDictionary()
        self._last: tuple[Hashable, ref[Hashable] | None, S] | None = None
        self._lock = Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._nobodys) + sum(map(len, self._by_owner.values()))

    def at_hand(self, name: Hashable, owner: Hashable | None = None) -> S | None:
        """What ``of`` would return, if that is the one that it returned last. Takes no lock.

        Args:
            name: the same object that ``of`` got; an equal one is not recognised.
            owner: whose it is, ``None`` for nobody's.
        """
        if (last := self._last) is None or last[0] is not name:
            return None
        _, owner_of, state = last
        if owner is None:
            return state if owner_of is None else None
        return state if owner_of is not None and owner_of() is owner else None

    def of(self, name: Hashable, now: float, owner: Hashable | None = None) -> S:
        """The state of that name.

        Args:
            name: what it is about.
            now: seconds, as the clock's ``monotonic()``.
            owner: whose it is, ``None`` for nobody's.
        """
        with self._lock:
            states, known_as = self._find(name, owner)
            state = states.get(known_as)
            if state is not None:
                states.move_to_end(known_as)
            else:
                state = states[known_as] = self._make()
                if len(states) > self._most:
                    self._let_go(states, now)
            # It is the newest, so it is not let go while it is the last one.
            if known_as is name:
                self._last = (name, None if owner is None else ref(owner), state)
            return state

    def known(self, owner: Hashable | None = None) -> list[tuple[Hashable, S]]:
        """All names of one owner, with their states; those that were used last come last."""
        with self._lock:
            if owner is None:
                return [each for each in self._nobodys.items() if not isinstance(each[0], _Owned)]
            try:
                return list(self._by_owner.get(owner, {}).items())
            except TypeError:
                return [
                    (name.name, state)
                    for name, state in self._nobodys.items()
                    if isinstance(name, _Owned) and name.owner == owner
                ]

    def _find(
        self, name: Hashable, owner: Hashable | None
    ) -> tuple[OrderedDict[Hashable, S], Hashable]:
        """Where it is or would be kept, and by what name. Holds the lock."""
        if owner is None:
            return self._nobodys, name
        try:
            states = self._by_owner.get(owner)
            if states is None:
                states = self._by_owner[owner] = OrderedDict()
        except TypeError:  # strings and the like cannot be referred to weakly
            return self._nobodys, _Owned(owner, name)
        return states, name

    def _let_go(self, states: OrderedDict[Hashable, S], now: float) -> None:
        """Drop old ones. Holds the lock; never drops the newest."""
        for _ in range(min(_LOOKED_AT, len(states) - 1)):
            if len(states) <= self._most:
                return
            name, oldest = next(iter(states.items()))
            if oldest.is_idle(now):
                del states[name]
            else:
                states.move_to_end(name)


class _Owned(NamedTuple):
    """The name of a state whose owner cannot be referred to weakly."""

    owner: Hashable
    name: Hashable
