"""What is true of writing jobs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from backstay.errors import BackstayError, BadJob
from backstay.ledger.ids import new_job_id
from backstay.ledger.rows import (
    Finish,
    Gate,
    Inserted,
    JobFilter,
    NewJob,
    State,
    Tick,
    UniqueKey,
)
from backstay.testing.ledger_conformance.stage import (
    START,
    LedgerHome,
    Stage,
    conformance_test,
    job,
)

__all__ = ["Inserts"]

# Nothing that any integer column could hold, so that no engine can write it.
IMPOSSIBLE = 2**70


class Inserts(LedgerHome):
    """Writing jobs: whole, once, and due when they should be."""

    @conformance_test
    async def test_a_job_is_written_as_it_was_given(self, on: Stage) -> None:
        given = job(
            "shop.send",
            args='{"a": 1}',
            queue="mail",
            priority=3,
            max_attempts=5,
            meta='{"correlation_id": "abc"}',
        )
        assert await on.ledger.insert([given]) == [Inserted(given.id, True)]
        row = await on.row(given.id)
        assert (row.id, row.task, row.queue, row.priority) == (given.id, "shop.send", "mail", 3)
        assert json.loads(row.args) == {"a": 1}
        assert row.meta == {"correlation_id": "abc"}
        assert (row.state, row.attempt, row.max_attempts) == (State.AVAILABLE, 0, 5)
        assert (row.created_at, row.run_at) == (START, START)
        assert (row.started_at, row.finished_at, row.expires_at) == (None, None, None)
        assert (row.worker, row.unique_key, row.gate) == (None, None, None)
        assert (row.progress, row.result, row.has_result, row.errors) == (None, None, False, ())
        assert not row.cancel_requested
        assert not row.corrupt
        assert not row.finished
        assert row.waiting_for == 0

    @conformance_test
    async def test_writing_no_jobs_is_no_error(self, on: Stage) -> None:
        assert await on.ledger.insert([]) == []
        assert await asyncio.to_thread(on.ledger.insert_now, []) == []

    @conformance_test
    async def test_many_jobs_are_written_by_one_call_and_answered_in_order(self, on: Stage) -> None:
        jobs = [job(args=f'{{"n": {number}}}') for number in range(2500)]
        jobs[7].delay_s = 60  # jobs of more than one kind in one call
        jobs[11].queue = "mail"
        assert await on.ledger.insert(jobs) == [Inserted(each.id, True) for each in jobs]
        counts = {(each.queue, each.state): each.jobs for each in await on.ledger.counts()}
        assert counts == {
            ("default", State.AVAILABLE): 2498,
            ("default", State.SCHEDULED): 1,
            ("mail", State.AVAILABLE): 1,
        }

    @conformance_test
    async def test_a_job_written_twice_is_there_once(self, on: Stage) -> None:
        one = job()
        assert await on.ledger.insert([one]) == [Inserted(one.id, True)]
        assert await on.ledger.insert([one]) == [Inserted(one.id, False)]
        await on.worker()
        assert [each.id for each in await on.claim()] == [one.id]

    @conformance_test
    async def test_a_job_written_again_after_it_finished_is_not_run_again(self, on: Stage) -> None:
        one = job()
        assert await on.end(await on.running(one))
        assert await on.ledger.insert([one]) == [Inserted(one.id, False)]
        assert await asyncio.to_thread(on.ledger.insert_now, [one]) == [Inserted(one.id, False)]
        assert await on.state(one.id) is State.SUCCEEDED

    @conformance_test
    async def test_an_id_twice_in_one_call_is_written_once(self, on: Stage) -> None:
        one, other = job(), job()
        inserted = await on.ledger.insert([one, other, one])
        assert inserted == [
            Inserted(one.id, True),
            Inserted(other.id, True),
            Inserted(one.id, False),
        ]
        await on.worker()
        assert len(await on.claim()) == 2

    @conformance_test
    async def test_an_id_that_is_there_is_left_as_it_was(self, on: Stage) -> None:
        one = job("first")
        await on.add(one)
        fresh = job("fresh")
        inserted = await on.ledger.insert([NewJob(one.id, "second", queue="mail"), fresh])
        assert inserted == [Inserted(one.id, False), Inserted(fresh.id, True)]
        row = await on.row(one.id)
        assert (row.task, row.queue) == ("first", "default")

    @conformance_test
    async def test_jobs_of_one_call_are_written_all_or_none(self, on: Stage) -> None:
        good = job()
        for bad in (job(priority=IMPOSSIBLE), job(delay_s=60, priority=IMPOSSIBLE)):
            try:
                await on.ledger.insert([good, bad])
            except BackstayError:
                pass
            else:
                raise AssertionError("an integer of 70 bits was written")
            assert await on.ledger.get([good.id, bad.id]) == {}
        assert await on.ledger.insert([good]) == [Inserted(good.id, True)]

    @conformance_test
    async def test_a_bad_call_fails_none_of_those_made_at_the_same_time(self, on: Stage) -> None:
        good = [job() for _ in range(20)]
        calls = [on.ledger.insert([each]) for each in good]
        calls.insert(10, on.ledger.insert([job(priority=IMPOSSIBLE)]))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(results.pop(10), BackstayError)
        assert results == [[Inserted(each.id, True)] for each in good]
        assert len(await on.ledger.get([each.id for each in good])) == 20

    @conformance_test
    async def test_concurrent_calls_each_get_their_own_answer(self, on: Stage) -> None:
        calls = [[job() for _ in range(number % 4)] for number in range(80)]
        results = await asyncio.gather(*(on.ledger.insert(jobs) for jobs in calls))
        for jobs, inserted in zip(calls, results, strict=True):
            assert inserted == [Inserted(each.id, True) for each in jobs]
        ids = [each.id for jobs in calls for each in jobs]
        assert len(await on.ledger.get(ids)) == len(ids)

    @conformance_test
    async def test_the_same_job_written_by_many_at_once_is_there_once(self, on: Stage) -> None:
        other = await on.another()
        one = job()
        results = await asyncio.gather(
            *((on.ledger if number % 2 else other).insert([one]) for number in range(20))
        )
        assert sorted(created for [(_, created)] in results) == [False] * 19 + [True]
        assert {each for [(each, _)] in results} == {one.id}

    @conformance_test
    async def test_jobs_can_be_written_from_threads_while_the_loop_writes(self, on: Stage) -> None:
        jobs = [job() for _ in range(40)]

        async def write(number: int) -> list[Inserted]:
            if number % 2:
                return await asyncio.to_thread(on.ledger.insert_now, [jobs[number]])
            return await on.ledger.insert([jobs[number]])

        results = await asyncio.gather(*(write(number) for number in range(40)))
        assert results == [[Inserted(each.id, True)] for each in jobs]
        assert len(await on.ledger.get([each.id for each in jobs])) == 40

    @conformance_test
    async def test_what_is_written_blocking_is_written_all_or_none(self, on: Stage) -> None:
        good = job()
        with contextlib.suppress(BackstayError):
            await asyncio.to_thread(on.ledger.insert_now, [good, job(priority=IMPOSSIBLE)])
        assert await on.ledger.get([good.id]) == {}

    @conformance_test
    async def test_a_caller_who_gives_up_waiting_harms_nobody(self, on: Stage) -> None:
        given_up = asyncio.create_task(on.ledger.insert([job()]))
        others = [asyncio.create_task(on.ledger.insert([job()])) for _ in range(10)]
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert all(inserted[0].created for inserted in await asyncio.gather(*others))

    @conformance_test
    async def test_a_delay_runs_by_the_clock_of_the_ledger(self, on: Stage) -> None:
        [late] = await on.add(job(delay_s=60))
        await on.worker()
        row = await on.row(late)
        assert (row.state, row.run_at) == (State.SCHEDULED, START + timedelta(seconds=60))
        on.time.move(59.9)
        assert await on.claim() == []
        on.time.move(0.2)
        assert [each.id for each in await on.claim()] == [late]

    @conformance_test
    async def test_a_job_may_start_at_its_time_and_not_before(self, on: Stage) -> None:
        at = (START + timedelta(hours=1, microseconds=1)).astimezone(timezone(timedelta(hours=2)))
        [late] = await on.add(job(run_at=at))
        await on.worker()
        assert (await on.row(late)).run_at == at
        on.time.move(3600)
        assert await on.claim() == []
        on.time.move(1)
        [claimed] = await on.claim()
        assert claimed.run_at == at

    @conformance_test
    async def test_a_time_wins_over_a_delay(self, on: Stage) -> None:
        [late] = await on.add(job(run_at=START + timedelta(seconds=10), delay_s=9000))
        assert (await on.row(late)).run_at == START + timedelta(seconds=10)

    @conformance_test
    async def test_a_time_that_is_over_means_at_once(self, on: Stage) -> None:
        ids = await on.add(job(run_at=START - timedelta(days=9)), job(run_at=START))
        assert await on.states(ids) == [State.AVAILABLE, State.AVAILABLE]
        await on.worker()
        assert {each.id for each in await on.claim()} == set(ids)

    @conformance_test
    async def test_a_time_long_past_does_not_jump_the_line(self, on: Stage) -> None:
        [first] = await on.add(job())
        on.time.move(1)
        [late] = await on.add(job(run_at=datetime(1980, 1, 1, tzinfo=START.tzinfo)))
        await on.worker()
        assert [each.id for each in await on.claim()] == [first, late]

    @conformance_test
    async def test_texts_come_back_as_they_were_written(self, on: Stage) -> None:
        nasty = "\x00 \\u0000 🦄 é'\"\\ %s :name $1 ? {x} \u2028 \ud7ff" + "x" * 10
        texts = [
            json.dumps({"text": nasty}),
            json.dumps({"text": nasty.replace("\x00", "")}, ensure_ascii=False),
            json.dumps({"text": "y" * 1_000_000}),
            '{ "spaces" :  "stay", "and": [1.10, 1e3, null] }',
        ]
        await on.worker()
        for text in texts:
            for new in (job(args=text, meta=text), job(args=text, meta=text, delay_s=0.001)):
                await on.add(new)
                on.time.move(1)
                [claimed] = await on.claim()
                assert json.loads(claimed.args) == json.loads(text)
                assert json.loads(claimed.meta) == json.loads(text)
                stale = await on.end(claimed, State.DISCARDED, result=text, error=text)
                assert stale
                row = await on.row(new.id)
                assert (row.meta, row.result) == (json.loads(text), json.loads(text))
                assert row.errors[-1] == json.loads(text)
                assert not row.corrupt

    @conformance_test
    async def test_an_odd_job_is_refused_or_comes_to_an_end_and_harms_nobody(
        self, on: Stage
    ) -> None:
        odd: list[dict[str, Any]] = [
            *({"delay_s": each} for each in (math.inf, math.nan, -math.inf, 1e10, 1e12, 1e300)),
            {"run_at": datetime.max.replace(tzinfo=UTC)},
            {"run_at": datetime.min.replace(tzinfo=UTC)},
            *({"keep_s": each} for each in (math.inf, math.nan, -1.0, 1e12, 1e15, 1e300)),
            *({"gate": Gate("g", rate=1, per_s=each)} for each in (0.0, -1.0, math.inf, math.nan)),
            *({"gate": Gate("g", rate=1, per_s=each)} for each in (1e-9, 1e15, 1e300)),
            *({"gate": Gate("g", limit=each)} for each in (0, -1)),
            {"gate": Gate("g", rate=0)},
            *(
                {"unique": UniqueKey("k", period_s=each)}
                for each in (math.inf, math.nan, 0.0, -1.0, 1e12, 1e15, 1e300)
            ),
            {"unique": UniqueKey("k", states=frozenset())},
            *({"priority": each} for each in (2**31, -(2**31), 2**62, 2**63)),
            {"max_attempts": 0},
            {"args": '"\ud800"'},
            {"args": "{\x00}"},
        ]
        await on.worker()
        for fields in odd:
            on.time.move(1)
            good, other = job(queue="good"), job(**fields)
            try:
                [inserted] = await on.ledger.insert([other])
                accepted = inserted.created
            except BackstayError:
                accepted = False
            assert len(await on.ledger.get([other.id])) == accepted, fields
            await on.add(good)
            # Whatever it is, those beside it are found, claimed and ended together with it.
            taken = await on.claim({"default": 100, "good": 100})
            assert good.id in {each.id for each in taken}, fields
            finishes = [Finish(each.id, each.fence, State.SUCCEEDED) for each in taken]
            assert await on.ledger.finish(finishes) == set(), fields
            assert good.id in {each.id for each in await on.ledger.find(JobFilter())}, fields
            assert await on.state(good.id) is State.SUCCEEDED
            await on.ledger.counts()
            if accepted:
                await on.ledger.cancel(other.id, "odd")
                assert (await on.row(other.id)).finished, fields
                assert await on.ledger.delete(JobFilter(ids=(other.id,))) == 1, fields
        await on.ledger.prune(1)

    @conformance_test
    async def test_what_no_database_can_keep_is_refused_before_anything_is_written(
        self, on: Stage
    ) -> None:
        late = datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))
        times: list[Any] = [math.inf, -math.inf, math.nan, -1.0, 1e12, 1e300, "1", None]
        no_texts: list[Any] = [None, b"{}", 5, {}]
        bad: list[dict[str, Any]] = [
            *({"delay_s": each} for each in times),
            *({"keep_s": each} for each in times[:-1]),
            *({"unique": UniqueKey("k", period_s=each)} for each in times[:-1]),
            *({"gate": Gate("g", rate=1, per_s=each)} for each in (*times, 0.0)),
            *({"run_at": each} for each in (late, datetime(2027, 1, 1), "2027-01-01", 5)),
            *({"args": each} for each in no_texts),
            *({"meta": each} for each in no_texts),
            *({name: each} for name in ("task", "queue") for each in no_texts),
            *({"priority": each} for each in (None, 0.5, "1", 2**31, -(2**31) - 1, 2**70)),
            *({"max_attempts": each} for each in (None, 1.5, 2**31)),
            *({"gate": Gate("g", limit=each)} for each in ("1", 1.5, 2**31)),  # type: ignore[arg-type]
            {"after": ("no id",)},
            {"after": (new_job_id(),), "on_parent_failure": "shrug"},
        ]
        await on.worker()
        good = job()
        for fields in bad:
            other = NewJob(new_job_id(), **({"task": "t"} | fields))
            calls: list[Callable[[], Awaitable[Any]]] = [
                lambda other=other: on.ledger.insert([good, other]),  # type: ignore[misc]
                lambda other=other: asyncio.to_thread(on.ledger.insert_now, [good, other]),  # type: ignore[misc]
                lambda other=other: on.ledger.tick(  # type: ignore[misc]
                    Tick(name="n", previous=None, at=START, jobs=(good, other))
                ),
            ]
            for call in calls:
                try:
                    await call()
                except BadJob:
                    pass
                else:
                    raise AssertionError(f"{fields} was written")
        assert await on.ledger.find(JobFilter()) == []
        assert await on.ledger.last_tick("n") is None

    @conformance_test
    async def test_the_last_moment_there_is_can_be_waited_for(self, on: Stage) -> None:
        last = datetime.max.replace(tzinfo=UTC)
        ids = await on.add(job(run_at=last), job(delay_s=1e11, keep_s=1e11), job(delay_s=-0.0))
        rows = await on.ledger.get(ids)
        assert rows[ids[0]].run_at == last
        assert rows[ids[1]].run_at == START + timedelta(seconds=1e11)
        assert rows[ids[2]].state is State.AVAILABLE
        await on.ledger.cancel(ids[1], "too long")
        assert (await on.row(ids[1])).expires_at == START + timedelta(seconds=1e11)
        assert not (await on.row(ids[1])).corrupt

    @conformance_test
    async def test_names_may_be_of_any_letters(self, on: Stage) -> None:
        name = "Ünïcode 🦄 'quoted\" -- ; %s :x"
        await on.worker(name)
        await on.ledger.pause(name, True)
        await on.ledger.pause(name, False)
        [one] = await on.add(job(name, queue=name))
        [claimed] = await on.claim({name: 1}, worker=name)
        assert (claimed.id, claimed.task, claimed.queue) == (one, name, name)
        assert (await on.row(one)).worker == name

    @conformance_test
    async def test_ids_need_not_be_in_the_order_of_time(self, on: Stage) -> None:
        late, early = new_job_id(), new_job_id()
        await on.add(job(id=early))
        await on.add(job(id=late))
        assert set(await on.ledger.get([early, late])) == {early, late}
