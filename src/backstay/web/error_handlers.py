"""The handlers that answer errors nobody else has answered, and ``add_problem_details``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exception_handlers import (
    http_exception_handler,
    request_validation_exception_handler,
    websocket_request_validation_exception_handler,
)
from fastapi.exceptions import (
    RequestValidationError,
    ValidationException,
    WebSocketRequestValidationError,
)
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from backstay.errors import AlreadyInstalled, BackstayError, BadPattern
from backstay.web.exceptions import HTTPProblem
from backstay.web.exchange import Exchange
from backstay.web.framework_limits import BODY_HEADERS, BodyLimitProblems, limits_bodies
from backstay.web.installation import install, mounted_apps
from backstay.web.problem_schema import document_problems
from backstay.web.problem_titles import Titles, phrase_of
from backstay.web.problems import (
    ProblemStyle,
    answer_error,
    closed_instead,
    in_debug,
    problem_response,
)
from backstay.web.request_facts import path_of
from backstay.web.safe_values import safe_headers, safe_json

__all__ = [
    "add_problem_details",
    "answer_http_exception",
    "answer_invalid_request",
    "answer_unexpected",
]

_TOLD: Final[tuple[str, ...]] = ("loc", "msg", "type")
_TOLD_IN_DEBUG: Final = ("input", "ctx")
_MOST_ERRORS: Final = 100
_MOST_SAID: Final = 5
"""Errors that are told in the sentence; the list has more of them."""
_MOST_PLACE: Final = 100
"""Characters of a place in the sentence: clients may send keys of any length."""


def add_problem_details(
    app: Starlette,
    *,
    titles: Mapping[str, Mapping[int, str]] | None = None,
    docs_url: str | None = None,
) -> None:
    """Answer every error of an app in one format: problem details (RFC 9457).

    That goes for what endpoints, dependencies, routers and mounted apps raise, for 404 and 405 of
    routing, for invalid requests, for bodies that are too large, and for what nobody expected,
    which is a 500 that tells nothing of the inside. Handlers that the app has registered itself
    come first. Its OpenAPI document says how errors look. Calls ``install(app)`` if nobody has.

    In debug mode (``app.state.DEBUG``, else ``app.debug``, of the outermost app) the answers have a
    ``traceback`` and a ``request`` besides; Starlette's own page of the same kind is not shown.

    Args:
        app: the FastAPI app. It must not have started. Apps mounted in it are found when it does.
        titles: an app's own titles by language and status code, as in
            ``{"de": {404: "Nicht gefunden"}}``; ``Accept-Language`` chooses. ``None``: the
            standard's phrases, in English.
        docs_url: where each kind of problem is explained, with ``{status}`` in it, for ``type``.
            ``None``: ``about:blank``, which says that the status code is all there is to it.

    Raises:
        AlreadyInstalled: a second call with other options; with the same it does nothing.
        BadPattern: titles or a template that could never work.
        RuntimeError: ``app`` has started already.
        TypeError: ``app`` is no Starlette or FastAPI application.
    """
    backstay = install(app)
    options = (titles, docs_url)
    existing = getattr(app.state, "problem_details", None)
    if existing is not None:
        if existing.options != options:
            raise AlreadyInstalled(
                f"add_problem_details() was called with {existing.options!r} for this app, and now "
                f"with {options!r}; call it once, with all its options"
            )
        return
    if app.middleware_stack is not None:
        raise RuntimeError(
            "add_problem_details(app) came after the app had started; call it where the app is made"
        )
    app.state.problem_details = ProblemStyle(
        app, None if titles is None else Titles(titles), _template(docs_url), options
    )
    if isinstance(app, FastAPI):
        document_problems(app)
    _build_without_debug_page(app)
    build = app.build_middleware_stack

    def build_with_handlers() -> ASGIApp:
        # Mounted apps are known by now. Each answers its own errors, so each has to be told how.
        inner = set(mounted_apps(app.routes)) - {app}
        for each in (app, *inner):
            _add_handlers(each)
            if isinstance(each, FastAPI):
                document_problems(each)
        for each in inner:
            if getattr(each.state, "problem_details", None) is None:
                _build_without_debug_page(each)
        if any(map(limits_bodies, (app, *inner))):
            backstay.add_layer(BodyLimitProblems, headers=BODY_HEADERS)
        return build()

    app.build_middleware_stack = build_with_handlers  # type: ignore[method-assign]  # as install()


def _template(docs_url: str | None) -> str | None:
    if docs_url is None:
        return None
    if not isinstance(docs_url, str) or set("{}") & set(docs_url.replace("{status}", "")):
        raise BadPattern(
            f"docs_url is a URL with {{status}} in it and nothing else in braces; got {docs_url!r}"
        )
    return docs_url


def _build_without_debug_page(app: Starlette) -> None:
    """Keep Starlette's debug page away: where ``app.debug`` is on, it does not ask handlers."""
    build = app.build_middleware_stack

    def build_without() -> ASGIApp:
        debug, app.debug = app.debug, False
        try:
            return build()
        finally:
            app.debug = debug

    app.build_middleware_stack = build_without  # type: ignore[method-assign]  # on this one app only


