"""The one middleware: outermost, plain ASGI.

It stands around everything, Starlette's own error middleware included, because the correlation
id belongs on every answer and the moments of a request end where the whole app ends.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backstay.app import Backstay
from backstay.context import current_work
from backstay.log import sane_correlation_id
from backstay.observation import Kind, Observation
from backstay.web.answer_headers import AnswerHeaders
from backstay.web.exchange import SCOPE_KEY, Exchange
from backstay.web.route_template import route_template
from backstay.web.users import UserVerifier

__all__ = ["BackstayMiddleware"]

_EARLY = "(cache)"
"""The route of what is answered before there is one."""

_WITH_HEADERS = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class BackstayMiddleware:
    """Opens an exchange around every request and runs the parts around the app's lifespan.

    Args:
        app: the app's whole middleware stack.
        backstay: what the app has switched on.
        header: the request and response header of the correlation id.
    """

    def __init__(self, app: ASGIApp, backstay: Backstay, header: str) -> None:
        self.app = app
        self.backstay = backstay
        self._header = header.lower().encode("ascii")
        # By now everybody who could have has said how users are known.
        self._verifier: UserVerifier | None = backstay.verifier
        self._through: dict[int, ASGIApp] = {0: app}
        # By header, the layers that a request with it passes, one bit for each.
        self._bits: dict[bytes, int] = {self._header: 0}
        self._beyond_http1 = 0
        for position, (names, beyond_http1, _) in enumerate(backstay.layers):
            for name in names:
                self._bits[name] = self._bits.get(name, 0) | 1 << position
            self._beyond_http1 |= beyond_http1 << position
        more = AnswerHeaders(backstay.answer_headers, backstay.page_headers)
        self._more = more or None
        backstay.door = self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        header, bits = self._header, self._bits
        given: bytes | None = None
        passes = 0
        # The one look at the headers that every request has to pay for.
        for name, value in scope["headers"]:
            if name in bits:
                passes |= bits[name]
                if given is None and name == header:
                    given = value
        if self._beyond_http1 and scope.get("http_version", "1.1")[:1] != "1":
            passes |= self._beyond_http1
        app = self._through.get(passes) or self._make_way(passes)
        backstay = self.backstay
        outer = scope.get(SCOPE_KEY)
        if outer is not None and outer.app.covers(backstay):
            # Mounted in an app that has backstay too: the outer one's context counts.
            outer.enter(backstay)
            if backstay is not outer.app and self._more is not None:
                send = _with_headers(self._more, scope, send)
            await app(scope, receive, send)
            return
        correlation = None if outer is None else outer.correlation_id
        if correlation is None:
            correlation = (
                None if given is None else sane_correlation_id(given)
            ) or backstay.clock.new_id()
        id_header = (header, correlation.encode("ascii"))
        seen = (
            backstay.observe(
                Kind.REQUEST, scope["method"], correlation, link=_traceparent(scope["headers"])
            )
            if backstay.sees_requests and scope["type"] == "http"
            else None
        )
        early = backstay.early
        if early is not None and outer is None and scope["type"] == "http":
            try:
                answered = await early(scope, self._sending_early(scope, send, id_header, seen))
            except BaseException:
                if seen is not None:  # the client has left
                    seen.end("cancelled")
                raise
            if answered:
                if seen is not None:
                    _end_early(seen, scope)
                return
        more = self._more
        began_s = backstay.clock.monotonic() if backstay.tells_time else None
        exchange = Exchange(backstay, scope, correlation, self._verifier, outer)

        async def send_with_id(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.body":
                if not message.get("more_body", False):
                    exchange.body_sent = True
            elif kind in _WITH_HEADERS:
                if kind == "http.response.start":
                    held = exchange.answer_starts(message["status"])
                    if held is not None:
                        await held
                # A new list: this one may belong to a response object that is sent many times.
                headers = [pair for pair in message.get("headers", ()) if pair[0] != header]
                headers.append(id_header)
                if exchange.more_headers is not None:
                    headers += exchange.more_headers
                if began_s is not None:
                    took_ms = (backstay.clock.monotonic() - began_s) * 1000
                    headers.append((b"server-timing", b"app;dur=%.2f" % took_ms))
                if more is not None:
                    more.add(scope, headers)
                message["headers"] = headers
            try:
                await send(message)
            except OSError:
                exchange.client_left = True
                raise

        work_token = current_work.set(exchange)
        error: BaseException | None = None
        try:
            await app(scope, receive, send_with_id)
        except BaseException as raised:
            error = raised
            raise
        finally:
            try:
                if exchange.opened:
                    held = exchange.end(error)
                    if held is not None:
                        await held
            finally:
                if seen is not None:
                    _end(seen, scope, exchange, error)
                error = None  # a traceback and its frame would keep each other alive
                exchange.scope = None
                scope[SCOPE_KEY] = outer
                current_work.reset(work_token)

    def _sending_early(
        self, scope: Scope, send: Send, id_header: tuple[bytes, bytes], seen: Observation | None
    ) -> Send:
        """``send`` for an answer that is given before routing: with what every answer has."""
        more = self._more

        async def send_early(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [pair for pair in message["headers"] if pair[0] != id_header[0]]
                headers.append(id_header)
                if more is not None:
                    more.add(scope, headers)
                message["headers"] = headers
                if seen is not None:
                    seen.status = message["status"]
            await send(message)

        return send_early

    def _make_way(self, passes: int) -> ASGIApp:
        """The app behind the layers with these bits."""
        app = self.app
        for position, (_, _, layer) in enumerate(self.backstay.layers):
            if passes >> position & 1:
                app = layer(app)
        self._through[passes] = app
        return app

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Listening to the messages, rather than wrapping the app's lifespan function, puts the
        # parts inside every lifespan there is, those of routers included later as well: they
        # open after all of them and close before any.
        async def receive_then_stop() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.backstay.stop()
            return message

        async def start_then_send(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.backstay.state = scope.get("state")
                await self.backstay.start()
            await send(message)

        try:
            await self.app(scope, receive_then_stop, start_then_send)
        finally:
            await self.backstay.stop()


def _with_headers(more: AnswerHeaders, scope: Scope, send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] in _WITH_HEADERS:
            headers = list(message.get("headers", ()))
            more.add(scope, headers)
            message["headers"] = headers
        await send(message)

    return send_with_headers


def _traceparent(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """What the client says of the trace it is part of (W3C Trace Context §3.2)."""
    for name, value in headers:
        if name == b"traceparent":
            return value.decode("latin-1")
    return None


def _end_early(seen: Observation, scope: Scope) -> None:
    """The request was answered before anything else was asked."""
    method = scope["method"]
    seen.name = f"{method} {_EARLY}"
    seen.facts |= {"method": method, "path": scope["path"], "route": _EARLY}
    seen.end("ok", status=seen.status)


def _end(seen: Observation, scope: Scope, exchange: Exchange, error: BaseException | None) -> None:
    """The request is over, one way or the other."""
    method = scope["method"]
    route = route_template(scope)
    if route is not None:
        seen.name = f"{method} {route}"
    seen.facts |= {"method": method, "path": scope["path"], "route": route}
    status = exchange.status
    if error is not None and not exchange.client_left and isinstance(error, Exception):
        outcome = "failed"
    elif error is not None or exchange.client_left or status is None:
        outcome = "cancelled"
    else:
        outcome = "failed" if status >= 500 else "ok"
    seen.end(outcome, status=status, error=error)
