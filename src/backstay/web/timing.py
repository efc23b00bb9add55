"""How long requests take, for whoever develops: ``X-Process-Time`` and a line for each request."""

from __future__ import annotations

import logging
import re
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backstay.clock import Clock, SystemClock
from backstay.web.request_facts import facts_of

__all__ = ["Timing", "request_log_format"]

# Where people who develop with uvicorn look anyway; elsewhere it is a logger like any other.
logger = logging.getLogger("uvicorn")

_CONTROLS = re.compile(r"[^\x21-\x7e]")


class Timing:
    """Measures every request until its answer begins.

    What it tells the client makes it easier to see what an endpoint did by the time it took,
    without the network's noise: it is for development, or behind a door.

    Args:
        app: what answers.
        tell: whether answers say it.
        log: whether there is a line for each request, those that fail included.
        clock: measures.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tell: bool = True,
        log: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.app = app
        self._tell = tell
        self._log = log
        self._clock: Clock = SystemClock() if clock is None else clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        monotonic = self._clock.monotonic
        began_s = monotonic()
        status = 0

        async def send_with_time(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                took_ms = (monotonic() - began_s) * 1000
                if self._tell:
                    message["headers"] = [
                        *message.get("headers", ()),
                        (b"x-process-time", b"%.2f ms" % took_ms),
                    ]
                if self._log:
                    logger.info("%s", request_log_format(scope, status, took_ms))
            await send(message)

        try:
            await self.app(scope, receive, send_with_time)
        except Exception:
            if self._log and not status:  # whoever stands further out answers with 500
                logger.info("%s", request_log_format(scope, 500, (monotonic() - began_s) * 1000))
            raise


def request_log_format(scope: Scope, status_code: int, process_time: float | None = None) -> str:
    """A request as one line: who, what, how it ended, how long it took.

    Args:
        scope: the request's.
        status_code: of its answer.
        process_time: milliseconds, ``None`` if unknown.

    Returns:
        One line of printable ASCII. Values in the query whose names sound like secrets are
        masked; long ones are cut.
    """
    host, port = scope.get("client") or ("-", 0)  # None behind a unix socket
    facts = facts_of(scope)
    query = _CONTROLS.sub(lambda match: quote(match[0], encoding="latin-1"), facts["query"])
    target = facts["path"] + (f"?{query}" if query else "")
    took = "" if process_time is None else f" - [{process_time:.2f} ms]"
    return f'{host}:{port} - "{scope["method"]} {target}" - {status_code}{took}'
