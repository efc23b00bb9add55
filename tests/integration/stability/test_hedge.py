"""What takes long is done twice, and the first answer is taken."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import httpx2
import pytest

from backstay.errors import BadIntegration, CircuitBreakerError, StabilityTimeoutError
from backstay.integration import sp
from backstay.integration.outgoing import OutgoingCall, current_call
from backstay.testing import FakeClock
from tests.support import async_test


class Service:
    """Each call waits until it is told how to end."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[Any]] = []
        self.cancelled: list[int] = []
        self.cleaned_up = 0
        self.changed = asyncio.Event()

    async def ask(self) -> Any:
        number = len(self.calls)
        self.calls.append(asyncio.get_running_loop().create_future())
        self.changed.set()
        try:
            return await self.calls[number]
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        finally:
            await asyncio.sleep(0)
            self.cleaned_up += 1

    async def until_called(self, times: int) -> None:
        while len(self.calls) < times:
            self.changed.clear()
            await self.changed.wait()


Ask = Callable[[], Awaitable[Any]]


async def two_copies(
    **options: Any,
) -> tuple[Service, FakeClock, asyncio.Task[Any]]:
    """A call that runs twice."""
    service, clock = Service(), FakeClock()
    call = asyncio.create_task(sp.Hedge(5, clock=clock, **options)(service.ask)())
    await service.until_called(1)
    await clock.advance(5)
    await service.until_called(2)
    return service, clock, call


@async_test
async def test_what_is_quick_is_done_once() -> None:
    service, clock = Service(), FakeClock()
    call = asyncio.create_task(sp.Hedge(5, clock=clock)(service.ask)())
    await service.until_called(1)
    await clock.advance(4.9)
    service.calls[0].set_result("answer")
    assert await call == "answer"
    await clock.advance(100)
    assert len(service.calls) == 1
    assert clock.waiting == []


@pytest.mark.parametrize("winner", [0, 1])
@async_test
async def test_the_first_answer_is_taken_and_the_other_one_is_over(winner: int) -> None:
    service, clock, call = await two_copies()
    service.calls[winner].set_result(winner)
    assert await call == winner
    assert service.cancelled == [1 - winner]
    assert service.cleaned_up == 2
    assert call.cancelling() == 0
    assert clock.waiting == []


@async_test
async def test_if_both_come_at_once_it_is_one_of_them() -> None:
    service, _, call = await two_copies()
    service.calls[0].set_result(0)
    service.calls[1].set_result(1)
    assert await call in {0, 1}
    assert call.cancelling() == 0


@async_test
async def test_what_fails_before_there_is_a_copy_has_failed() -> None:
    service, clock = Service(), FakeClock()
    call = asyncio.create_task(sp.Hedge(5, clock=clock)(service.ask)())
    await service.until_called(1)
    service.calls[0].set_exception(OSError("no route"))
    with pytest.raises(OSError, match="no route"):
        await call
    await clock.advance(100)
    assert len(service.calls) == 1


@pytest.mark.parametrize("fails", [0, 1])
@async_test
async def test_a_failure_waits_for_the_other_one(fails: int) -> None:
    service, clock, call = await two_copies()
    service.calls[fails].set_exception(OSError())
    await clock.advance(1)
    assert not call.done()
    service.calls[1 - fails].set_result("answer")
    assert await call == "answer"
    assert service.cancelled == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first", "second"])
@async_test
async def test_if_all_fail_it_is_the_first_ones_failure(order: tuple[int, int]) -> None:
    service, clock, call = await two_copies()
    for each in order:
        service.calls[each].set_exception(OSError(str(each)))
        await clock.advance(1)
    with pytest.raises(OSError, match="0"):
        await call


@async_test
async def test_a_result_that_is_a_failure_does_not_win() -> None:
    service, clock, call = await two_copies(failure_on=lambda result: result is None)
    service.calls[1].set_result(None)
    await clock.advance(1)
    assert not call.done()
    service.calls[0].set_result("answer")
    assert await call == "answer"

    service, clock, call = await two_copies(failure_on=lambda result: not result)
    service.calls[0].set_result(None)
    await clock.advance(1)
    service.calls[1].set_result("")
    assert await call is None


@async_test
async def test_cancelling_the_call_cancels_all_of_it() -> None:
    service, _, call = await two_copies()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert sorted(service.cancelled) == [0, 1]
    assert service.cleaned_up == 2


