"""How much of a request's body is read, and for how long: 413 and 408 instead of a full memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from fastapi import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backstay.clock import Clock, SystemClock
from backstay.errors import BadPattern
from backstay.web.problems import problem_response

__all__ = ["BodyBounds", "BodyLimits", "body_limits"]

F = TypeVar("F", bound=Callable[..., object])

_MARK = "__backstay_body_limits__"
_STARLETTES = "starlette.max_body_size"  # where FastAPI and Starlette say what a route has
_LONGEST_NUMBER = 19
"""Digits of a length that are read: ``int()`` is slow with many of them, and refuses 4301."""
_HUGE = 10**19
"""A length that has more of them, or less: no body is as large."""

_DETAILS = {
    400: "The request says in two ways how long its body is.",
    408: "The request's body came too slowly.",
    413: "The request's body is larger than this service reads.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyBounds:
    """What one body may be like.

    Attributes:
        max_bytes: how large, ``None`` for any size.
        timeout_s: seconds that it may take from when it is first asked for, besides those that
            its size takes at ``min_rate``. ``None``: any time.
        min_rate: bytes a second that whoever sends a large one has to reach.

    Raises:
        BadPattern: one is no such number.
    """

    max_bytes: int | None = 10 * 2**20
    timeout_s: float | None = 30.0
    min_rate: float = 1000.0

    def __post_init__(self) -> None:
        size, time = self.max_bytes, self.timeout_s
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
            raise BadPattern(f"the largest body is a number of bytes or None; got {size!r}")
        for what, seconds in (("the time a body may take", time), ("its rate", self.min_rate)):
            if seconds is not None and (
                isinstance(seconds, bool)
                or not isinstance(seconds, int | float)
                or not 0 < seconds < math.inf
            ):
                raise BadPattern(f"{what} is more than 0 and finite; got {seconds!r}")


def body_limits(
    *, max_bytes: int | None = 10 * 2**20, timeout_s: float | None = 30.0, min_rate: float = 1000.0
) -> Callable[[F], F]:
    """Other bounds for the body of one endpoint, in place of the app's. Write it below the route::

        @app.post("/films")
        @body_limits(max_bytes=2 * 2**30)
        async def upload(request: Request) -> None: ...

    They hold where the body is read by the endpoint or its parameters; a middleware that reads it
    first is bounded by the app's.

    Args:
        max_bytes: as for ``BodyBounds``, like the others.
        timeout_s: as for ``BodyBounds``.
        min_rate: as for ``BodyBounds``.

    Raises:
        BadPattern: as ``BodyBounds``.
    """
    bounds = BodyBounds(max_bytes=max_bytes, timeout_s=timeout_s, min_rate=min_rate)

    def mark(endpoint: F) -> F:
        setattr(endpoint, _MARK, bounds)
        return endpoint

    return mark


class BodyLimits:
    """Bounds the body of every request, as it is read; requests without one pass untouched.

    Nothing is read ahead: a body that says it is too large is refused before its first byte is
    asked for (and before ``100 Continue``), one that does not say is counted. Whatever the app
    makes of the refusal, the client hears 413 (RFC 9110 §15.5.14) or 408 (§15.5.9), and the
    connection is closed, for what is still under way on it is nobody's.

    A request that says in two ways how long its body is gets 400: a proxy may have believed the
    other one, and what it took for the rest of the body would be read as the next request
    (RFC 9112 §6.3). Some servers see to that themselves.

    A client that leaves in the middle of its body is no failure: nothing of it is raised.

    Stand it outside of everything that reads bodies. A route's bounds are, in this order: its mark
    (``body_limits``), FastAPI's ``max_body_size`` where FastAPI has that, these.

    Args:
        app: what reads.
        bounds: of all routes that say nothing else.
        clock: measures.
    """

    def __init__(self, app: ASGIApp, bounds: BodyBounds, *, clock: Clock | None = None) -> None:
        self.app = app
        self._bounds = bounds
        self._clock: Clock = SystemClock() if clock is None else clock

    # Not async: most requests have no body, and a coroutine around theirs would cost more than
    # the look at their headers.

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            length = None
            is_chunked = is_ambiguous = False
            # HTTP/1 says of every body that it comes (RFC 9112 §6.3); HTTP/2 need not.
            comes = scope.get("http_version", "1.1")[:1] != "1"
            for name, value in scope["headers"]:
                if name == b"content-length":
                    is_ambiguous = is_ambiguous or length not in (None, value)
                    length = value
                    comes = comes or value != b"0"
                elif name == b"transfer-encoding":
                    comes = is_chunked = True
            if is_ambiguous or (is_chunked and length is not None):
                return _refuse_ambiguous(scope, receive, send)
            if comes:
                return self._bound(scope, receive, send, length)
        return self.app(scope, receive, send)

    async def _bound(
        self, scope: Scope, receive: Receive, send: Send, length: bytes | None
    ) -> None:
        body = _Body(scope, receive, send, self._bounds, self._clock, length)
        try:
            await self.app(scope, body.receive, body.send)
        except ClientDisconnect:
            # Servers log what comes through to them as a failure, and this is none of the app's.
            if not body.was_cut_off:
                raise
        except Exception as error:
            # An answer that had begun when the body was refused can only be broken off.
            if body.began_early or not body.caused(error):
                raise
        await body.finish()


async def _refuse_ambiguous(scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem_response(400, _DETAILS[400], headers=_last_words(scope))
    await answer(scope, receive, send)


def _last_words(scope: Scope) -> dict[str, str]:
    # HTTP/2 has no such header (RFC 9113 §8.2.2), and streams that end by themselves.
    return {"Connection": "close"} if scope.get("http_version", "1.1")[:1] == "1" else {}


def _number(digits: bytes) -> int:
    digits = digits.lstrip(b"0")
    if len(digits) > _LONGEST_NUMBER:
        return _HUGE
    return int(digits or b"0")


class _Refused(HTTPException):
    """Raised where the body is read. FastAPI's own kind, which its reading of bodies lets pass."""


