"""Checks are bounded, asked once for all, and kept for a second."""

import asyncio
import logging
from typing import Any

import pytest

from backstay.errors import BadPattern
from backstay.pattern.health import Health, HealthCheck, Standing, read_checks
from backstay.testing import FakeClock
from tests.support import async_test


async def fine() -> None:
    pass


async def broken() -> None:
    raise ConnectionError("nobody at 10.0.0.1")


async def false() -> bool:
    return False


async def falsy() -> int:
    return 0


def sync() -> None:
    pass


def awaitable() -> Any:
    return fine()


def health(clock: FakeClock | None = None, **checks: HealthCheck | Any) -> Health:
    return Health(read_checks(checks), clock or FakeClock())


@pytest.mark.parametrize(
    ("checks", "standing", "details"),
    [
        ({}, Standing.OK, {}),
        ({"a": fine, "b": falsy, "c": awaitable}, Standing.OK, {}),
        ({"a": fine, "b": broken}, Standing.DOWN, {"b": "ConnectionError: nobody at 10.0.0.1"}),
        ({"a": false}, Standing.DOWN, {"a": "returned False"}),
        ({"a": sync}, Standing.DOWN, {"a": "async function"}),
        (
            {"a": HealthCheck(check=broken, vital=False), "b": fine},
            Standing.DEGRADED,
            {"a": "nobody"},
        ),
        ({"a": HealthCheck(check=broken, vital=False), "b": false}, Standing.DOWN, {"b": "False"}),
        ({"a": HealthCheck(check=broken, applies=lambda: False)}, Standing.OK, {}),
    ],
)
@async_test
async def test_the_worst_counts(
    checks: dict[str, Any], standing: Standing, details: dict[str, str]
) -> None:
    report = await health(**checks).report()
    assert report.standing is standing
    for name, detail in details.items():
        assert detail in str(report.findings[name].detail)


@async_test
async def test_however_many_ask_each_check_runs_once_a_second() -> None:
    clock = FakeClock()
    calls = 0
    go = asyncio.Event()

    async def counted() -> None:
        nonlocal calls
        calls += 1
        await go.wait()

    looked = health(clock, a=counted)
    asking = [asyncio.create_task(looked.report()) for _ in range(50)]
    await clock.until_waiting()
    go.set()
    reports = await asyncio.gather(*asking)
    assert all(each is reports[0] for each in reports)
    await clock.advance(0.9)
    await looked.report()
    assert calls == 1
    await clock.advance(0.2)
    await looked.report()
    assert calls == 2


@async_test
async def test_one_who_leaves_does_not_spoil_it_for_the_others() -> None:
    clock = FakeClock()
    go = asyncio.Event()
    looked = health(clock, a=go.wait)
    first = asyncio.create_task(looked.report())
    await clock.until_waiting()
    second = asyncio.create_task(looked.report())
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    go.set()
    assert (await second).standing is Standing.OK


@async_test
async def test_all_are_asked_at_once_and_none_for_longer_than_its_time() -> None:
    clock = FakeClock()
    never = asyncio.Event()
    looked = health(
        clock, a=never.wait, b=HealthCheck(check=never.wait, timeout_s=0.5, vital=False), c=fine
    )
    asking = asyncio.create_task(looked.report())
    await clock.until_waiting(2)
    await clock.advance(1.0)
    report = await asking
    assert report.findings["a"].detail == "no answer within 1 s"
    assert report.findings["a"].duration_s == 1.0
    assert report.findings["b"].duration_s == 0.5
    assert report.findings["c"].standing is Standing.OK
    await looked.close()


@async_test
async def test_one_that_cannot_be_stopped_is_not_begun_again() -> None:
    clock = FakeClock()
    let_go = asyncio.Event()
    calls = 0

    async def stubborn() -> None:
        nonlocal calls
        calls += 1
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                pass

    looked = health(clock, a=stubborn)
    for detail in ("no answer within", "has not ended", "has not ended"):
        asking = asyncio.create_task(looked.report())
        if calls == 0:
            await clock.until_waiting()
        await clock.advance(1.0)
        report = await asking
        assert detail in str(report.findings["a"].detail)
        await clock.advance(1.0)
    assert calls == 1
    let_go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (await looked.report()).standing is Standing.OK


@async_test
async def test_a_check_that_fails_after_its_time_troubles_nobody() -> None:
    clock = FakeClock()
    go = asyncio.Event()

    async def late() -> None:
        try:
            await go.wait()
        except asyncio.CancelledError:
            raise RuntimeError("too late") from None

    looked = health(clock, a=late)
    asking = asyncio.create_task(looked.report())
    await clock.until_waiting()
    await clock.advance(1.0)
    assert (await asking).standing is Standing.DOWN
    await asyncio.sleep(0)
    await looked.close()


@async_test
async def test_a_check_that_cancels_itself_is_down() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    assert (await health(a=cancelled).report()).findings["a"].detail == "the check was cancelled"


@async_test
async def test_the_log_tells_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    works = False

    async def changing() -> bool:
        return works

    looked = health(clock, database=changing)
    with caplog.at_level(logging.INFO, logger="backstay.pattern"):
        for _ in range(3):
            await looked.report()
            await clock.advance(2)
        works = True
        await looked.report()
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "readiness: down, was ok (database: the check returned False)"),
        ("INFO", "readiness: ok, was down"),
    ]


@async_test
async def test_closing_stops_what_is_under_way() -> None:
    clock = FakeClock()
    looked = health(clock, a=asyncio.Event().wait)
    asking = asyncio.create_task(looked.report())
    await clock.until_waiting()
    await looked.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(asyncio.all_tasks()) == 1


@async_test
async def test_one_of_which_nobody_knows_whether_it_applies_is_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails() -> bool:
        raise RuntimeError("on purpose")

    report = await health(a=HealthCheck(check=broken, applies=fails)).report()
    assert report.standing is Standing.DOWN
    assert "could not be told" in caplog.text


@async_test
async def test_details_are_one_line() -> None:
    async def verbose() -> None:
        raise RuntimeError("one\ntwo\r\n" + "x" * 1000)

    detail = str((await health(a=verbose).report()).findings["a"].detail)
    assert detail.startswith("RuntimeError: one two xxx")
    assert len(detail) <= 500


@async_test
async def test_one_more_check_may_come_later() -> None:
    looked = health()
    looked.add("late", HealthCheck(check=broken))
    assert (await looked.report()).standing is Standing.DOWN


@pytest.mark.parametrize(
    "given",
    [
        {"a": "no function"},
        {"": fine},
        {1: fine},
        [fine],
        fine,
    ],
)
def test_what_is_no_check_is_refused(given: Any) -> None:
    with pytest.raises(BadPattern):
        read_checks(given)


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan"), "1", True])
def test_a_check_has_an_end(timeout_s: Any) -> None:
    with pytest.raises(BadPattern, match="timeout_s"):
        HealthCheck(check=fine, timeout_s=timeout_s)


def test_no_checks_are_none() -> None:
    assert read_checks({}) == read_checks(()) == {}