@pytest.mark.parametrize("turns", range(8))
@async_test
async def test_a_cancellation_from_outside_is_never_lost_while_a_copy_wins(turns: int) -> None:
    service, _, call = await two_copies()
    service.calls[1].set_result("answer")
    for _ in range(turns):
        await asyncio.sleep(0)
    if call.cancel():
        with pytest.raises(asyncio.CancelledError):
            await call
    else:
        assert turns > 3
        assert await call == "answer"
    assert len(asyncio.all_tasks()) == 1


@async_test
async def test_a_call_that_is_not_to_be_cancelled_does_not_keep_the_winner_from_winning() -> None:
    clock, calls = FakeClock(), 0

    @sp.Hedge(5, clock=clock)
    async def ask() -> str:
        nonlocal calls
        calls += 1
        if calls > 1:
            return "copy"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError from None
        return ""

    call = asyncio.create_task(ask())
    await clock.until_waiting()
    await clock.advance(5)
    assert await call == "copy"
    assert call.cancelling() == 0


@async_test
async def test_a_time_out_outside_ends_all_and_one_inside_ends_each() -> None:
    service, clock = Service(), FakeClock()
    outside = sp.Timeout(8, clock=clock)(sp.Hedge(5, clock=clock)(service.ask))
    call = asyncio.create_task(outside())
    await service.until_called(1)
    await clock.advance(8)
    with pytest.raises(StabilityTimeoutError):
        await call
    assert (len(service.calls), service.cleaned_up) == (2, 2)

    service = Service()
    inside = sp.Hedge(5, clock=clock)(sp.Timeout(8, clock=clock)(service.ask))
    call = asyncio.create_task(inside())
    await service.until_called(1)
    await clock.advance(9)
    assert (len(service.calls), service.cancelled) == (2, [0])
    service.calls[1].set_result("answer")
    assert await call == "answer"


@async_test
async def test_a_cancelled_loser_says_nothing_to_the_breaker_inside() -> None:
    service, clock = Service(), FakeClock()
    breaker = sp.CircuitBreaker(fail_threshold=1, clock=clock)
    ask = sp.Hedge(5, clock=clock)(breaker(service.ask))
    for number in range(0, 10, 2):
        call = asyncio.create_task(ask())
        await service.until_called(number + 1)
        await clock.advance(5)
        service.calls[number + 1].set_result("answer")
        assert await call == "answer"
    assert len(service.cancelled) == 5
    assert service.cleaned_up == 10


@async_test
async def test_a_copy_that_is_refused_leaves_the_call_alone() -> None:
    service, clock = Service(), FakeClock()
    ask = sp.Hedge(5, clock=clock)(sp.Bulkhead(1, clock=clock)(service.ask))
    call = asyncio.create_task(ask())
    await service.until_called(1)
    await clock.advance(5)
    assert not call.done()
    service.calls[0].set_result("answer")
    assert await call == "answer"


@async_test
async def test_there_may_be_more_than_one_copy() -> None:
    service, clock = Service(), FakeClock()
    call = asyncio.create_task(sp.Hedge(5, max_extra=2, clock=clock)(service.ask)())
    await service.until_called(1)
    await clock.advance(100)
    assert len(service.calls) == 3
    service.calls[2].set_result("answer")
    assert await call == "answer"
    assert sorted(service.cancelled) == [0, 1]


@async_test
async def test_the_budget_bounds_copies() -> None:
    clock, calls = FakeClock(), 0

    @sp.Hedge(5, budget=0.1, clock=clock)
    async def ask() -> None:
        nonlocal calls
        calls += 1
        await clock.sleep(10)

    for _ in range(100):
        call = asyncio.create_task(ask())
        await clock.until_waiting(2)
        await clock.advance(10)
        await call
    assert 110 <= calls <= 100 + 10 + 10


@async_test
async def test_without_a_delay_it_is_learned_which_calls_take_long() -> None:
    clock, times, calls = FakeClock(), [1.0] * 19 + [2.0], 0

    @sp.Hedge(clock=clock)
    async def ask() -> None:
        nonlocal calls
        calls += 1
        await clock.sleep(times[(calls - 1) % 20])

    for _ in range(20):
        call = asyncio.create_task(ask())
        await clock.until_waiting()
        await clock.advance(2)
        await call
    assert calls == 20
    times = [100.0]
    call = asyncio.create_task(ask())
    await clock.until_waiting(2)
    assert clock.waiting == [1, 100]
    await clock.advance(1)
    assert calls == 21 + 1
    call.cancel()


