"""A service that is down is asked a twentieth of what retries alone would ask it, at most."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from backstay.integration import sp
from backstay.testing import FakeClock
from tests.support import async_test

CLIENTS = 8
EACH_S = 0.2
"""How often each of them calls."""
BEFORE_S, OUTAGE_S, AFTER_S = 4, 60, 16

Ask = Callable[[int], Awaitable[str]]


class Upstream:
    """A real server that answers 503 while it is down."""

    def __init__(self) -> None:
        self.is_down = False
        self.requests = 0
        self.requests_while_down = 0

    async def __aenter__(self) -> "Upstream":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            self.requests += 1
            self.requests_while_down += self.is_down
            status = b"503 Service Unavailable" if self.is_down else b"200 OK"
            writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
        writer.close()


class Client:
    """A process that calls: what it knows of the upstream it has learned itself."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.under_way = 0
        self.answered = asyncio.Event()

    async def ask(self, number: int) -> str:
        self.under_way += 1
        try:
            reader, writer = (
                self._free.pop()
                if self._free
                else await asyncio.open_connection("127.0.0.1", self._upstream.port)
            )
            writer.write(b"GET /%d HTTP/1.1\r\nhost: upstream\r\n\r\n" % number)
            status = (await reader.readline()).split()[1]
            while (await reader.readline()).strip():
                pass
            self._free.append((reader, writer))
        finally:
            self.under_way -= 1
            self.answered.set()
        if status != b"200":
            raise OSError(status)
        return "answer"

    async def close(self) -> None:
        for _, writer in self._free:
            writer.close()
            await writer.wait_closed()


def with_retries_alone(client: Client, clock: FakeClock) -> Ask:
    """As it is usually written: three attempts, pauses that double, something to show instead."""

    async def ask(number: int) -> str:
        for attempt in range(3):
            try:
                return await client.ask(number)
            except OSError:
                await clock.sleep(0.1 * 2**attempt)
        return "fallback"

    return ask


def with_all_patterns(client: Client, clock: FakeClock) -> Ask:
    ask: Any = client.ask
    for each in (
        sp.Timeout(clock=clock),
        sp.Bulkhead(clock=clock),
        sp.Throttling(20, clock=clock),
        sp.CircuitBreaker(clock=clock),
        sp.Hedge(1, clock=clock),
        sp.RetryPattern(3, 0.1, clock=clock),
        sp.Fallback(lambda: "fallback"),
    ):
        ask = each(ask)
    return ask  # type: ignore[no-any-return]  # what it was


async def weather(
    make: Callable[[Client, FakeClock], Ask],
) -> tuple[Upstream, list[list[str]]]:
    """Steady calls through fair weather, a storm and fair weather: what each of them got."""
    clock = FakeClock()
    async with Upstream() as upstream:
        clients = [Client(upstream) for _ in range(CLIENTS)]
        asks = [make(each, clock) for each in clients]
        calls: list[list[asyncio.Task[str]]] = [[], [], []]

        async def settle() -> None:
            """Time stands still while requests are under way, so chance has no say."""
            for _ in range(10):
                await asyncio.sleep(0)
                for each in clients:
                    while each.under_way:
                        each.answered.clear()
                        await each.answered.wait()

        for phase, seconds in enumerate((BEFORE_S, OUTAGE_S, AFTER_S)):
            upstream.is_down = phase == 1
            for number in range(round(seconds / EACH_S)):
                calls[phase] += [asyncio.create_task(ask(number)) for ask in asks]
                await settle()
                for _ in range(4):  # retries in between
                    await clock.advance(EACH_S / 4)
                    await settle()
        await clock.advance(10)
        await settle()
        got = [list(await asyncio.gather(*each)) for each in calls]
        for each in clients:
            await each.close()
    return upstream, got


@async_test
async def test_the_upstream_hears_little_while_it_is_down_and_all_of_it_afterwards() -> None:
    bare, bare_got = await weather(with_retries_alone)
    spared, got = await weather(with_all_patterns)

    calls = [CLIENTS * round(seconds / EACH_S) for seconds in (BEFORE_S, OUTAGE_S, AFTER_S)]
    assert [len(each) for each in got] == [len(each) for each in bare_got] == calls
    assert bare.requests_while_down > 2 * calls[1]
    assert 0 < spared.requests_while_down < 0.05 * bare.requests_while_down

    assert set(got[0]) == {"answer"}
    assert set(got[1]) <= {"fallback", "answer"}  # the last ones may have been tried again
    assert got[1].count("answer") < 20
    # Within reset_timeout of the end, each client has found out.
    assert set(got[2][-CLIENTS * 20 :]) == {"answer"}
    assert spared.requests - spared.requests_while_down > calls[0] + calls[2] * 0.3
