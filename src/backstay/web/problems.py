"""One format for every error that is answered: problem details, RFC 9457."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from traceback import format_exception
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketState

from backstay.appstate import DEBUG, TIMEZONE
from backstay.context import current_work
from backstay.errors import BackstayError, LimitsUnavailable
from backstay.log import correlation_id
from backstay.timezone import get_datetime_now
from backstay.web.exchange import SCOPE_KEY, Exchange
from backstay.web.problem_titles import Titles, phrase_of
from backstay.web.request_facts import facts_of, header_of, path_of
from backstay.web.safe_values import safe_headers, safe_json

__all__ = ["ProblemStyle", "answer_error", "closed_instead", "in_debug", "problem_response"]

logger = logging.getLogger("backstay.web")

_BLANK: Final = "about:blank"
_MOST_FRAMES: Final = -100
"""The last hundred of each traceback: deep recursion has a thousand that are all the same."""

_STANDARD: Final = frozenset(
    {
        *("type", "title", "status", "detail", "instance"),
        *("error_id", "correlation_id", "datetime", "traceback", "request"),
    }
)
"""Members that mean the same in every problem, and are nobody else's to set."""


@dataclass(frozen=True, slots=True)
class ProblemStyle:
    """How an app's problems are told; it is ``app.state.problem_details``.

    Attributes:
        app: the app, whose debug mode counts.
        titles: its own titles, ``None`` for the standard's phrases.
        docs_url: a template of ``type`` with ``{status}`` in it, ``None`` for ``about:blank``.
        options: what it was made of, to tell whether somebody wants another one.
    """

    app: Any
    titles: Titles | None = None
    docs_url: str | None = None
    options: object = None


def problem_response(
    status: int,
    detail: str,
    *,
    title: str | None = None,
    type_uri: str = _BLANK,
    instance: str | None = None,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, object] | None = None,
    error: BaseException | None = None,
) -> JSONResponse:
    """A problem details answer (RFC 9457 §3) with ``application/problem+json``.

    Args:
        status: the HTTP status code, repeated in the body.
        detail: what happened this time, for the client's developer; never internals.
        title: the kind of problem. ``None`` means the status code's own phrase, in the client's
            language if ``add_problem_details`` was given titles.
        type_uri: identifies the kind of problem; ``about:blank`` says the status code does, and
            gives way to the app's ``docs_url``.
        instance: what it happened to, usually the request's path. ``None`` leaves it out; in an app
            with ``add_problem_details`` it means the request's path.
        headers: more headers, such as ``Retry-After``. Those about the body are not taken.
        members: more members of the body (§3.2); they do not replace those that everyone knows.
        error: what was raised. It is logged, and shown in debug mode alone.

    While a piece of work is running, the extension members ``correlation_id``, ``error_id`` (32 hex
    digits, of this answer) and ``datetime`` (ISO 8601, in the service's zone) are added, and a line
    with both ids is logged: ERROR for 500, WARNING for other faults of the server, DEBUG for what
    the client did and for limits that nobody can count, which are said elsewhere.
    """
    status = int(status)
    work = current_work.get()
    exchange = work if isinstance(work, Exchange) else None
    scope = {} if exchange is None or exchange.scope is None else exchange.scope
    style = _style_of(scope)
    kept = safe_headers(headers)
    if title is None or title == phrase_of(status):
        title = phrase_of(status)
        if style is not None and style.titles is not None:
            language, title = style.titles.choose(
                status, header_of(scope, b"accept-language") or ""
            )
            kept["Content-Language"] = language
            kept["Vary"] = ", ".join(filter(None, [_pop(kept, "vary"), "Accept-Language"]))
    if style is not None:
        if type_uri == _BLANK and style.docs_url is not None:
            type_uri = style.docs_url.replace("{status}", str(status))
        if instance is None and scope:
            instance = path_of(scope)
    body: dict[str, object] = {
        "type": type_uri,
        "title": title,
        "status": status,
        "detail": detail,
    }
    if instance is not None:
        body["instance"] = instance
    correlation = correlation_id.get()
    if work is not None:
        body["error_id"] = error_id = work.app.clock.new_id()
        _log(status, scope, error_id, correlation, detail, error)
    if correlation is not None:
        body["correlation_id"] = correlation
    if work is not None:
        body["datetime"] = _now().isoformat()
    more = safe_json(members or {})
    body |= {name: each for name, each in more.items() if name not in _STANDARD}
    if in_debug(scope):
        if error is not None:
            body["traceback"] = "".join(format_exception(error, limit=_MOST_FRAMES)).splitlines()
        body["request"] = facts_of(scope)
    return JSONResponse(
        safe_json(body),
        status_code=status,
        headers=kept or None,
        media_type="application/problem+json",
    )


