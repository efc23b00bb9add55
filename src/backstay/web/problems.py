"""One format for every error backstay answers itself: problem details, RFC 9457."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketState

from backstay.errors import BackstayError
from backstay.log import correlation_id

__all__ = ["answer_error", "problem_response"]

logger = logging.getLogger("backstay.web")


def problem_response(
    status: int,
    detail: str,
    *,
    title: str | None = None,
    type_uri: str = "about:blank",
    instance: str | None = None,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, object] | None = None,
) -> JSONResponse:
    """A problem details answer (RFC 9457 §3) with ``application/problem+json``.

    Args:
        status: the HTTP status code, repeated in the body.
        detail: what happened this time, for the client's developer; never internals.
        title: the kind of problem. ``None`` means the status code's own phrase.
        type_uri: identifies the kind of problem; ``about:blank`` says the status code does.
        instance: what it happened to, usually the request's path. ``None`` leaves it out.
        headers: more headers, such as ``Retry-After``.
        members: more members of the body (§3.2); they do not replace those that everyone knows.

    The extension member ``correlation_id`` is added when a piece of work is running.
    """
    body: dict[str, object] = {
        **(members or {}),
        "type": type_uri,
        "title": _phrase(status) if title is None else title,
        "status": status,
        "detail": detail,
    }
    if instance is not None:
        body["instance"] = instance
    if (correlation := correlation_id.get()) is not None:
        body["correlation_id"] = correlation
    return JSONResponse(
        body,
        status_code=status,
        headers=dict(headers) if headers else None,
        media_type="application/problem+json",
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # in nobody's registry, and allowed all the same
        return f"Status {status}"


async def answer_error(request: Request | WebSocket, error: Exception) -> JSONResponse | None:
    """The exception handler for ``BackstayError``: what the class says in public, no more.

    What only the operator can mend is logged. A WebSocket that was accepted, or whose server
    cannot deny with a response, is closed: 1013 (try again later) or 1011 (RFC 6455 §7.4.1 and
    the IANA registry it founded).
    """
    assert isinstance(error, BackstayError)
    if error.status == 500:
        logger.error(
            "%s was answered with 500: %s",
            request.url.path,
            error,
            exc_info=error,
            extra={"correlation_id": correlation_id.get()},
        )
    if isinstance(request, WebSocket) and (
        request.application_state is WebSocketState.CONNECTED
        or "websocket.http.response" not in request.scope.get("extensions", {})
    ):
        await request.close(1013 if error.status == 503 else 1011)
        return None
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    return problem_response(
        error.status,
        error.public_detail,
        title=error.title,
        instance=request.url.path,
        headers=headers,
        members=error.public_members,
    )
