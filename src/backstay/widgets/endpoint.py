"""The ASGI endpoint: one address that speaks MCP over Streamable HTTP.

It reads the request once, decides who may come in and on which path the request is served:

- a client of MCP 2026-07-28, or one of the handshake era where the server is ``stateless``: by
  ``SingleExchange``, with nothing to come back to,
- one of the handshake era, with sessions: by the SDK's session manager.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Mapping
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    InboundLadderRejection,
    classify_inbound_request,
    find_duplicated_routing_header,
    unsupported_protocol_version_rejection,
    validate_mcp_param_headers,
    x_mcp_header_map,
)
from mcp_types import (
    DEFAULT_NEGOTIATED_VERSION,
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from backstay.auth.bearer import read_bearer
from backstay.auth.token import VerifiedToken, ask_verifier
from backstay.errors import AuthError, BackstayError, TokensUncheckable
from backstay.log import correlation_id
from backstay.widgets.gate import Gate, Refusal
from backstay.widgets.guards import Guard
from backstay.widgets.office import Office
from backstay.widgets.protected_resource import challenge
from backstay.widgets.single_exchange import SingleExchange, encode
from backstay.widgets.visit import Visit, user_of

__all__ = ["Endpoint"]

logger = logging.getLogger("backstay.widgets")

_SESSION = re.compile(rb"[\x21-\x7E]{16,128}")
_MOST_DEEP = 100
"""Levels of objects and lists in a message: what comes after the parser is recursive as well."""

_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_OF_ONE_TASK = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
_HANDSHAKE = frozenset(version.encode("ascii") for version in HANDSHAKE_PROTOCOL_VERSIONS)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)
"""JSON as RFC 8259 has it, which knows no NaN."""


class Endpoint:
    """Answers at one address. An ASGI application."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._repeats: dict[str, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
            return
        # Of headers that come twice the last counts; the one that must not is looked at below.
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            origin = self._office.gate.check(scope, headers)
        except Refusal as refusal:
            logger.warning("refused %d: %s", refusal.status, refusal.message)
            await _refuse(send, refusal)
            return
        if origin is not None:
            send = _telling_browsers(send, Gate.cors(origin))
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._serve(scope, headers, origin, receive, send_and_note)
        except Refusal as refusal:
            await _refuse(send, refusal)
        except (BackstayError, HTTPException):
            raise  # the app has answers of its own to these
        except Exception:
            if begun:
                raise
            error_id = correlation_id.get() or self._office.clock.new_id()
            logger.exception("serving a request failed", extra={"correlation_id": error_id})
            text = f"An unexpected error occurred (error_id: {error_id})"
            await _refuse(send, Refusal(500, text, code=INTERNAL_ERROR))

    async def _serve(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        origin: bytes | None,
        receive: Receive,
        send: Send,
    ) -> None:
        office = self._office
        method = scope["method"]
        if method == "OPTIONS" and origin is not None:
            await _respond(send, 204, b"", Gate.preflight())
            return
        version = headers.get(b"mcp-protocol-version")
        enveloped = version is not None and version not in _HANDSHAKE
        sessions = not (office.stateless or enveloped)
        if method in {"GET", "DELETE"} and sessions:
            await self._in_session(scope, headers, receive, send)
            return
        if method != "POST":
            # No stream to hold open: what there is to say comes with the answer to a call.
            allowed = b"GET, POST, DELETE" if sessions else b"POST"
            raise Refusal(405, f"{method} is not served here; send a POST", [(b"allow", allowed)])
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise Refusal(
                415, f"the body is JSON, with Content-Type: application/json; got {kind[:60]!r}"
            )
        body = await _read(receive, headers, office.max_body_bytes)
        token, presented = await self._token(scope, receive)
        message = _parse(body)
        self._admit(message, token, presented)
        session = headers.get(b"mcp-session-id")
        visit = Visit(
            correlation_id.get(),
            headers,
            token,
            None if token is None else user_of(token),
            session.decode("ascii") if session and _SESSION.fullmatch(session) else None,
        )
        visit.attach(scope)
        try:
            if enveloped:
                await self._enveloped(scope, headers, message, receive, send)
            elif office.stateless:
                await self._alone(scope, headers, visit, message, version, receive, send)
            else:
                if token is not None:
                    # The SDK lets nobody else into a session that somebody has opened.
                    scope["user"] = AuthenticatedUser(_access_token(token))
                await self._by_the_sdk(scope, _again(body, receive), send)
        finally:
            visit.answered()

    # ------------------------------------------------------------------ who may

    async def _token(self, scope: Scope, receive: Receive) -> tuple[VerifiedToken | None, bool]:
        """What the request's token says, and whether it had one.

        Where this server verifies none, whoever the app's own verifier has found stands for it:
        what that user may is asked in the same way.
        """
        office = self._office
        if office.verifier is None:
            user = await office.identify(scope, receive)
            if user is None:
                return None, False
            return VerifiedToken(user.subject, scopes=user.scopes, claims=user.claims), True
        given = [
            value.decode("latin-1") for key, value in scope["headers"] if key == b"authorization"
        ]
        bearer = read_bearer(given)
        if bearer is None:
            return None, False
        try:
            token = await ask_verifier(
                office.verifier, bearer, now=office.clock.now(), audience=office.audience or None
            )
        except TokensUncheckable:
            logger.exception("a token could not be checked")
            raise Refusal(503, TokensUncheckable.public_detail, [(b"retry-after", b"5")]) from None
        except AuthError as error:
            logger.info("a token was refused: %s", error)
            token = None
        return token, True

    def _admit(self, message: Any, token: VerifiedToken | None, presented: bool) -> None:
        """Let in who may send this.

        Raises:
            Refusal: 401 or 403, with a challenge that says how to get in (RFC 6750 §3).
        """
        office = self._office
        method = message.get("method", "")  # none: an answer to a question of ours
        guard = office.guard_of(method, message.get("params"))
        denied = None if guard is None else office.denied(guard, token, presented)
        if denied is None and presented and token is None:
            # A token that is no good is told so at once, also where none would have done.
            denied = office.denied(Guard.required(), token, presented)
        if denied is None:
            return
        answer = {"jsonrpc": "2.0", "id": message.get("id"), "result": office.refusal(denied)}
        raise Refusal(
            denied.status,
            denied.description,
            [(b"www-authenticate", challenge(denied, office.metadata_url).encode("latin-1"))],
            # ChatGPT reads the result and offers to sign in; others read the header.
            body=encode(answer) if method == "tools/call" else None,
        )

    # ------------------------------------------------------------------ serving

    async def _alone(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        visit: Visit,
        message: dict[str, Any],
        version: bytes | None,
        receive: Receive,
        send: Send,
    ) -> None:
        """Serve a message of the handshake era that belongs to no session in this process."""
        if "id" not in message or "method" not in message:
            # A notification, or an answer to a question that was never asked.
            await _respond(send, 202, b"", [])
            return
        more: list[tuple[bytes, bytes]] = []
        if message["method"] == "initialize":
            # Not a session in the sense that anything is kept: a name to find ``ctx.state`` by,
            # which every worker honours because none has to know it.
            more.append((b"mcp-session-id", secrets.token_urlsafe(24).encode("ascii")))
        exchange = SingleExchange(
            self._office.sdk,
            self._office.clock,
            scope,
            receive,
            send,
            request_id=message["id"],
            progress_token=_progress_token(message),
            may_stream=_accepts_stream(headers),
            version=DEFAULT_NEGOTIATED_VERSION if version is None else version.decode("ascii"),
            envelope=None,
            headers=more,
        )
        await exchange.serve(message["method"], message.get("params"))

    async def _enveloped(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        message: dict[str, Any],
        receive: Receive,
        send: Send,
    ) -> None:
        """Serve a message of 2026-07-28, where each says itself what a handshake said before.

        What is checked, and in which order, is the SDK's (``mcp.shared.inbound``).
        """
        # Spaces around a value are none of it (RFC 9110 §5.5), and not every server takes them off.
        text = {
            name.decode("latin-1"): value.decode("latin-1").strip(" \t")
            for name, value in headers.items()
        }
        if "id" not in message or "method" not in message:
            requested = text[MCP_PROTOCOL_VERSION_HEADER]
            _reject(unsupported_protocol_version_rejection(requested), None)
            if "method" not in message:
                raise Refusal(400, "an answer was sent, and this server asks nothing")
            await _respond(send, 202, b"", [])
            return
        accepts = _accepts_stream(headers)
        if message["method"] == "subscriptions/listen" and not accepts:
            raise Refusal(406, "what is listened to is a stream; accept text/event-stream")
        twice = find_duplicated_routing_header(
            (name.decode("latin-1"), "") for name, _ in scope["headers"]
        )
        if twice is not None:
            raise Refusal(400, f"the header {twice} came twice", code=HEADER_MISMATCH)
        route = classify_inbound_request(message, headers=text)
        if isinstance(route, InboundLadderRejection):
            raise _rejected(route, message["id"])
        if message["method"] in _OF_ONE_TASK and text.get(MCP_NAME_HEADER) != message["params"].get(
            "taskId"
        ):
            # SEP-2663, Routing Headers: proxies send what is about a task to where it runs.
            told = "the header Mcp-Name has to be the task's id, as params.taskId"
            _reject(InboundLadderRejection(code=HEADER_MISMATCH, message=told), message["id"])
        if message["method"] == "tools/call":
            _reject(self._header_mismatch(message["params"], text), message["id"])
        exchange = SingleExchange(
            self._office.sdk,
            self._office.clock,
            scope,
            receive,
            send,
            request_id=message["id"],
            progress_token=_progress_token(message),
            may_stream=accepts,
            version=route.protocol_version,
            envelope=route,
            headers=[],
        )
        await exchange.serve(message["method"], message["params"])

    def _header_mismatch(
        self, params: dict[str, Any], headers: Mapping[str, str]
    ) -> InboundLadderRejection | None:
        """What ``Mcp-Param-…`` headers say otherwise than the arguments they repeat."""
        lookup, name = self._office.sdk.get_tool_input_schema, params.get("name")
        arguments = params.get("arguments") or {}
        if lookup is None or not isinstance(name, str) or not isinstance(arguments, dict):
            return None
        schema = lookup(name)
        if schema is None:
            return None
        if name not in self._repeats:
            self._repeats[name] = bool(x_mcp_header_map(schema))
        if not self._repeats[name]:
            return None  # no argument of this tool is repeated in a header
        return validate_mcp_param_headers(schema, arguments, headers)

    async def _in_session(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        """The SDK's standing stream, or the end of a session."""
        token, presented = await self._token(scope, receive)
        self._admit({}, token, presented)
        if token is not None:
            scope["user"] = AuthenticatedUser(_access_token(token))

        async def send_and_see(message: Message) -> None:
            # Only if it was that client's to end.
            if message["type"] == "http.response.start" and message["status"] < 300:
                self._office.session_ended(headers.get(b"mcp-session-id", b"").decode("latin-1"))
            await send(message)

        await self._by_the_sdk(
            scope, receive, send_and_see if scope["method"] == "DELETE" else send
        )

    async def _by_the_sdk(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._office.sessions()
        if app is None:
            raise Refusal(
                503,
                "the app's lifespan has not begun, so there can be no sessions: run the app with its "
                "lifespan on; that of an app mounted in another is not run",
                [(b"retry-after", b"5")],
            )
        await app(scope, receive, send)


def _parse(body: bytes) -> dict[str, Any]:
    """The one JSON-RPC message of a request.

    Raises:
        Refusal: it is none.
    """
    if body.count(b"[") + body.count(b"{") > _MOST_DEEP and _depth(body) > _MOST_DEEP:
        raise Refusal(400, f"the body is nested more than {_MOST_DEEP} deep", code=PARSE_ERROR)
    try:
        message = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is no JSON in UTF-8", code=PARSE_ERROR) from None
    if not isinstance(message, dict):
        raise Refusal(
            400,
            "the body is one JSON-RPC message; batches are not part of MCP",
            code=INVALID_REQUEST,
        )
    request_id = message.get("id")
    if message.get("jsonrpc") != "2.0":
        raise Refusal(400, 'jsonrpc has to be "2.0"', code=INVALID_REQUEST)
    if "method" in message:
        if not isinstance(message["method"], str):
            raise Refusal(400, "method has to be text", code=INVALID_REQUEST)
        if not isinstance(message.get("params", {}), dict):
            raise Refusal(400, "params has to be an object", code=INVALID_REQUEST)
    elif "result" not in message and "error" not in message:
        raise Refusal(400, "the message has no method", code=INVALID_REQUEST)
    if "id" in message and (isinstance(request_id, bool) or not isinstance(request_id, str | int)):
        raise Refusal(400, "id has to be text or a whole number", code=INVALID_REQUEST)
    return message


def _depth(body: bytes) -> int:
    """How deep a JSON text is nested, whether or not it is a good one."""
    deepest = depth = 0
    for found in _BRACKET.finditer(body):
        first = found[0][:1]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest


def _meta(message: dict[str, Any]) -> dict[str, Any]:
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta if isinstance(meta, dict) else {}


def _progress_token(message: dict[str, Any]) -> str | int | None:
    token = _meta(message).get("progressToken")
    return token if isinstance(token, str | int) and not isinstance(token, bool) else None


def _accepts_stream(headers: Mapping[bytes, bytes]) -> bool:
    accept = headers.get(b"accept", b"*/*").lower()
    return b"text/event-stream" in accept or b"*/*" in accept or b"text/*" in accept


def _rejected(rejection: InboundLadderRejection, request_id: str | int | None) -> Refusal:
    error = {"code": rejection.code, "message": rejection.message}
    if rejection.data is not None:
        error["data"] = rejection.data
    return Refusal(
        ERROR_CODE_HTTP_STATUS.get(rejection.code, 200),
        rejection.message,
        body=encode({"jsonrpc": "2.0", "id": request_id, "error": error}),
    )


def _reject(rejection: InboundLadderRejection | None, request_id: str | int | None) -> None:
    if rejection is not None:
        raise _rejected(rejection, request_id)


def _access_token(token: VerifiedToken) -> AccessToken:
    return AccessToken(
        token="",  # nobody needs it any more, and so nobody can log it
        client_id=token.client_id or "",
        scopes=sorted(token.scopes),
        subject=token.subject,
        claims={"iss": token.issuer},
    )


async def _read(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The body of a request.

    Raises:
        Refusal: it is larger than it may be, or the client has gone.
    """
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise _too_large(limit, int(declared[:20]))
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Refusal(400, "the client went away before its request was whole")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit, size)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(limit: int, size: int) -> Refusal:
    return Refusal(
        413,
        f"the request is {size} bytes or more, and {limit} are allowed; send less, or raise "
        "max_body_bytes of WidgetMCPServer",
    )


def _again(body: bytes, receive: Receive) -> Receive:
    """``receive`` for whoever has to read the body once more."""
    given = False

    async def read() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read


def _telling_browsers(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    async def send_with_cors(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return send_with_cors


async def _respond(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode("ascii"))]
    await send({"type": "http.response.start", "status": status, "headers": [*length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def _refuse(send: Send, refusal: Refusal) -> None:
    body = refusal.body
    if body is None:
        error = {"code": refusal.code, "message": refusal.message}
        body = encode({"jsonrpc": "2.0", "id": None, "error": error})
    await _respond(
        send, refusal.status, body, [(b"content-type", b"application/json"), *refusal.headers]
    )