class _Body:
    """One request's body on its way in, and the answer on its way out."""

    __slots__ = (
        "_began_s",
        "_bounds",
        "_clock",
        "_complete",
        "_length",
        "_read_bytes",
        "_receive",
        "_refused",
        "_replaced",
        "_scope",
        "_send",
        "_was_answered",
        "began_early",
        "was_cut_off",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        bounds: BodyBounds,
        clock: Clock,
        length: bytes | None,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._bounds = bounds
        self._clock = clock
        # Servers have checked it; what is no number here is counted.
        self._length = _number(length) if length is not None and length.isdigit() else None
        self._read_bytes = 0
        self._began_s: float | None = None
        self._complete = False
        self._refused: _Refused | None = None
        self._replaced = False
        self._was_answered = False
        self.began_early = False
        self.was_cut_off = False

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        if self._refused is not None:
            raise self._refused
        bounds, max_bytes = self._bounds_of_route()
        if max_bytes is not None and self._length is not None and self._length > max_bytes:
            raise self._refusal(413)
        if bounds.timeout_s is None:
            message = await self._receive()
        else:
            message = await self._in_time(bounds.timeout_s, bounds.min_rate)
        if message["type"] != "http.request":
            self._complete = True
            self.was_cut_off = not self._was_answered
            return message
        self._read_bytes += len(message.get("body", b""))
        if max_bytes is not None and self._read_bytes > max_bytes:
            raise self._refusal(413)
        self._complete = not message.get("more_body", False)
        return message

    def _bounds_of_route(self) -> tuple[BodyBounds, int | None]:
        """Which route it is, is known by when it reads; a middleware that reads before has none."""
        marked: BodyBounds | None = getattr(self._scope.get("endpoint"), _MARK, None)
        if marked is not None:
            return marked, marked.max_bytes
        return self._bounds, self._scope.get(_STARLETTES, self._bounds.max_bytes)

    async def _in_time(self, timeout_s: float, min_rate: float) -> Message:
        clock = self._clock
        now_s = clock.monotonic()
        if self._began_s is None:
            self._began_s = now_s
        left_s = self._began_s + timeout_s + self._read_bytes / min_rate - now_s
        if left_s <= 0:
            raise self._refusal(408)
        try:
            async with asyncio.timeout(None) as bound:
                # By the clock that was given, which asyncio.timeout() does not know.
                timer = clock.call_later(left_s, partial(bound.reschedule, 0.0))
                try:
                    return await self._receive()
                finally:
                    timer.cancel()
        except TimeoutError:
            if not bound.expired():
                raise
            raise self._refusal(408) from None

    def _refusal(self, status: int) -> _Refused:
        self._refused = _Refused(status, _DETAILS[status], headers=_last_words(self._scope))
        return self._refused

    def caused(self, error: BaseException) -> bool:
        """Whether it was raised because this body was refused."""
        if self._refused is None:
            return False
        seen: set[int] = set()
        waiting: list[BaseException | None] = [error]
        while waiting:
            each = waiting.pop()
            if each is self._refused:
                return True
            if each is None or id(each) in seen:
                continue
            seen.add(id(each))
            waiting += (each.__cause__, each.__context__)
            if isinstance(each, BaseExceptionGroup):
                waiting += each.exceptions
        return False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            refused = self._refused
            if refused is not None and message["status"] != refused.status_code:
                self._replaced = True
                await self.finish()
                return
            self._was_answered = True
            self.began_early = refused is None
            if refused is not None or self._is_left_unread():
                headers = list(message.get("headers", ()))
                if all(name != b"connection" for name, _ in headers):
                    headers += [
                        (name.lower().encode(), value.encode())
                        for name, value in _last_words(self._scope).items()
                    ]
                message["headers"] = headers
        if not self._replaced:
            await self._send(message)

    def _is_left_unread(self) -> bool:
        """Whether more is on its way than anybody here would read."""
        if self._complete or self._length is None:
            return False
        _, max_bytes = self._bounds_of_route()
        return max_bytes is not None and self._length > max_bytes

    async def finish(self) -> None:
        """Answer with the refusal, if there is one that has not been answered with."""
        if self._refused is None or self._was_answered:
            return
        self._was_answered = True
        refused = self._refused
        answer = problem_response(
            refused.status_code, refused.detail, headers=dict(refused.headers or {})
        )
        await answer(self._scope, self._receive, self._send)
