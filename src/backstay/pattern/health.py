"""Whether the service can do its work: checks that are bounded, and asked once for all who ask."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import Context as Variables
from dataclasses import dataclass
from enum import StrEnum

from backstay.clock import Clock
from backstay.errors import BadPattern

__all__ = ["Finding", "Health", "HealthCheck", "Report", "Standing", "read_checks"]

logger = logging.getLogger("backstay.pattern")

_KEEP_S = 1.0
_LONGEST_DETAIL = 500


class Standing(StrEnum):
    """How something stands."""

    OK = "ok"
    DEGRADED = "degraded"
    """It does without something that it can do without."""
    DOWN = "down"

    @property
    def rank(self) -> int:
        """The worse, the higher."""
        return (Standing.OK, Standing.DEGRADED, Standing.DOWN).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """One thing that the service stands on.

    Attributes:
        check: finds out, without waiting for long and without harm if it is cancelled. It fails
            by raising, or by returning ``False``.
        timeout_s: seconds after which it has failed.
        vital: whether the service can do nothing useful without. One that is not vital makes it
            ``degraded``, which is still ready.
        applies: asked before each check, at once; ``False``: there is nothing to check now.
            ``None``: there always is.
    """

    check: Callable[[], Awaitable[object]]
    timeout_s: float = 1.0
    vital: bool = True
    applies: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        if not callable(self.check):
            raise BadPattern(f"a check is an async function without parameters; got {self.check!r}")
        if (
            isinstance(self.timeout_s, bool)
            or not isinstance(self.timeout_s, int | float)
            or not 0 < self.timeout_s < math.inf
        ):
            raise BadPattern(
                f"HealthCheck(timeout_s=) is more than 0 seconds; got {self.timeout_s!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one check.

    Attributes:
        standing: how it stands.
        duration_s: seconds that finding out took.
        detail: why, if it is not well; for operators, not for everybody.
    """

    standing: Standing
    duration_s: float
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of all of them.

    Attributes:
        standing: the worst.
        findings: each, by name.
    """

    standing: Standing
    findings: Mapping[str, Finding]


def read_checks(
    given: Mapping[str, HealthCheck | Callable[[], Awaitable[object]]] | Iterable[object],
) -> dict[str, HealthCheck]:
    """The checks, looked over.

    Args:
        given: by name, each a ``HealthCheck`` or its async function alone.

    Raises:
        BadPattern: one is something else.
    """
    if not given:
        return {}
    if not isinstance(given, Mapping):
        raise BadPattern(f"checks= is a mapping of names to async functions; got {given!r}")
    found: dict[str, HealthCheck] = {}
    for name, each in given.items():
        if not isinstance(name, str) or not name:
            raise BadPattern(f"checks= has the name {name!r}; a name is a text")
        found[name] = each if isinstance(each, HealthCheck) else HealthCheck(check=each)
    return found


class Health:
    """Asks all checks at once, and keeps what they said for a second.

    However many ask, and however often, each check runs once at a time, and once a second at most:
    asking is no way to wear the service out. A check that cannot be stopped is not begun again
    before it has ended.

    Args:
        checks: by name.
        clock: time.
    """

    def __init__(self, checks: Mapping[str, HealthCheck], clock: Clock) -> None:
        self._checks = dict(checks)
        self._clock = clock
        self._latest: tuple[float, Report] | None = None
        self._asking: asyncio.Task[Report] | None = None
        self._running: dict[str, asyncio.Task[object]] = {}
        self._told = Standing.OK

    def add(self, name: str, check: HealthCheck) -> None:
        """One more; it replaces one of that name."""
        self._checks[name] = check

    async def report(self) -> Report:
        """How the service stands, as of a second ago at most."""
        if self._latest is not None and self._clock.monotonic() - self._latest[0] < _KEEP_S:
            return self._latest[1]
        if self._asking is None:
            # In a task of its own: whoever asks first may be cancelled, and others wait as well.
            self._asking = asyncio.create_task(self._ask(), context=Variables())
        return await asyncio.shield(self._asking)

    async def close(self) -> None:
        """Stop asking."""
        tasks = [task for task in (self._asking, *self._running.values()) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_KEEP_S)
        self._asking = self._latest = None
        self._running.clear()

    async def _ask(self) -> Report:
        try:
            due = [(name, each) for name, each in self._checks.items() if _applies(each)]
            found = await asyncio.gather(*(self._find(name, check) for name, check in due))
            findings = dict(zip((name for name, _ in due), found, strict=True))
            standing = max(
                (each.standing for each in found), key=lambda each: each.rank, default=Standing.OK
            )
            report = Report(standing=standing, findings=findings)
            self._latest = (self._clock.monotonic(), report)
            self._tell(report)
            return report
        finally:
            self._asking = None

    async def _find(self, name: str, check: HealthCheck) -> Finding:
        began_s = self._clock.monotonic()
        detail = await self._fault(name, check)
        standing = Standing.OK
        if detail is not None:
            standing = Standing.DOWN if check.vital else Standing.DEGRADED
        return Finding(
            standing=standing, duration_s=self._clock.monotonic() - began_s, detail=detail
        )

    async def _fault(self, name: str, check: HealthCheck) -> str | None:
        """Why the check fails, ``None`` if it does not."""
        if (before := self._running.get(name)) is not None and not before.done():
            return "the check before this one has not ended, though it was cancelled"
        task = asyncio.ensure_future(_called(check))
        self._running[name] = task
        over = asyncio.get_running_loop().create_future()

        def end(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        task.add_done_callback(end)
        timer = self._clock.call_later(check.timeout_s, end)
        try:
            await over
        finally:
            timer.cancel()
            # Not awaited: what does not heed it must not hold up whoever asks.
            task.cancel()
        if not task.done():
            task.add_done_callback(_forget)
            return f"no answer within {check.timeout_s:g} s"
        if task.cancelled():
            return "the check was cancelled"
        if (error := task.exception()) is not None:
            # On one line: it goes to the log.
            return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_DETAIL]
        return "the check returned False" if task.result() is False else None

    def _tell(self, report: Report) -> None:
        """One line in the log when it changes, with the details that not everybody hears."""
        if report.standing is self._told:
            return
        faults = [f"{name}: {each.detail}" for name, each in report.findings.items() if each.detail]
        logger.log(
            logging.INFO if report.standing is Standing.OK else logging.WARNING,
            "readiness: %s, was %s%s",
            report.standing,
            self._told,
            f" ({'; '.join(faults)})" if faults else "",
        )
        self._told = report.standing


def _applies(check: HealthCheck) -> bool:
    try:
        return check.applies is None or check.applies()
    except Exception:
        logger.exception("it could not be told whether %r applies; it is asked", check)
        return True


async def _called(check: HealthCheck) -> object:
    answer = check.check()
    # Not told by the function: clients' own methods often return what is to be awaited.
    if not inspect.isawaitable(answer):
        raise TypeError(
            f"a check is an async function, so that it holds up nobody while it waits; "
            f"{check.check!r} returned {type(answer).__qualname__}: await asyncio.to_thread(...) "
            "in one"
        )
    return await answer


def _forget(task: asyncio.Task[object]) -> None:
    # Else asyncio complains that nobody has looked at what it raised.
    if not task.cancelled():
        task.exception()
