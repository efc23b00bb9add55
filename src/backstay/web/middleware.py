"""The one middleware: outermost, plain ASGI.

It stands around everything, Starlette's own error middleware included, because the correlation
id belongs on every answer and the moments of a request end where the whole app ends.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backstay.app import Backstay
from backstay.context import current_work
from backstay.log import correlation_id, sane_correlation_id
from backstay.web.exchange import SCOPE_KEY, Exchange
from backstay.web.users import UserVerifier

__all__ = ["BackstayMiddleware"]

_WITH_HEADERS = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class BackstayMiddleware:
    """Opens an exchange around every request and runs the parts around the app's lifespan.

    Args:
        app: the app's whole middleware stack.
        backstay: what the app has switched on.
        header: the request and response header of the correlation id.
        verifier: who finds out ``ctx.user``, if anybody.
    """

    def __init__(
        self, app: ASGIApp, backstay: Backstay, header: str, verifier: UserVerifier | None
    ) -> None:
        self.app = app
        self.backstay = backstay
        self._header = header.lower().encode("ascii")
        self._verifier = verifier
        backstay.door = self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        outer = scope.get(SCOPE_KEY)
        if outer is not None and outer.app.covers(self.backstay):
            # Mounted in an app that has backstay too: the outer one's context counts.
            if self._verifier is not None:
                outer.ask_instead(self._verifier)
            await self.app(scope, receive, send)
            return
        header = self._header
        correlation = None if outer is None else outer.correlation_id
        if correlation is None:
            for key, value in scope["headers"]:
                if key == header:
                    correlation = sane_correlation_id(value)
                    break
            if correlation is None:
                correlation = self.backstay.clock.new_id()
        early = self.backstay.early
        if (
            early is not None
            and outer is None
            and scope["type"] == "http"
            and await early(scope, send, ((header, correlation.encode("ascii")),))
        ):
            return
        exchange = Exchange(self.backstay, scope, correlation, self._verifier)

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
                headers.append((header, correlation.encode("ascii")))
                message["headers"] = headers
            try:
                await send(message)
            except OSError:
                exchange.client_left = True
                raise

        work_token = current_work.set(exchange)
        id_token = correlation_id.set(correlation)
        error: BaseException | None = None
        try:
            await self.app(scope, receive, send_with_id)
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
                error = None  # a traceback and its frame would keep each other alive
                exchange.scope = None
                scope[SCOPE_KEY] = outer
                correlation_id.reset(id_token)
                current_work.reset(work_token)

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