def outgoing(method: str, *, key: str | None = None) -> OutgoingCall:
    call = OutgoingCall(object(), "bank.pay", method, idempotency_key=key)
    call.is_watched = True
    call.begin_attempt()
    return call


async def hedged(outgoing: OutgoingCall, sends: str, **options: Any) -> int:
    """How often it runs inside an endpoint while its first request is not answered."""
    clock, calls = FakeClock(), 0

    @sp.Hedge(5, clock=clock, **options)
    async def pay() -> str:
        nonlocal calls
        calls += 1
        mine = current_call.get()
        assert mine is not None
        mine.sent(sends, has_key=mine.idempotency_key is not None)
        if calls == 1:
            await clock.sleep(50)
        mine.answered(200 + calls)
        return "paid"

    token = current_call.set(outgoing)
    call = asyncio.create_task(pay())
    current_call.reset(token)
    while not call.done():
        await asyncio.sleep(0)
        await clock.advance(5)
    assert call.result() == "paid"
    return calls


@async_test
async def test_in_endpoints_only_what_may_run_twice_does() -> None:
    assert await hedged(outgoing("GET"), "GET") == 2
    assert await hedged(outgoing("POST"), "POST") == 1
    assert await hedged(outgoing("POST"), "GET") == 1
    assert await hedged(outgoing("POST", key="k"), "POST") == 2
    assert await hedged(outgoing("GET"), "POST") == 1
    assert await hedged(outgoing("POST"), "POST", repeat_unsafe=True) == 2


@async_test
async def test_the_answer_of_an_endpoint_is_that_of_the_copy_that_won() -> None:
    call = outgoing("GET")
    await hedged(call, "GET")
    assert (call.status, call.attempts, call.requests) == (202, 2, 2)
    call = outgoing("POST")
    await hedged(call, "POST")
    assert (call.status, call.attempts, call.requests) == (201, 1, 1)


@async_test
async def test_the_first_copy_runs_where_the_call_was_made() -> None:
    @sp.Hedge(5, clock=FakeClock())
    async def ask() -> asyncio.Task[Any] | None:
        return asyncio.current_task()

    assert await ask() is asyncio.current_task()


@async_test
async def test_calls_that_come_to_nothing_leave_nothing_behind() -> None:
    clock = FakeClock()

    @sp.CircuitBreaker(clock=clock)
    async def refused() -> None:
        raise CircuitBreakerError

    with pytest.raises(CircuitBreakerError):
        await sp.Hedge(5, clock=clock)(refused)()
    assert clock.waiting == []
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
@async_test
async def test_a_real_client_is_as_good_as_new_after_its_request_has_lost(module: Any) -> None:
    clock, connections, gone = FakeClock(), 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections % 2:
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await reader.read()  # says nothing until the client hangs up
            gone.set()
        else:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    limits = module.Limits(max_connections=2)
    async with server, module.AsyncClient(trust_env=False, limits=limits) as client:

        @sp.Hedge(5, clock=clock)
        async def get() -> str:
            response = await client.get(url)
            return str(response.text)

        for _ in range(5):
            asked = asyncio.Event()
            gone.clear()
            call = asyncio.create_task(get())
            await asked.wait()
            await clock.advance(5)
            assert await call == "ok"
            await gone.wait()
            assert call.cancelling() == 0
    assert connections == 10


@async_test
async def test_time_outs_and_groups_of_asyncio_around_it_are_not_disturbed() -> None:
    service, clock = Service(), FakeClock()
    ask = sp.Hedge(5, clock=clock)(service.ask)

    async def grouped() -> list[Any]:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            other = group.create_task(ask())
            mine = await ask()
        return [mine, await other]

    call = asyncio.create_task(grouped())
    await service.until_called(2)
    await clock.advance(5)
    await service.until_called(4)
    for each in service.calls[2:]:
        each.set_result("copy")
    assert await call == ["copy", "copy"]
    assert call.cancelling() == 0


def test_what_could_never_work_is_refused() -> None:
    with pytest.raises(BadIntegration, match="not async"):
        sp.Hedge()(lambda: None)
    for options in ({"delay": 0}, {"max_extra": 0}, {"budget": 2}, {"failure_on": ()}):
        with pytest.raises(BadIntegration):
            sp.Hedge(**options)  # type: ignore[arg-type]  # one of each