def _style_of(scope: Mapping[str, Any]) -> ProblemStyle | None:
    """That of the innermost app a request has come to, else of the outermost."""
    return _style_in(getattr(scope.get("app"), "state", None)) or _outer_style(scope)


def _outer_style(scope: Mapping[str, Any]) -> ProblemStyle | None:
    exchange: Exchange | None = scope.get(SCOPE_KEY)
    return None if exchange is None else _style_in(exchange.app.app_state)


def _style_in(state: Any) -> ProblemStyle | None:
    found = getattr(state, "problem_details", None)
    return found if isinstance(found, ProblemStyle) else None


def in_debug(scope: Mapping[str, Any]) -> bool:
    """Whether answers to a request may show the inside: ``add_problem_details`` and debug mode.

    The outermost app decides: one that is mounted may have been left in debug mode.

    Args:
        scope: the ASGI scope.
    """
    style = _outer_style(scope) or _style_of(scope)
    return style is not None and bool(DEBUG(style.app))


def _now() -> datetime:
    try:
        return get_datetime_now(TIMEZONE())
    except (LookupError, TypeError, ValueError):  # app.state.TIMEZONE is no zone
        return datetime.now(UTC)


def _pop(headers: dict[str, str], lower_name: str) -> str:
    for name in headers:
        if name.lower() == lower_name:
            return headers.pop(name)
    return ""


def _log(
    status: int,
    scope: Mapping[str, Any],
    error_id: str,
    correlation: str | None,
    detail: str,
    error: BaseException | None,
) -> None:
    told, fault = repr(detail), None
    if status < 500:
        level = logging.DEBUG  # and no more than the client hears: the rest repeats what it sent
    elif isinstance(error, LimitsUnavailable):
        level = logging.DEBUG  # whoever counts says it once a minute, and this is every request
    elif status > 500:
        level = logging.WARNING
        told = told if error is None else repr(error)
    else:
        level, fault = logging.ERROR, error
        told = told if error is None else type(error).__qualname__  # its traceback says more
    logger.log(
        level,
        "%s %s was answered with %d, error_id %s: %s",
        scope.get("method", "a request"),
        path_of(scope),
        status,
        error_id,
        told,
        exc_info=fault,
        extra={"correlation_id": correlation, "error_id": error_id},
    )


async def closed_instead(request: Request | WebSocket, status: int) -> bool:
    """Whether ``request`` is a WebSocket that no answer can be sent to. It is closed then.

    That is so once it was accepted, and where the server cannot deny with a response. The code is
    1008 (policy violation), 1013 (try again later) or 1011 (RFC 6455 §7.4.1 and the IANA registry
    it founded).

    Args:
        request: the request or WebSocket.
        status: what would have been answered.
    """
    if not isinstance(request, WebSocket):
        return False
    if request.application_state is WebSocketState.DISCONNECTED:
        return True
    if (
        request.application_state is not WebSocketState.CONNECTED
        and "websocket.http.response" in request.scope.get("extensions", {})
    ):
        return False
    await request.close(1013 if status in (429, 503) else 1008 if status < 500 else 1011)
    return True


async def answer_error(request: Request | WebSocket, error: Exception) -> JSONResponse | None:
    """The exception handler for ``BackstayError``: what the class says in public, no more.

    What only the operator can mend is logged. A WebSocket that cannot be answered is closed.
    """
    assert isinstance(error, BackstayError)
    headers = dict(error.public_headers)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    answer = problem_response(
        error.status,
        error.public_detail,
        title=error.title if error.status == type(error).status else None,
        instance=path_of(request.scope),
        headers=headers,
        members=error.public_members,
        error=error,
    )
    return None if await closed_instead(request, error.status) else answer
