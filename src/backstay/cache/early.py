"""Answers for everybody, given before routing: no middleware, no dependency, no handler runs.

Nothing here knows routes. A route that says ``early=True`` teaches, each time that it answers,
under which key the answer to just this request line lies; the same line is answered from there the
next time. What was not asked in this process before goes the usual way once.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from starlette.types import Scope, Send

from backstay.cache.answer import Answer
from backstay.cache.cache import Cache
from backstay.cache.replay import Replay

__all__ = ["EarlyAnswers", "Line", "Spot"]

logger = logging.getLogger("backstay.cache")

_KEY = "backstay.cache.line"
_MOST_LINES = 10_000
_MOST_SPOTS = 100

RawLine = tuple[str, str, bytes, bytes, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an answer lies.

    Attributes:
        cache: in what.
        key: under which key.
        tags: with which tags, which are looked up with it.
        vary: the names of headers, besides host and accept, that the key depends on.
        takes_head: whether its route answers HEAD.
        heeds_clients: whether they may have it made anew.
    """

    cache: Cache
    key: str
    tags: Sequence[str]
    vary: tuple[bytes, ...]
    takes_head: bool
    heeds_clients: bool


@dataclass(slots=True)
class _Page:
    vary: tuple[bytes, ...]
    spots: dict[tuple[tuple[bytes, ...], ...], Spot] = field(default_factory=dict)


class Line:
    """One request as the server handed it over, for whoever learns where its answer lies."""

    __slots__ = ("_answers", "_headers", "_raw")

    def __init__(
        self, answers: EarlyAnswers, raw: RawLine, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self._answers = answers
        self._raw = raw
        self._headers = headers

    @staticmethod
    def of(scope: Scope) -> Line | None:
        """The line of a request, ``None`` if it came another way."""
        found: Line | None = scope.get(_KEY)
        return found

    def learn(self, scope: Scope, spot: Spot) -> None:
        """Answer this line from ``spot`` from now on.

        Not if a middleware has changed what the answer depends on since: then something else
        was asked than what the line says.

        Args:
            scope: as the handler sees it.
            spot: where the answer lies.
        """
        inner = scope["headers"]
        if _raw_line(scope, *_host_and_accept(inner)) == self._raw:
            values = tuple(_values(self._headers, name) for name in spot.vary)
            if values == tuple(_values(inner, name) for name in spot.vary):
                self._answers.learn(self._raw, values, spot)


class EarlyAnswers:
    """Answers requests before routing, where it has learned to.

    To be called for every HTTP request before anything else. What it cannot answer it leaves
    alone, and marks the scope so that the route may teach it.

    Args:
        most_lines: how many request lines are remembered; those asked longest ago are forgotten.
        is_on: whether to answer at all, at the moment. ``None`` means always.
    """

    def __init__(
        self, *, most_lines: int = _MOST_LINES, is_on: Callable[[], bool] | None = None
    ) -> None:
        self._is_on = is_on
        self._pages: OrderedDict[RawLine, _Page] = OrderedDict()
        self._most_lines = most_lines

    def __len__(self) -> int:
        return len(self._pages)

    async def __call__(self, scope: Scope, send: Send) -> bool:
        """Answer, if there is an answer for everybody.

        Args:
            scope: of a request over HTTP, as the server made it.
            send: takes the answer.

        Returns:
            Whether it was answered. It never raises for a reason of its own.
        """
        method = scope["method"]
        if method not in {"GET", "HEAD"} or Replay.of(scope) is not None:
            return False
        if self._is_on is not None and not self._is_on():
            return False
        headers = scope["headers"]
        hosts: list[bytes] = []
        accepts: list[bytes] = []
        control = None
        for name, value in headers:
            if name == b"host":
                hosts.append(value)
            elif name == b"accept":
                accepts.append(value)
            elif name == b"cache-control":
                control = value
            elif name == b"origin":
                return False  # a middleware answers with who may read it
        if not hosts:
            return False
        raw = _raw_line(scope, hosts, accepts)
        page = self._pages.get(raw)
        if page is None:
            scope[_KEY] = Line(self, raw, headers)
            return False
        vary = page.vary
        spot = page.spots.get(tuple([_values(headers, name) for name in vary]) if vary else ())
        if spot is None or not _may_answer(spot, method, control):
            scope[_KEY] = Line(self, raw, headers)
            return False
        try:
            sent = await _found(spot, headers, head=method == "HEAD")
        except Exception:
            logger.exception("an answer from the cache could not be given before routing")
            sent = None
        if sent is None:
            scope[_KEY] = Line(self, raw, headers)
            return False
        self._pages.move_to_end(raw)
        status, fields, body = sent
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})
        return True

    def learn(self, raw: RawLine, values: tuple[tuple[bytes, ...], ...], spot: Spot) -> None:
        """Remember where the answer to a line lies, for these values of what it varies on."""
        page = self._pages.get(raw)
        if page is None or page.vary != spot.vary:
            page = self._pages[raw] = _Page(spot.vary)
        elif len(page.spots) >= _MOST_SPOTS and values not in page.spots:
            page.spots.clear()
        page.spots[values] = spot
        self._pages.move_to_end(raw)
        if len(self._pages) > self._most_lines:
            self._pages.popitem(last=False)


async def _found(
    spot: Spot, headers: Sequence[tuple[bytes, bytes]], *, head: bool
) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
    cache = spot.cache
    if cache.is_local:
        outcome = cache.peek(spot.key, spot.tags)
    else:
        outcome = await cache.lookup(spot.key, spot.tags)
    # A stale one is given by its route, which has it made anew.
    if outcome is None or outcome.status != "HIT" or outcome.value is None:
        return None
    answer = Answer.unpack(outcome.value)
    if answer is None:
        return None
    return answer.give(headers, cache="HIT", age_s=outcome.age_s, head=head)


def _may_answer(spot: Spot, method: str, control: bytes | None) -> bool:
    if method == "HEAD" and not spot.takes_head:
        return False
    return not (spot.heeds_clients and control is not None and b"no-cache" in control.lower())


def _raw_line(scope: Scope, hosts: list[bytes], accepts: list[bytes]) -> RawLine:
    return (
        scope.get("scheme", ""),
        scope["path"],
        scope.get("query_string", b""),
        hosts[0] if len(hosts) == 1 else b"\0".join(hosts),
        tuple(accepts),
    )


def _host_and_accept(
    headers: Iterable[tuple[bytes, bytes]],
) -> tuple[list[bytes], list[bytes]]:
    found = list(headers)
    return (
        [value for name, value in found if name == b"host"],
        [value for name, value in found if name == b"accept"],
    )


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> tuple[bytes, ...]:
    return tuple([value for each, value in headers if each == name])
