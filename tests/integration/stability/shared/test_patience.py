"""Nobody waits for long for a store, and a store that fails is left alone."""

import asyncio
import logging

import pytest

from backstay.errors import BadIntegration
from backstay.integration.stability.shared.patience import Patience
from backstay.integration.stability.shared.port import StoreUnavailable
from backstay.testing import FakeClock
from tests.support import async_test


class Store:
    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.asked = 0

    async def ask(self) -> int:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return 7

    async def hang(self) -> int:
        self.asked += 1
        await asyncio.Event().wait()
        return 0


def a_patience(clock: FakeClock, timeout_s: float = 20.0) -> Patience:
    return Patience("some://where", clock=clock, timeout_s=timeout_s, retry_after_s=1.0)


@async_test
async def test_an_answer_is_an_answer() -> None:
    assert await a_patience(FakeClock()).ask(Store().ask) == 7


@async_test
async def test_who_hangs_is_given_up() -> None:
    with pytest.raises(StoreUnavailable, match=r"some://where have not answered within 0.01 s"):
        await a_patience(FakeClock(), 0.01).ask(Store().hang)


@async_test
async def test_whatever_breaks_is_as_good_as_away_and_what_is_wrong_here_is_said() -> None:
    store, patience = Store(), a_patience(FakeClock())
    store.error = ZeroDivisionError("x")
    with pytest.raises(StoreUnavailable, match="ZeroDivisionError: x") as caught:
        await patience.ask(store.ask)
    assert caught.value.__cause__ is store.error
    store.error = BadIntegration("not ours")
    with pytest.raises(BadIntegration, match="not ours"):
        await patience.ask(store.ask)


@async_test
async def test_after_three_failures_one_a_second_finds_out_how_it_is() -> None:
    clock, store = FakeClock(), Store()
    patience = a_patience(clock)
    store.error = StoreUnavailable("away")
    for _ in range(10):
        with pytest.raises(StoreUnavailable):
            await patience.ask(store.ask)
    assert store.asked == 3
    assert patience.is_out
    await clock.advance(1)
    for _ in range(10):
        with pytest.raises(StoreUnavailable):
            await patience.ask(store.ask)
    assert store.asked == 4
    await clock.advance(1)
    store.error = None
    assert await patience.ask(store.ask) == 7
    assert not patience.is_out
    assert await patience.ask(store.ask) == 7


@async_test
async def test_who_is_cancelled_takes_his_question_back() -> None:
    store, patience = Store(), a_patience(FakeClock())
    asking = asyncio.create_task(patience.ask(store.hang))
    while not store.asked:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await patience.close(within_s=20)


@async_test
async def test_closing_gives_up_what_is_under_way() -> None:
    store, patience = Store(), a_patience(FakeClock())
    task = patience.start(store.hang())
    await asyncio.sleep(0)
    await patience.close(within_s=20)
    assert task.cancelled()


@async_test
async def test_what_nobody_waits_for_is_heard_of_when_it_breaks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, "backstay.integration")
    store, patience = Store(), a_patience(FakeClock())
    store.error = ZeroDivisionError("x")
    await asyncio.wait({patience.start(store.ask())})
    await asyncio.sleep(0)
    assert [each.message for each in caplog.records] == ["what processes share came to grief here"]
