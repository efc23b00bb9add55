"""Floods of things that are all different: what is remembered of them stays small.

Each flood sends many requests that have one thing different in each, and then everything that
remembers something of requests is counted. Before it, the same requests have come once, so that what
stays is what grows.
"""

import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from opentelemetry.sdk.trace import TracerProvider

from backstay.app import Backstay
from backstay.events import add_events
from backstay.events.part import EventsPart
from backstay.limits import add_limits, rate_limit
from backstay.limits.part import LimitsPart
from backstay.pattern import base_pattern
from backstay.telemetry import add_telemetry
from backstay.telemetry.part import TelemetryPart
from backstay.testing import FakeClock, running
from backstay.web import install
from tests.support import async_test
from tests.web.by_hand import ByHand

MANY = 1_000
MOST_KEPT = 200
"""Events that are kept in these tests."""


def make_app(folder: Path) -> FastAPI:
    app = FastAPI()
    install(app, clock=FakeClock())
    limits = add_limits(app, "memory")
    add_telemetry(app, tracer_provider=TracerProvider())
    add_events(
        app, f"sqlite:///{folder / 'events.db'}", keep_events=MOST_KEPT, queue=MOST_KEPT, batch=50
    )
    assert isinstance(limits, LimitsPart)

    @app.get("/ok", dependencies=[Depends(rate_limit("1000000/day"))])
    async def ok() -> str:
        return "fine"

    @app.get("/number/{number}")
    async def number(number: int) -> int:
        return number

    @app.get("/broken/{what}")
    async def broken(what: str) -> None:
        raise RuntimeError(what)

    sub_app = FastAPI()
    sub_app.get("/ok")(ok)
    app.mount("/tenants/{tenant}", sub_app)
    base_pattern(
        app,
        origins=["https://shop.example"],
        titles={"de": {404: "Nicht gefunden"}},
        trusted_proxies=["127.0.0.1"],
    )
    return app


@pytest.fixture(autouse=True)
def without_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    """Each takes longer to write than its request, and what pytest captures keeps all it is of."""
    caplog.set_level(logging.CRITICAL, "backstay.web")


