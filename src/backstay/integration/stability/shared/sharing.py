"""What a pattern was told about sharing: with whom, and by what name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from backstay.calls import is_async_callable, name_of
from backstay.context import current_work
from backstay.errors import BadIntegration
from backstay.integration.outgoing import OutgoingCall
from backstay.integration.stability.pattern import patterns_of
from backstay.integration.stability.shared.shared_states import SharedStates

__all__ = ["Sharing", "read_sharing"]

logger = logging.getLogger("backstay.integration")


def read_sharing(shared: bool | SharedStates | None, pattern: str) -> Sharing | None:
    """What ``shared=`` says; ``None`` for this process alone.

    Args:
        shared: as the patterns take it.
        pattern: the pattern's name.

    Raises:
        BadIntegration: it is something else.
    """
    if shared is None or shared is False:
        return None
    if shared is not True and not isinstance(shared, SharedStates):
        raise BadIntegration(
            f"{pattern}(shared=) is True for what the app shares (add_integrations(app, ..., "
            "shared_state=)), what open_shared_states() gives, or None for this process alone; "
            f"got {type(shared).__qualname__}"
        )
    return Sharing(pattern, None if shared is True else shared)


@dataclass(frozen=True, slots=True)
class _Stand:
    """Where a pattern stands: a function, and how many of the same kind stand further inside."""

    function: str
    number: int


class Sharing:
    """How one decorator shares.

    Args:
        pattern: its kind, such as ``"CircuitBreaker"``.
        states: with whom; ``None`` for what the app of the running work shares.
    """

    def __init__(self, pattern: str, states: SharedStates | None) -> None:
        self._pattern = pattern
        self._given = states
        self._first: _Stand | None = None
        self._has_complained = False

    def check(self, func: Callable[..., Any]) -> None:
        """Refuse a function that is not async, and note where the decorator was put first."""
        if not is_async_callable(func):
            raise BadIntegration(
                f"sp.{self._pattern}(shared=) asks others in between, so it stands at async "
                f"functions; {name_of(func)} is none. Make it one, or leave shared= out"
            )
        if self._first is None:
            self._first = self._stand(func)

    def states(self, outgoing: OutgoingCall | None) -> SharedStates | None:
        """With whom the call that is running shares; ``None`` for nobody.

        Args:
            outgoing: the call of a declared endpoint that it is part of.
        """
        found = self._given
        if found is None and outgoing is not None:
            found = getattr(outgoing.owner, "shared_states", None)
        if found is None:
            work = current_work.get()
            if work is not None and work.app.has("integrations"):
                found = getattr(work.app.part("integrations"), "shared_states", None)
        if found is None:
            self._complain()
            return None
        return found if found.is_here else None

    def name(
        self,
        func: Callable[..., Any],
        outgoing: OutgoingCall | None,
        key: Hashable | None,
        *,
        has_key: bool,
    ) -> bytes:
        """The name of what is shared: the same in all processes.

        Args:
            func: what the pattern stands around.
            outgoing: as above.
            key: of the call.
            has_key: whether the pattern has keys, and so one state for all functions it stands at:
                then it is named for the first of them.
        """
        stand = self._first if has_key and self._first is not None else self._stand(func)
        parts: list[object] = [self._pattern, stand.function, stand.number]
        if outgoing is not None:
            parts += [outgoing.name, getattr(outgoing.owner, "name", "")]
        if has_key:
            parts.append(_told(key))
        text = repr([str(each) for each in parts])
        # Nobody's to read there: a key may be a person.
        return blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()

    def _stand(self, func: Callable[..., Any]) -> _Stand:
        inside = sum(each.name == self._pattern for each in patterns_of(func))
        qualname = getattr(func, "__qualname__", None) or name_of(func)
        return _Stand(f"{getattr(func, '__module__', '')}.{qualname}", inside)

    def _complain(self) -> None:
        if not self._has_complained:
            self._has_complained = True
            logger.warning(
                "sp.%s(shared=True) has nobody to share with, so this process goes on alone; give "
                "the app a place: add_integrations(app, ..., shared_state=)",
                self._pattern,
            )


def _told(key: Hashable | None) -> str:
    """A key as a text that other processes come to, too.

    Raises:
        BadIntegration: its text is the place that it has in this one's memory.
    """
    for each in key if isinstance(key, tuple) else (key,):
        if getattr(type(each), "__repr__", None) is object.__repr__:
            raise BadIntegration(
                f"a key= of what is shared is told apart by its repr(), and that of a "
                f"{type(each).__qualname__} is another one in each process; return a str or a number"
            )
    return repr(key)