def _add_handlers(app: Starlette) -> None:
    """Register ours where the app has none, or those that FastAPI gives to every app."""
    handlers = app.exception_handlers
    for kind, handler, usual in (
        (BackstayError, answer_error, None),
        (HTTPException, answer_http_exception, http_exception_handler),
        (RequestValidationError, answer_invalid_request, request_validation_exception_handler),
        (
            WebSocketRequestValidationError,
            answer_invalid_request,
            websocket_request_validation_exception_handler,
        ),
    ):
        if handlers.get(kind) in (None, usual):
            handlers[kind] = handler
    if not {500, Exception} & handlers.keys():
        handlers[Exception] = answer_unexpected


async def answer_http_exception(request: Request | WebSocket, error: Exception) -> Response | None:
    """The exception handler for ``HTTPException``, Starlette's and FastAPI's.

    A status below 400 is no error, and answered as FastAPI does.
    """
    assert isinstance(error, HTTPException)
    if await closed_instead(request, error.status_code):
        return None
    headers = safe_headers(error.headers)
    if error.status_code in (204, 304):
        return Response(status_code=error.status_code, headers=headers)
    if error.status_code < 400:
        return JSONResponse({"detail": safe_json(error.detail)}, error.status_code, headers)
    detail, members = _told(error.detail, error.status_code)
    title = type_uri = None
    if isinstance(error, HTTPProblem):
        title, type_uri = error.title, error.type_uri
        members |= error.members
    return problem_response(
        error.status_code,
        detail,
        title=title,
        type_uri=type_uri or "about:blank",
        instance=path_of(request.scope),
        headers=headers,
        members=members,
        error=error,
    )


def _told(detail: Any, status: int) -> tuple[str, dict[str, Any]]:
    """The text and the extension members in the ``detail`` of an exception, which may be anything."""
    detail = safe_json(detail)
    if isinstance(detail, dict):
        members = dict(detail)
        for name in ("detail", "message"):
            if isinstance(members.get(name), str):
                return members.pop(name), members
        return phrase_of(status), members
    if isinstance(detail, list):
        return phrase_of(status), {"errors": detail}
    return ("" if detail is None else str(detail)) or phrase_of(status), {}


async def answer_invalid_request(request: Request | WebSocket, error: Exception) -> Response | None:
    """The exception handler for ``RequestValidationError`` and its like for WebSockets.

    What was sent is not repeated outside debug mode: it may be a password, and answers are logged
    in more places than requests.
    """
    assert isinstance(error, ValidationException)
    if await closed_instead(request, 422):
        return None
    errors = error.errors()
    kept = _TOLD + _TOLD_IN_DEBUG if in_debug(request.scope) else _TOLD
    listed = [
        {name: safe_json(each[name]) for name in kept if name in each}
        for each in errors[:_MOST_ERRORS]
    ]
    return problem_response(
        422,
        _sentence(listed, len(errors)),
        instance=path_of(request.scope),
        members={"errors": listed},
        error=error,
    )


def _sentence(listed: Sequence[Mapping[str, Any]], count: int) -> str:
    said = [
        f"{'.'.join(map(str, each.get('loc', ())))[:_MOST_PLACE]}: {each.get('msg', '')}"
        for each in listed[:_MOST_SAID]
    ]
    more = f" And {count - len(said)} more." if count > len(said) else ""
    return f"The request will not do: {'; '.join(said)}.{more}"


async def answer_unexpected(request: Request, error: Exception) -> Response:
    """The exception handler for everything else: 500, and nothing of the inside.

    The error is raised again by Starlette, so that the server logs it too.
    """
    exchange = Exchange.of(request.scope)
    if exchange is not None and exchange.status is not None:
        # It failed in the middle of its answer or after it, or a mounted app has answered already:
        # this one will not be sent.
        return Response(status_code=500)
    if isinstance(error, ClientDisconnect):
        # In the middle of its body: nobody hears this. As a failure of the server it would be in the
        # log with its traceback, and anybody could make as many of those as he likes.
        return Response(status_code=400)
    # From middleware, where the handlers for these two are not asked.
    if isinstance(error, HTTPException) and (answer := await answer_http_exception(request, error)):
        return answer
    if isinstance(error, BackstayError) and (answer := await answer_error(request, error)):
        return answer
    return problem_response(
        500,
        "The server could not finish this request.",
        instance=path_of(request.scope),
        error=error,
    )