class Memory:
    """What an app remembers of requests, counted."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.backstay: Backstay = app.state.backstay

    def counts(self) -> dict[str, int]:
        events, limits, telemetry = (
            self.backstay.part(each) for each in ("events", "limits", "telemetry")
        )
        assert isinstance(events, EventsPart)
        assert isinstance(limits, LimitsPart)
        assert isinstance(telemetry, TelemetryPart)
        metrics = telemetry.metrics
        assert metrics is not None
        return {
            "series": sum(len(each.samples) for each in metrics.registry.collect()),
            "known series": sum(len(each._known) for each in metrics._series.values()),
            "minutes": len(events.collector.tally),
            "limits": len(limits.limiter.store),  # type: ignore[arg-type]  # that of memory
            "layers": len(self.backstay.door._through),
            "observers": len(self.backstay._observers),
        }

    @property
    def waiting(self) -> int:
        events = self.backstay.part("events")
        assert isinstance(events, EventsPart)
        return events.events.waiting


@asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[Memory]:
    app = make_app(folder)
    async with running(app):
        yield Memory(app)


async def send(app: FastAPI, change: Callable[[dict[str, Any]], None]) -> None:
    call = ByHand(app, "/ok", headers={"host": "localhost"})
    change(call.scope)
    call.scope["raw_path"] = call.scope["path"].encode("utf-8", "replace")
    try:
        await call.run()
    except RuntimeError:
        pass  # on purpose
    assert call.sent


def header(name: str, value: str) -> Callable[[dict[str, Any]], None]:
    return lambda scope: scope["headers"].append((name.encode(), value.encode("latin-1")))


def path(value: str) -> Callable[[dict[str, Any]], None]:
    return lambda scope: scope.update(path=value)


def method(value: str, at: str = "/ok") -> Callable[[dict[str, Any]], None]:
    return lambda scope: scope.update(method=value, path=at)


FLOODS: dict[str, Callable[[int], Callable[[dict[str, Any]], None]]] = {
    "paths that are none": lambda n: path(f"/none/{n}"),
    "paths that are none, deep": lambda n: path("/none" * (n % 50) + f"/{n}"),
    "paths that are none of a mounted app's": lambda n: path(f"/tenants/a/none/{n}"),
    "names of tenants": lambda n: path(f"/tenants/tenant-{n}/ok"),
    "parameters of a path": lambda n: path(f"/number/{n}"),
    "parameters that are invalid": lambda n: path(f"/number/x{n}"),
    "failures": lambda n: path(f"/broken/{n}"),
    "queries": lambda n: lambda scope: scope.update(query_string=f"x={n}".encode()),
    "methods that are none": lambda n: method(f"METHOD{n}"),
    "methods that are none, of no route": lambda n: method(f"METHOD{n}", "/none"),
    "long methods": lambda n: method("A" * 5_000 + str(n)),
    "correlation ids": lambda n: header("x-request-id", f"id-{n}"),
    "long correlation ids": lambda n: header("x-request-id", f"id-{n}".ljust(128, "x")),
    "correlation ids that are none": lambda n: header("x-request-id", f"<{n}>"),
    "traceparents": lambda n: header("traceparent", f"00-{n + 1:032x}-{n + 1:016x}-01"),
    "baggage": lambda n: header("baggage", f"key{n}=value{n}"),
    "origins": lambda n: header("origin", f"https://{n}.example"),
    "names of headers": lambda n: header(f"x-own-{n}", "1"),
    "user agents": lambda n: header("user-agent", f"agent {n}"),
    "languages": lambda n: header("accept-language", f"x{n}, de;q=0.{n}"),
    "types": lambda n: header("accept", f"application/x-{n}"),
    "hosts": lambda n: lambda scope: scope.update(headers=[(b"host", f"{n}.example".encode())]),
    "tokens that are none": lambda n: header("authorization", f"Bearer guess-{n}"),
    "cookies": lambda n: header("cookie", f"session={n}"),
    "ports of one client": lambda n: lambda scope: scope.update(client=("127.0.0.1", 1024 + n)),
    "addresses of one network": lambda n: header("x-forwarded-for", f"2001:db8::{n:x}"),
    "addresses that are none": lambda n: header("x-forwarded-for", f"evil-{n}"),
}


@pytest.mark.parametrize("make", FLOODS.values(), ids=FLOODS)
@async_test
async def test_a_flood_leaves_no_more_than_one_request(
    make: Callable[[int], Callable[[dict[str, Any]], None]], tmp_path: Path
) -> None:
    async with standing(tmp_path) as memory:
        for number in range(3):
            await send(memory.app, make(number))
        before = memory.counts()
        for number in range(3, MANY):
            await send(memory.app, make(number))
        assert memory.counts() == before
        assert memory.waiting <= MOST_KEPT


@async_test
async def test_addresses_by_the_thousand_are_counted_and_forgotten(tmp_path: Path) -> None:
    """Each has a count of its own; after the window nothing of them is left."""
    app = FastAPI()
    clock = FakeClock()
    install(app, clock=clock)
    part = add_limits(app, "memory")

    @app.get("/ok", dependencies=[Depends(rate_limit("5/minute", by="ip"))])
    async def ok() -> str:
        return "fine"

    base_pattern(app, trusted_proxies=["127.0.0.1"])
    async with running(app):
        for number in range(MANY):
            await send(app, header("x-forwarded-for", f"2001:db8:{number:x}::1"))
        store = part.limiter.store
        assert len(store) == MANY  # type: ignore[arg-type]  # that of memory
        await clock.advance(300)
        await part.prune()
        assert len(store) == 0  # type: ignore[arg-type]  # as above


@async_test
async def test_events_that_cannot_be_written_fast_enough_are_let_go_and_counted(
    tmp_path: Path,
) -> None:
    async with standing(tmp_path) as memory:
        events = memory.backstay.part("events")
        assert isinstance(events, EventsPart)
        for number in range(MANY):
            await send(memory.app, path(f"/broken/{number}"))
        assert events.events.waiting <= MOST_KEPT
        await events.events.flush()
        await events.events.prune()
        page = await events.events.find(limit=1_000)
        assert len(page.events) <= MOST_KEPT


@async_test
async def test_no_request_is_remembered_as_an_object(tmp_path: Path) -> None:
    async with standing(tmp_path) as memory:
        before = _requests_in_memory()  # of other tests in this process
        for make in FLOODS.values():
            for number in range(20):
                await send(memory.app, make(number))
        assert _requests_in_memory() - before <= 2


def _requests_in_memory() -> int:
    gc.collect()
    return sum(type(each).__name__ in {"Exchange", "Request"} for each in gc.get_objects())
