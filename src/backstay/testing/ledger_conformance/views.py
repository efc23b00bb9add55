"""What is true of looking: getting, finding, counting, and rows that are damaged."""

from __future__ import annotations

from uuid import UUID

from backstay.ledger.ids import new_job_id
from backstay.ledger.rows import Counts, Gate, JobFilter, State
from backstay.testing.ledger_conformance.stage import (
    FAILED,
    START,
    LedgerHome,
    Stage,
    conformance_test,
    job,
)

__all__ = ["Views"]


class Views(LedgerHome):
    """Looking at jobs, whatever state they are in."""

    @conformance_test
    async def test_jobs_that_do_not_exist_are_missing(self, on: Stage) -> None:
        [one] = await on.add(job())
        assert set(await on.ledger.get([one, new_job_id(), one])) == {one}
        assert await on.ledger.get([]) == {}

    @conformance_test
    async def test_the_newest_are_found_first(self, on: Stage) -> None:
        ids = await on.add(*(job() for _ in range(60)))
        found = await on.ledger.find(JobFilter())
        assert [each.id for each in found] == ids[:9:-1]

    @conformance_test
    async def test_pages_go_on_where_the_last_one_ended(self, on: Stage) -> None:
        ids = await on.add(*(job() for _ in range(10)))
        await on.add(*(job(queue="mail") for _ in range(3)))
        which = JobFilter(queue="default")
        seen: list[UUID] = []
        before = None
        for expected in (4, 4, 2, 0):
            page = await on.ledger.find(which, limit=4, before=before)
            assert len(page) == expected
            await on.add(job())  # what comes meanwhile is newer, and moves no page
            if page:
                seen += [each.id for each in page]
                before = page[-1].id
        assert seen == ids[::-1]

    @conformance_test
    async def test_a_filter_finds_what_matches_all_of_it(self, on: Stage) -> None:
        mail = await on.running(job("shop.mail", queue="mail"))
        await on.end(mail)
        on.time.move(100)
        ship = await on.running(job("shop.ship"))
        await on.end(ship, State.DISCARDED, error=FAILED)
        on.time.move(10)
        [late, plain] = await on.add(
            job("shop.mail", delay_s=9, args='{"to": "Ann_%"}'), job("crm")
        )

        async def found(**which: object) -> set[UUID]:
            rows = await on.ledger.find(JobFilter(**which))  # type: ignore[arg-type]
            return {each.id for each in rows}

        assert await found() == {mail.id, ship.id, late, plain}
        assert await found(ids=(late, ship.id, new_job_id())) == {late, ship.id}
        assert await found(ids=()) == set()
        assert await found(states=frozenset({State.SUCCEEDED, State.DISCARDED})) == {
            mail.id,
            ship.id,
        }
        assert await found(states=frozenset()) == set()
        assert await found(task="shop.mail") == {mail.id, late}
        assert await found(queue="mail") == {mail.id}
        assert await found(task="shop.mail", queue="default") == {late}
        assert await found(text="shop.") == {mail.id, ship.id, late}
        assert await found(text="Ann_%") == {late}
        assert await found(text="_%") == {late}
        assert await found(text="nn\\_") == set()
        assert await found(older_than_s=50) == {mail.id}
        assert await found(older_than_s=5) == {mail.id, ship.id}

    @conformance_test
    async def test_jobs_are_counted_by_queue_task_and_state(self, on: Stage) -> None:
        assert await on.ledger.counts() == []
        await on.add(job("a"), job("a"), job("a", delay_s=9), job("b"), job("a", queue="mail"))
        await on.end(await on.running(job("c", queue="other")))
        assert set(await on.ledger.counts()) == {
            Counts("default", "a", State.AVAILABLE, 2),
            Counts("default", "a", State.SCHEDULED, 1),
            Counts("default", "b", State.AVAILABLE, 1),
            Counts("mail", "a", State.AVAILABLE, 1),
            Counts("other", "c", State.SUCCEEDED, 1),
        }

    @conformance_test
    async def test_the_clock_is_the_one_it_was_given(self, on: Stage) -> None:
        assert await on.ledger.now() == START
        on.time.move(1.5)
        assert (await on.ledger.now() - START).total_seconds() == 1.5

    @conformance_test
    async def test_queues_nobody_declared_are_not_told(self, on: Stage) -> None:
        await on.add(job(queue="mail"))
        assert await on.ledger.queues() == []

    @conformance_test
    async def test_the_address_is_told_without_a_password(self, on: Stage) -> None:
        assert "://" in on.ledger.url
        assert on.ledger.dialect

    @conformance_test
    async def test_a_damaged_row_is_claimed_with_what_is_stored(self, on: Stage) -> None:
        bad, good = await on.add(job("t", max_attempts=2), job())
        on.damage(bad)
        await on.worker()
        first, second = await on.claim()
        assert (first.id, second.id) == (bad, good)
        assert (first.task, first.attempt) == ("t", 1)
        assert await on.end(first, State.DISCARDED, error=FAILED)
        assert await on.end(second)

    @conformance_test
    async def test_a_damaged_row_is_shown_as_such_among_the_others(self, on: Stage) -> None:
        bad, good = await on.add(job("t", queue="mail", priority=2), job())
        on.damage(bad)
        rows = await on.ledger.get([bad, good])
        assert (rows[bad].corrupt, rows[good].corrupt) == (True, False)
        assert (rows[bad].task, rows[bad].queue, rows[bad].priority) == ("t", "mail", 2)
        assert rows[bad].state is State.AVAILABLE
        assert [each.corrupt for each in await on.ledger.find(JobFilter())] == [False, True]

    @conformance_test
    async def test_a_damaged_row_can_be_rescued_cancelled_and_deleted(self, on: Stage) -> None:
        bad = await on.running(job(gate=Gate("g", limit=1)))
        on.damage(bad.id)
        await on.ledger.unregister("w1")
        [orphan] = await on.ledger.orphans()
        assert await on.end(bad, State.RETRYING, delay_s=9, error=FAILED)
        assert orphan.id == bad.id
        assert await on.ledger.cancel(bad.id, "unreadable") is State.RETRYING
        assert await on.ledger.requeue(JobFilter()) == [bad.id]
        await on.ledger.cancel(bad.id, "unreadable")
        assert await on.ledger.delete(JobFilter()) == 1
