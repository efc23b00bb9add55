"""What has happened can be looked through, followed, drawn, and added to."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BadEvents
from backstay.events import BOUNDS_MS
from tests.events.journal import BOTH, START, a_minute, journal, seen
from tests.support import async_test


def paths(events: Any) -> list[int]:
    return [int(each.facts["path"].rpartition("/")[2]) for each in events]


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_pages_go_from_the_newest_to_the_oldest_and_miss_nothing(
    kind: str, tmp_path: Path
) -> None:
    async with journal(kind, tmp_path) as mine:
        await mine.fill(25)
        before, found, pages = None, [], 0
        while True:
            page = await mine.events.find(limit=10, before=before)
            found += paths(page.events)
            pages += 1
            before = page.next
            await mine.write(seen(100 + pages))  # what comes meanwhile disturbs nobody
            if before is None:
                break
        assert found == list(range(24, -1, -1))
        assert pages == 3


@async_test
async def test_a_page_that_is_just_full_is_the_last(tmp_path: Path) -> None:
    async with journal("sqlite", tmp_path) as mine:
        await mine.fill(1_000)
        assert (await mine.events.find(limit=999)).next is not None
        page = await mine.events.find(limit=10, until=START + timedelta(seconds=10))
        assert (len(page.events), page.next) == (10, None)
        whole = await mine.events.find(limit=1_000)  # cannot ask for one more, so there may be
        assert (await mine.events.find(limit=1_000, before=whole.next)).events == ()


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_events_are_found_by_everything_about_them(kind: str, tmp_path: Path) -> None:
    async with journal(kind, tmp_path) as mine:
        await mine.write(
            seen(1),
            seen(2, kind="task", name="send", outcome="failed", status=None),
            seen(3, status=503, correlation_id=None),
            seen(4, error=("ValueError", "Straße 100% gesperrt"), outcome="failed"),
            seen(5, kind="job", outcome="retried", facts={"path": "/5", "queue": "Mail"}),
        )

        async def found(**which: Any) -> list[int]:
            page = await mine.events.find(**which)
            return sorted(int((each.started_at - START).total_seconds()) for each in page.events)

        assert await found() == [1, 2, 3, 4, 5]
        assert await found(kind="task") == [2]
        assert await found(kind="request", name="GET /items/{item_id}") == [1, 3, 4]
        assert await found(name="GET /items") == []
        assert await found(correlation_id="work-4") == [4]
        assert await found(outcome="retried") == [5]
        assert await found(failed=True) == [2, 3, 4]
        assert await found(failed=False) == [1, 5]
        assert await found(since=START + timedelta(seconds=4)) == [4, 5]
        assert await found(until=START + timedelta(seconds=2)) == [1]
        assert await found(search="mail") == [5]
        assert await found(search="VALUEERROR") == [4]
        assert await found(search="100%") == [4]
        assert await found(search="1%0") == []
        assert await found(search="WORK-2") == [2]
        assert await found(search="items/3") == [3]


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_a_piece_of_work_is_followed_in_order(kind: str, tmp_path: Path) -> None:
    async with journal(kind, tmp_path) as mine:
        await mine.write(
            seen(3, kind="call", correlation_id="w"),
            seen(1, correlation_id="w"),
            seen(2, kind="task", correlation_id="w"),
            seen(2, kind="task", correlation_id="v"),
        )
        assert [each.kind for each in await mine.events.trace("w")] == ["request", "task", "call"]
        assert await mine.events.trace("nobody") == []
        assert [each.kind for each in await mine.events.trace("w", limit=2)] == ["task", "call"]


@async_test
async def test_a_correlation_id_that_is_a_secret_is_found_by_itself(tmp_path: Path) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"
    async with journal("sqlite", tmp_path) as mine:
        await mine.write(seen(1, correlation_id=token))
        (found,) = await mine.events.trace(token)
        assert found.correlation_id == "***"
        assert len((await mine.events.find(correlation_id=token)).events) == 1


@async_test
async def test_what_is_recorded_is_kept_masked_and_counted(tmp_path: Path) -> None:
    async with journal("sqlite", tmp_path, sample=0.0) as mine:
        await mine.events.record(
            "audit",
            "order cancelled",
            outcome="refused",
            status=403,
            error=PermissionError("token=abc"),
            duration_s=2.0,
            facts={"order": 17, "password": "hunter2"},
            correlation_id="work-9",
        )
        assert mine.events.waiting == 1
        await mine.events.flush()
        assert mine.events.waiting == 0
        (found,) = (await mine.events.find(kind="audit")).events
        assert found.name == "order cancelled"
        assert (found.outcome, found.status, found.correlation_id) == ("refused", 403, "work-9")
        assert found.error == "PermissionError: token=***"
        assert found.facts == {"order": 17, "password": "***"}
        assert found.started_at == START - timedelta(seconds=2)
        assert found.duration_ms == 2_000
        (minute,) = await mine.events.minutes(kind="audit")
        assert (minute.count, minute.status_4xx) == (1, 1)


@pytest.mark.parametrize("kind", ["", "Audit", "a b", "a" * 33, "9", None, "ä"])
@async_test
async def test_a_kind_is_a_plain_word(kind: Any, tmp_path: Path) -> None:
    async with journal("sqlite", tmp_path) as mine:
        with pytest.raises(BadEvents, match='kind= is a word such as "audit"'):
            await mine.events.record(kind, "x")


@async_test
async def test_a_record_says_what_happened(tmp_path: Path) -> None:
    async with journal("sqlite", tmp_path) as mine:
        with pytest.raises(BadEvents, match="name= says what happened; got ''"):
            await mine.events.record("audit", "")


@async_test
async def test_where_events_are_off_nothing_is_recorded(tmp_path: Path) -> None:
    async with journal("sqlite", tmp_path) as mine:
        mine.collector.is_open = False
        assert not mine.events.on
        await mine.events.record("audit", "x")
        await mine.events.flush()
        assert (await mine.events.find()).events == ()


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_a_series_has_a_point_for_every_step_that_begins_where_it_always_does(
    kind: str, tmp_path: Path
) -> None:
    async with journal(kind, tmp_path) as mine:
        for minute in (0, 1, 7, 8, 14):
            at = START + timedelta(minutes=minute)
            await mine.add_minutes(a_minute(at), a_minute(at, name="GET /b", max_us=1_000_000))
        await mine.clock.advance(16 * 60)
        points = await mine.events.series("request", since=START + timedelta(minutes=3), step_s=300)
        assert [(each.at - START) / timedelta(minutes=1) for each in points] == [0, 5, 10, 15]
        assert [each.count for each in points] == [4, 4, 2, 0]
        assert {each.step_s for each in points} == {300}
        assert {each.name for each in points} == {None}
        assert points[0].max_ms == 1_000
        assert points[-1].quantile(0.5) is None
        one = await mine.events.series("request", "GET /b", since=START)
        assert len(one) == 17
        assert [each.count for each in one[:3]] == [1, 1, 0]
        assert {each.name for each in one} == {"GET /b"}
        assert [each.count for each in await mine.events.series("job", since=START)] == [0] * 17
        end = START + timedelta(minutes=2)
        assert len(await mine.events.series("request", since=START, until=end)) == 2


@pytest.mark.parametrize("step_s", [0, 59, 90, -60, 60.0, True, None])
@async_test
async def test_a_step_is_whole_minutes(step_s: Any, tmp_path: Path) -> None:
    async with journal("sqlite", tmp_path) as mine:
        with pytest.raises(BadEvents, match="step_s= is a multiple of 60"):
            await mine.events.series("request", since=START, step_s=step_s)


@async_test
async def test_a_series_is_bounded(tmp_path: Path) -> None:
    async with journal("sqlite", tmp_path) as mine:
        with pytest.raises(BadEvents, match=r"points are more than 20000; choose a longer step_s="):
            await mine.events.series("request", since=START - timedelta(days=30))


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_names_come_with_the_most_frequent_first(kind: str, tmp_path: Path) -> None:
    async with journal(kind, tmp_path) as mine:
        for minute, name in ((0, "a"), (1, "b"), (2, "b"), (3, "c"), (3, "c"), (4, "c")):
            await mine.add_minutes(a_minute(START + timedelta(minutes=minute), name=name))
        await mine.add_minutes(a_minute(name="other", kind="job"))
        await mine.clock.advance(600)
        assert await mine.events.names("request") == ["c", "b", "a"]
        assert await mine.events.names("request", START + timedelta(minutes=2)) == ["c", "b"]
        totals = await mine.events.totals(limit=2)
        assert [(each.kind, each.name, each.count) for each in totals] == [
            ("request", "c", 3),
            ("request", "b", 2),
        ]
        assert totals[0].histogram[BOUNDS_MS.index(25)] == 3
        assert totals[0].at == mine.clock.now() - timedelta(hours=1)
        assert totals[0].step_s >= 3_600


@async_test
async def test_without_a_writer_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    async with journal("sqlite", tmp_path) as mine:
        mine.events._writer = None
        await mine.events.flush()
