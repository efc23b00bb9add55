"""What happened to logins, sessions and keys, for whoever has to answer for it later."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from inspect import iscoroutinefunction
from typing import Final

from backstay.clock import Clock, SystemClock
from backstay.errors import BadAuth
from backstay.log import correlation_id

__all__ = ["Audit", "AuditEvent", "Sink"]

_logger = logging.getLogger("backstay.audit")

_MOST: Final = 200

# What is shaped like a JWT (RFC 7519 §3.1) or like one of our keys and refresh tokens: people put
# them where a name belongs.
_CREDENTIALS: Final = re.compile(
    r"\bey[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)+|[a-z][a-z0-9]{1,15}_[A-Za-z0-9_-]{43,}"
)

_WARNED_OF: Final = re.compile(r"(^|_)(refused|reused|throttled)$")


@dataclass(frozen=True, slots=True)
class AuditEvent:
    r"""One thing that happened. No password, token or key is in it.

    Texts that others chose are short and printable: 200 characters at most, what is not printable
    written as Python does (``\n``), what looks like a token as ``***``.

    Attributes:
        name: what happened: ``"login"``, ``"login_refused"``, ``"token_refreshed"``,
            ``"refresh_refused"``, ``"refresh_reused"``, ``"session_ended"``, ``"sessions_ended"``,
            ``"token_revoked"``, ``"api_key_created"``, ``"api_key_revoked"``, ``"throttled"``.
        at: when, aware UTC.
        subject: whose; of a refused login, the name that was tried. ``None`` if unknown.
        client: the client's address, ``None`` if unknown.
        session: the session's id, ``None`` if it is about none.
        correlation_id: of the request or task it happened in, ``None`` outside any.
        detail: more for people; may be empty.
    """

    name: str
    at: datetime
    subject: str | None = None
    client: str | None = None
    session: str | None = None
    correlation_id: str | None = None
    detail: str = ""

    @property
    def is_warning(self) -> bool:
        """Whether something was refused, throttled or used twice."""
        return _WARNED_OF.search(self.name) is not None


Sink = Callable[[AuditEvent], object]
"""Is told of each event, in the thread and event loop in which it happened; must not block."""


class Audit:
    """Writes down what happened, in the log and wherever else somebody wants it.

    Each event is one record of the logger ``backstay.audit``: at WARNING if something was refused,
    throttled or used twice, else at INFO. Its fields are on the record as ``extra=`` puts them
    there, under the names that ``AuditEvent`` has, ``name`` as ``event``.

    Args:
        clock: what time it is. ``None``: the machine's.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = SystemClock() if clock is None else clock
        self._sinks: tuple[Sink, ...] = ()

    def add_sink(self, sink: Sink) -> None:
        """Tell somebody else, too. What a sink raises is logged and harms nobody.

        Raises:
            BadAuth: it cannot be called, or has to be awaited, which nobody would.
        """
        if not callable(sink) or iscoroutinefunction(sink) or _is_async(sink):
            raise BadAuth(
                f"a sink of audit events is a function that is not async; got {sink!r}: have it "
                "put the event into a queue, or schedule a task"
            )
        self._sinks = (*self._sinks, sink)

    def record(
        self,
        name: str,
        *,
        subject: str | None = None,
        client: str | None = None,
        session: str | None = None,
        detail: str = "",
    ) -> AuditEvent:
        """Write down that something happened, now and in the work that is running.

        Args:
            name: what, as ``AuditEvent.name``.
            subject: whose, as a client may have written it.
            client: the client's address.
            session: the session's id.
            detail: more for people. Never a password, a token or a key.

        Returns:
            The event as it was written.
        """
        event = AuditEvent(
            name=name,
            at=self._clock.now(),
            subject=_clean(subject),
            client=_clean(client),
            session=_clean(session),
            correlation_id=correlation_id.get(),
            detail=_clean(detail) or "",
        )
        level = logging.WARNING if event.is_warning else logging.INFO
        if _logger.isEnabledFor(level):
            _logger.log(level, "%s", _line(event), extra=_fields(event))
        for sink in self._sinks:
            try:
                sink(event)
            except Exception:
                _logger.exception("the audit sink %r failed at %s", sink, name)
        return event


def _line(event: AuditEvent) -> str:
    words = [event.name]
    for name in ("subject", "client", "session", "detail"):
        value = getattr(event, name)
        if value:
            # Quoted, so that no name can pretend to be two fields.
            words.append(f"{name}={json.dumps(value, ensure_ascii=False)}")
    return " ".join(words)


def _fields(event: AuditEvent) -> dict[str, object]:
    fields: dict[str, object] = {
        "event": event.name,
        "at": event.at.isoformat(),
        "subject": event.subject,
        "client": event.client,
        "session": event.session,
        "detail": event.detail,
    }
    if event.correlation_id is not None:  # else a CorrelationFilter fills it in
        fields["correlation_id"] = event.correlation_id
    return fields


def _clean(text: str | None) -> str | None:
    if text is None:
        return None
    # Looked at beyond the cut, or a token would be recognised no more and show its beginning.
    shown = _CREDENTIALS.sub("***", str(text)[: 20 * _MOST])[:_MOST]
    escaped = "".join(each if each.isprintable() else _escape(each) for each in shown)
    return escaped if len(escaped) <= _MOST else f"{escaped[: _MOST - 1]}…"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _is_async(sink: object) -> bool:
    return iscoroutinefunction(getattr(sink, "__call__", None))  # noqa: B004  # async __call__
