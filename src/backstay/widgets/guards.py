"""Who may use a widget: ``auth_required``, ``optional_auth``, ``no_auth``.

::

    @auth_required                      @auth_required(scopes=["orders"])
    class Account(BaseWidget): ...      class Orders(BaseWidget): ...

A class without decorator does as its server: a token is required if the server verifies tokens.
Subclasses inherit, and may be decorated otherwise. What is declared here is told to clients
(``securitySchemes``) and enforced on the server whatever they make of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar, overload

from backstay.auth.scopes import read_scopes
from backstay.auth.token import VerifiedToken

__all__ = [
    "Denied",
    "Guard",
    "GuardKind",
    "auth_required",
    "guard_of",
    "no_auth",
    "optional_auth",
]

T = TypeVar("T", bound=Callable[..., Any])

_ATTRIBUTE = "__backstay_guard__"


class GuardKind(StrEnum):
    """What a declaration asks for."""

    REQUIRED = "auth_required"
    OPTIONAL = "optional_auth"
    NONE = "no_auth"
    SERVER = "as the server"


@dataclass(frozen=True, slots=True)
class Denied:
    """Why somebody may not use something.

    Attributes:
        status: 401 if a good token would help, 403 if this one does not allow enough.
        error: the code of RFC 6750 §3.1, ``None`` if no token was sent: then there is no error to
            speak of, only something to ask for.
        description: a sentence for people, to go with ``error``.
        scopes: all that a token has to allow.
        missing: those of them that this one does not; empty if there was none.
    """

    status: int
    error: str | None
    description: str
    scopes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guard:
    """Who may use a widget or tool.

    Attributes:
        kind: what its decorator asks for.
        scopes: what a token has to allow, beside what the server asks of all tokens.
    """

    kind: GuardKind = GuardKind.SERVER
    scopes: tuple[str, ...] = ()

    @classmethod
    def none(cls) -> Guard:
        """That of something of which nothing is said: it does as the server."""
        return cls()

    @classmethod
    def required(cls, scopes: Iterable[str] = ()) -> Guard:
        """That of a server that verifies tokens, for what says nothing itself.

        Args:
            scopes: what the server asks of all tokens.

        Raises:
            TypeError, ValueError: scopes are no strings, or have characters that none may have.
        """
        return cls(GuardKind.REQUIRED, read_scopes(scopes))

    @property
    def said(self) -> bool:
        """Whether anything is declared, so that clients should be told."""
        return self.kind is not GuardKind.SERVER

    def requires_token(self, server_required: bool) -> bool:
        """Whether nobody may use it without a token.

        Args:
            server_required: whether the server verifies tokens.
        """
        return self.kind is GuardKind.REQUIRED or (
            self.kind is GuardKind.SERVER and server_required
        )

    def required_scopes(self, server_scopes: Iterable[str] = ()) -> tuple[str, ...]:
        """All that a token has to allow: what the server asks for, then what is declared here."""
        return tuple(dict.fromkeys([*server_scopes, *self.scopes]))

    def security_schemes(
        self, *, server_required: bool = False, server_scopes: Iterable[str] = ()
    ) -> list[dict[str, Any]]:
        """The ``securitySchemes`` of a tool, as ChatGPT reads them.

        Args:
            server_required: whether the server verifies tokens.
            server_scopes: what it asks of all tokens.
        """
        oauth2 = {"type": "oauth2", "scopes": list(self.required_scopes(server_scopes))}
        if self.requires_token(server_required):
            return [oauth2]
        if self.kind is GuardKind.OPTIONAL:
            return [{"type": "noauth"}, oauth2]
        return [{"type": "noauth"}]

    def announced(
        self, *, server_required: bool = False, server_scopes: Iterable[str] = ()
    ) -> list[dict[str, Any]] | None:
        """The same, ``None`` where neither the tool nor its server has anything to say."""
        if not self.said and not server_required:
            return None
        return self.security_schemes(server_required=server_required, server_scopes=server_scopes)

    def check(
        self,
        token: VerifiedToken | None,
        *,
        server_required: bool = False,
        server_scopes: Iterable[str] = (),
        presented: bool = False,
    ) -> Denied | None:
        """Whether somebody may use it: ``None`` if so.

        A token that comes along where it is optional has to be as good as a required one:
        otherwise code that finds a user would have to ask again what the user may do, and
        somebody whose token has ended would silently go on as nobody.

        Args:
            token: what the client's token says, ``None`` if it sent none or a bad one.
            server_required: whether the server verifies tokens. ``auth_required`` denies everybody
                where it does not.
            server_scopes: what the server asks of all tokens.
            presented: the client sent a token. Tells a bad one from none.
        """
        if self.kind is GuardKind.NONE or (self.kind is GuardKind.SERVER and not server_required):
            return None
        scopes = self.required_scopes(server_scopes)
        if token is None:
            if presented:
                return Denied(
                    401,
                    "invalid_token",
                    "The access token is not valid here, or has ended.",
                    scopes,
                )
            if self.kind is GuardKind.OPTIONAL:
                return None
            return Denied(401, None, "An access token is required.", scopes)
        missing = tuple(scope for scope in scopes if scope not in token.scopes)
        if not missing:
            return None
        return Denied(
            403,
            "insufficient_scope",
            f"The access token does not allow: {' '.join(missing)}",
            scopes,
            missing,
        )


def guard_of(target: object) -> Guard | None:
    """What was declared for a class, an instance of it, or a function; ``None`` if nothing was."""
    found = getattr(target, _ATTRIBUTE, None)
    return found if isinstance(found, Guard) else None


@overload
def auth_required(target: T, /) -> T: ...
@overload
def auth_required(scopes: Sequence[str] | None = None) -> Callable[[T], T]: ...
def auth_required(scopes: T | Sequence[str] | None = None) -> T | Callable[[T], T]:
    """Nobody may use this widget or tool without a good token.

    ``@auth_required``, ``@auth_required()``, ``@auth_required(["orders"])`` and
    ``@auth_required(scopes=["orders"])`` all work, on classes and on functions.

    Args:
        scopes: what the token has to allow (RFC 6749 §3.3), beside what the server asks of all.

    Raises:
        TypeError: what it decorates is neither class nor function, or scopes are no strings.
        ValueError: a scope has characters that none may have, or there is a decorator already.
    """
    return _guarded(GuardKind.REQUIRED, scopes)


@overload
def optional_auth(target: T, /) -> T: ...
@overload
def optional_auth(scopes: Sequence[str] | None = None) -> Callable[[T], T]: ...
def optional_auth(scopes: T | Sequence[str] | None = None) -> T | Callable[[T], T]:
    """Anybody may use this widget or tool; ``ctx.user`` is there for those with a token.

    Written like ``auth_required``. A token that is bad, or does not allow the scopes, is denied.

    Args:
        scopes: what a token has to allow, if there is one.

    Raises:
        TypeError, ValueError: as ``auth_required``.
    """
    return _guarded(GuardKind.OPTIONAL, scopes)


@overload
def no_auth(target: T, /) -> T: ...
@overload
def no_auth() -> Callable[[T], T]: ...
def no_auth(target: T | None = None, /) -> T | Callable[[T], T]:
    """Anybody may use this widget or tool, also where the server verifies tokens.

    ``@no_auth`` and ``@no_auth()`` both work, on classes and on functions.

    Raises:
        TypeError: what it decorates is neither class nor function.
        ValueError: there is a decorator already.
    """
    return _guarded(GuardKind.NONE, target)


def _guarded(kind: GuardKind, given: T | Sequence[str] | None) -> T | Callable[[T], T]:
    if callable(given):
        return _mark(given, Guard(kind))
    if kind is GuardKind.NONE and given is not None:
        raise TypeError(
            f"no_auth decorates a class or a function and takes no scopes; got {given!r}"
        )
    guard = Guard(kind, read_scopes(given))
    return lambda target: _mark(target, guard)


def _mark(target: T, guard: Guard) -> T:
    if not (inspect.isclass(target) or inspect.isfunction(target)):
        raise TypeError(
            f"{guard.kind} decorates a class or a function; got {target!r} of type "
            f"{type(target).__qualname__}"
        )
    before = vars(target).get(_ATTRIBUTE)
    if before is not None:
        raise ValueError(
            f"{target.__qualname__} is decorated twice, by {before.kind} and by {guard.kind}; "
            "keep one of them"
        )
    setattr(target, _ATTRIBUTE, guard)
    return target
