"""What is true of looking: getting, finding, counting, and rows that are damaged."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

from backstay.ledger.ids import new_job_id
from backstay.ledger.rows import LIVE, Counts, Gate, JobFilter, State, Wait
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
    async def test_only_the_states_asked_for_are_counted(self, on: Stage) -> None:
        for state in (State.SUCCEEDED, State.DISCARDED, State.CANCELLED, State.RETRYING):
            await on.end(await on.running(), state, delay_s=9, error=FAILED)
        held = await on.running()
        await on.add(job(delay_s=9), job(gate=Gate("g", limit=1)), job(after=(held.id,)), job())
        everything = {each.state: each.jobs for each in await on.ledger.counts()}
        assert everything == {**dict.fromkeys(State, 1), State.AVAILABLE: 2}
        for state in State:
            [counted] = await on.ledger.counts(frozenset({state}))
            assert counted == Counts("default", "t", state, everything[state])
        live = await on.ledger.counts(LIVE)
        assert {each.state for each in live} == LIVE
        assert sum(each.jobs for each in live) == 6
        assert await on.ledger.counts(frozenset()) == []

    @conformance_test
    async def test_more_than_the_newest_are_found(self, on: Stage) -> None:
        old = job("rare", queue="mail")
        await on.end(await on.running(old))
        [late, waiting] = await on.add(job("rare", delay_s=9), job("rare", after=(new_job_id(),)))
        await on.add(*(job() for _ in range(1200)))

        async def found(limit: int = 50, **which: Any) -> list[UUID]:
            rows = await on.ledger.find(JobFilter(**which), limit=limit)
            return [each.id for each in rows]

        assert await found(task="rare") == [waiting, late, old.id]
        assert await found(task="rare", limit=2) == [waiting, late]
        assert await found(queue="mail") == [old.id]
        assert await found(queue="mail", task="rare") == [old.id]
        assert await found(queue="mail", task="t") == []
        succeeded = frozenset({State.SUCCEEDED})
        narrowed: list[dict[str, Any]] = [{}, {"queue": "mail"}, {"task": "rare"}, {"text": "are"}]
        for which in narrowed:
            assert await found(states=succeeded, **which) == [old.id]
        assert await found(states=succeeded, task="t") == []
        assert await found(states=succeeded | {State.SCHEDULED}, task="rare") == [late, old.id]
        page = await on.ledger.find(JobFilter(task="rare"), before=late)
        assert [each.id for each in page] == [old.id]

    @conformance_test
    async def test_a_job_knows_its_children(self, on: Stage) -> None:
        [one, other] = await on.add(job(), job())
        children = await on.add(*(job(after=(other, one)) for _ in range(3)), job(after=(other,)))
        assert await on.ledger.children(one) == children[:3]
        assert await on.ledger.children(other) == children
        assert await on.ledger.children(children[0]) == []
        await on.ledger.cancel(one, "no more")
        assert await on.ledger.children(one) == children[:3], "also when they wait no longer"
        await on.ledger.delete(JobFilter(ids=(children[0],)))
        assert await on.ledger.children(one) == children[1:3]

    @conformance_test
    async def test_queues_say_how_long_their_first_job_could_have_been_started(
        self, on: Stage
    ) -> None:
        assert await on.ledger.waits() == []
        await on.add(job(), job(delay_s=5), job(queue="later", delay_s=30))
        await on.add(job(queue="mail", run_at=START - timedelta(hours=1)))
        assert await on.ledger.waits() == [Wait("default", 0), Wait("mail", 0)]
        on.time.move(10)
        assert await on.ledger.waits() == [Wait("default", 10), Wait("mail", 10)]
        await on.worker()
        [first] = await on.claim({"default": 1})
        assert await on.ledger.waits() == [Wait("default", 5), Wait("mail", 10)], "due counts"
        await on.end(first, State.RETRYING, delay_s=40, error=FAILED)
        await on.claim({"default": 5, "mail": 5})
        assert await on.ledger.waits() == []
        on.time.move(50)
        assert await on.ledger.waits() == [Wait("default", 10), Wait("later", 30)]

    @conformance_test
    async def test_waiting_is_measured_whatever_the_place_in_line(self, on: Stage) -> None:
        await on.add(job(priority=-5, queue="low"), job(queue="g", gate=Gate("g", limit=1)))
        on.time.move(60)
        await on.add(job(priority=5, queue="low"), job(queue="low"), job(queue="g"))
        await on.add(job(queue="g", gate=Gate("a", limit=1), priority=9))
        await on.add(*(job(priority=7, queue="high") for _ in range(5)))
        on.time.move(1)
        await on.ledger.pause("high", True)
        assert await on.ledger.waits() == [Wait("g", 61), Wait("high", 1), Wait("low", 61)]

    @conformance_test
    async def test_what_is_deleted_is_told_in_portions(self, on: Stage) -> None:
        parent = job()
        await on.add(parent, *(job(after=(parent.id,)) for _ in range(2499)))
        await on.ledger.cancel(parent.id, "with all its children")
        [kept] = await on.add(job())
        told: list[int] = []
        assert await on.ledger.delete(JobFilter(), told=told.append) == 2500
        assert sum(told) == 2500
        assert len(told) > 1
        assert [each.id for each in await on.ledger.find(JobFilter())] == [kept]
        assert await on.ledger.children(parent.id) == []
        assert await on.ledger.delete(JobFilter(), told=told.append) == 0
        assert sum(told) == 2500

    @conformance_test
    async def test_others_write_while_much_is_deleted(self, on: Stage) -> None:
        parent = job()
        await on.add(parent, *(job(after=(parent.id,)) for _ in range(2499)))
        await on.ledger.cancel(parent.id, "with all its children")
        other = await on.another()
        written: list[asyncio.Task[object]] = []

        def write(_: int) -> None:
            written.append(asyncio.create_task(other.insert([job()])))

        assert await on.ledger.delete(JobFilter(), told=write) == 2500
        assert len(written) > 1  # each begun between two portions; how fast it is says nothing here
        await asyncio.gather(*written)
        assert len(await on.ledger.find(JobFilter())) == len(written)

    @conformance_test
    async def test_who_looks_makes_nothing(self, on: Stage) -> None:
        [one] = await on.add(job())
        other = await on.another(needed=True, create=False)
        assert set(await other.get([one])) == {one}

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
