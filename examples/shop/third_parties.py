"""The companies the shop depends on: slow, failing sometimes, each a service of its own.

::

    python -m examples.shop.third_parties payment --port 9001 --seed 7
    curl -X POST localhost:9001/down    # and all it answers is 503, until /up

What goes wrong depends on the seed, the request id and the number of the attempt alone, never
on the clock or on who was first, so a run can be repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

Fault = Literal["unavailable", "dropped", "lost"]

FAULTS: tuple[Fault, ...] = ("unavailable", "unavailable", "dropped", "lost")
"""503 twice as often; then a connection that breaks before, or after, the work was done."""


SLOW_S = 1.2
"""How long the gateway keeps quiet about a charge to ``tok_slow``."""


@dataclass(frozen=True)
class Manner:
    """How a third party behaves.

    Attributes:
        slow_s: its answers take between so many and so many seconds.
        failures: the part of calls that fail, 0 to 1.
    """

    slow_s: tuple[float, float]
    failures: float


MANNERS = {
    "payment": Manner((0.06, 0.30), 0.25),
    "email": Manner((0.05, 0.22), 0.25),
    "warehouse": Manner((0.04, 0.18), 0.25),
    "analytics": Manner((0.03, 0.14), 0.40),
}


@dataclass
class Received:
    """Something it was asked to do, and did.

    Attributes:
        key: the idempotency key. What comes again under the same key is not done again.
        request_id: the ``X-Request-ID`` it came with.
        id: by which the third party knows it.
        asked: how often it was asked.
        refunded: for charges: whether the money went back.
    """

    key: str
    request_id: str
    body: dict[str, Any]
    id: str
    asked: int = 1
    refunded: bool = False


class LostAnswer(Response):
    """Promises a body and breaks off, which makes the server close the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


class ThirdParty:
    """One of them, as an ASGI app: ``POST`` anything, ``GET /received``, ``GET /asked``."""

    def __init__(self, name: str, *, seed: str, manner: Manner) -> None:
        self._name = name
        self._seed = seed
        self._manner = manner
        self._calls: Counter[tuple[str, str]] = Counter()
        self._received: dict[str, Received] = {}
        self._refunded: set[str] = set()
        self._asked = 0
        self._is_down = False
        self.app = Starlette(
            routes=[
                Route("/received", self.received, methods=["GET"]),
                Route("/asked", self.how_often_asked, methods=["GET"]),
                Route("/down", self.go_down, methods=["POST"]),
                Route("/up", self.come_up, methods=["POST"]),
                Route("/{path:path}", self.asked, methods=["POST"]),
            ]
        )

    async def received(self, request: Request) -> Response:
        """Everything it did, for whoever wants to check."""
        return JSONResponse([asdict(each) for each in self._received.values()])

    async def how_often_asked(self, request: Request) -> Response:
        """How many calls came, done or not."""
        return JSONResponse(self._asked)

    async def go_down(self, request: Request) -> Response:
        """Have an outage: whatever is asked from now on, the answer is 503."""
        self._is_down = True
        return Response(status_code=204)

    async def come_up(self, request: Request) -> Response:
        """Work again."""
        self._is_down = False
        return Response(status_code=204)

    async def asked(self, request: Request) -> Response:
        """Do what is asked, in its manner."""
        self._asked += 1
        if self._is_down:
            return Response(status_code=503)  # and what comes later has the luck it would have had
        request_id = request.headers.get("X-Request-ID", "")
        body = await request.json()
        self._calls[request.url.path, request_id] += 1
        attempt = self._calls[request.url.path, request_id]
        luck = random.Random(f"{self._seed} {request.url.path} {request_id} {attempt}")
        await asyncio.sleep(luck.uniform(*self._manner.slow_s))
        fault = luck.choice(FAULTS) if luck.random() < self._manner.failures else None
        if fault == "unavailable":
            return Response(status_code=503)
        if fault == "dropped":
            return LostAnswer()
        answer = self.do(request.url.path, request.headers["Idempotency-Key"], request_id, body)
        if body.get("card") == "tok_slow":
            await asyncio.sleep(SLOW_S)  # the money is taken by now
        return LostAnswer() if fault == "lost" else answer

    def do(self, path: str, key: str, request_id: str, body: dict[str, Any]) -> Response:
        """Do it, unless that has been done."""
        if (before := self._received.get(key)) is not None:
            before.asked += 1
            return JSONResponse({"id": before.id}, headers={"Idempotent-Replayed": "true"})
        new = self._received[key] = Received(
            key, request_id, body, id=f"{self._name}-{len(self._received) + 1}"
        )
        return JSONResponse({"id": new.id})


class PaymentGateway(ThirdParty):
    """Charges and refunds. Some cards are special, as in any gateway's test mode."""

    def do(self, path: str, key: str, request_id: str, body: dict[str, Any]) -> Response:
        if path == "/refunds":
            self._refunded.add(key)  # a charge that is still on its way will not be made
            charge = self._received.get(key)
            if charge is not None:
                charge.refunded = True
            return JSONResponse({"refunded": charge is not None})
        if body["card"] == "tok_declined" or key in self._refunded:
            return JSONResponse({"error": "declined"}, status_code=402)
        if body["card"] == "tok_bank_down":
            return JSONResponse({"error": "the card's bank does not answer"}, status_code=504)
        return super().do(path, key, request_id, body)


def create_app(name: str, *, seed: str = "0", failures: float | None = None) -> Starlette:
    """One of the third parties.

    Args:
        name: a key of ``MANNERS``.
        seed: what goes wrong.
        failures: the part of calls that fail. ``None`` means as usual.
    """
    usual = MANNERS[name]
    manner = usual if failures is None else Manner(usual.slow_s, failures)
    kind = PaymentGateway if name == "payment" else ThirdParty
    return kind(name, seed=f"{seed} {name}", manner=manner).app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.shop.third_parties")
    parser.add_argument("name", choices=MANNERS)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fd", type=int, help="listen on this inherited socket instead")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--failures", type=float, help="part of calls that fail, 0 to 1")
    options = parser.parse_args()
    config = uvicorn.Config(
        create_app(options.name, seed=options.seed, failures=options.failures),
        port=options.port,
        log_level="critical" if options.fd else "info",
        timeout_keep_alive=60,
    )
    sockets = None if options.fd is None else [socket.socket(fileno=options.fd)]
    uvicorn.Server(config).run(sockets)


if __name__ == "__main__":
    main()
