"""What is true between processes: shared transactions, wakes, closing and opening again."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import UUID

from backstay.errors import BackstayError, BadJob
from backstay.ledger.ids import new_job_id
from backstay.ledger.port import Ledger, Wake
from backstay.ledger.rows import (
    FINISHED,
    Finish,
    Gate,
    Inserted,
    JobFilter,
    NewJob,
    ProgressReport,
    QueueRow,
    State,
    Tick,
    UniqueKey,
)
from backstay.testing.ledger_conformance.stage import (
    FAILED,
    START,
    LedgerHome,
    Stage,
    conformance_test,
    job,
    worker_row,
)

__all__ = ["Joins"]


class _Undone(Exception):
    """Raised to roll an application's transaction back."""


class Joins(LedgerHome):
    """Writing within other people's transactions, and being one of several processes."""

    @conformance_test
    async def test_a_job_written_through_a_transaction_is_there_when_it_commits(
        self, on: Stage
    ) -> None:
        jobs = [
            job("a", args='{"text": "\\u0000 🦄 :x %s $1"}', meta='{"m": 1}'),
            job("b", delay_s=60, priority=3, queue="mail", keep_s=5),
            job("c", unique=UniqueKey("k")),
        ]
        child = job("d", after=(jobs[0].id,))
        with on.transaction() as execute:
            inserted = on.ledger.insert_through(execute, [*jobs, child])
            assert inserted == [Inserted(each.id, True) for each in (*jobs, child)]
            assert await on.ledger.get([jobs[0].id]) == {}
        assert await on.states([each.id for each in (*jobs, child)]) == [
            State.AVAILABLE,
            State.SCHEDULED,
            State.AVAILABLE,
            State.WAITING,
        ]
        row = await on.row(jobs[0].id)
        assert (row.args, row.meta, row.created_at) == (jobs[0].args, {"m": 1}, START)

    @conformance_test
    async def test_a_job_written_through_a_transaction_is_gone_when_it_rolls_back(
        self, on: Stage
    ) -> None:
        new, keyed = job(), job(unique=UniqueKey("k"))
        try:
            with on.transaction() as execute:
                on.ledger.insert_through(execute, [new, keyed])
                raise _Undone
        except _Undone:
            pass
        assert await on.ledger.get([new.id, keyed.id]) == {}
        await on.add(job(unique=UniqueKey("k")))
        await on.add(new)

    @conformance_test
    async def test_writing_nothing_through_a_transaction_is_no_error(self, on: Stage) -> None:
        with on.transaction() as execute:
            assert on.ledger.insert_through(execute, []) == []

    @conformance_test
    async def test_a_transaction_hears_what_was_there_already(self, on: Stage) -> None:
        new, keyed = job(), job(unique=UniqueKey("k"))
        await on.add(new, keyed)
        with on.transaction() as execute:
            assert on.ledger.insert_through(execute, [new]) == [Inserted(new.id, False)]
            again = job(unique=UniqueKey("k"))
            assert on.ledger.insert_through(execute, [again]) == [Inserted(keyed.id, False)]
        with on.transaction() as execute:  # and the same if a job needs nothing but its row
            fresh = job()
            assert on.ledger.insert_through(execute, [fresh, new]) == [
                Inserted(fresh.id, True),
                Inserted(new.id, False),
            ]

    @conformance_test
    async def test_in_a_transaction_too_the_holder_of_a_key_is_waited_for(self, on: Stage) -> None:
        holder = await on.running(job(unique=UniqueKey("k")))
        kept_out = job(unique=UniqueKey("k"))
        link = job(after=(kept_out.id,))
        with on.transaction() as execute:
            inserted = on.ledger.insert_through(execute, [kept_out, link])
        assert inserted == [Inserted(holder.id, False), Inserted(link.id, True)]
        assert await on.ledger.parents(link.id) == [holder.id]
        assert await on.state(link.id) is State.WAITING
        await on.end(holder)
        assert await on.state(link.id) is State.AVAILABLE

    @conformance_test
    async def test_a_transaction_that_is_to_write_nonsense_can_go_on(self, on: Stage) -> None:
        claimed = await on.running()
        good = job()
        with on.transaction() as execute:
            for bad in (job(delay_s=math.nan), job(keep_s=-1.0), job(priority=2**70)):
                try:
                    on.ledger.insert_through(execute, [job(), bad])
                except BadJob:
                    continue
                raise AssertionError(f"{bad} was written")
            try:
                on.ledger.finish_through(
                    execute, Finish(claimed.id, claimed.fence, State.SUCCEEDED, keep_s=math.inf)
                )
            except BadJob:
                pass
            else:
                raise AssertionError("a time without an end was written")
            assert on.ledger.insert_through(execute, [good]) == [Inserted(good.id, True)]
        assert {each.id for each in await on.ledger.find(JobFilter())} == {good.id, claimed.id}
        assert await on.state(claimed.id) is State.RUNNING

    @conformance_test
    async def test_a_transaction_may_write_many(self, on: Stage) -> None:
        jobs = [job(delay_s=number % 2) for number in range(1200)]
        with on.transaction() as execute:
            inserted = on.ledger.insert_through(execute, jobs)
        assert inserted == [Inserted(each.id, True) for each in jobs]
        assert sum(each.jobs for each in await on.ledger.counts()) == 1200

    @conformance_test
    async def test_a_claim_ended_through_a_transaction_ends_when_it_commits(
        self, on: Stage
    ) -> None:
        claimed = await on.running()
        child = job(after=(claimed.id,))
        await on.add(child)
        after = job("after")
        finish = Finish(
            claimed.id, claimed.fence, State.SUCCEEDED, result='{"a": "🦄"}', then=(after,)
        )
        with on.transaction() as execute:
            assert on.ledger.finish_through(execute, finish) is True
        row = await on.row(claimed.id)
        assert (row.state, row.result) == (State.SUCCEEDED, {"a": "🦄"})
        assert await on.states([child.id, after.id]) == [State.AVAILABLE] * 2
        assert not await on.end(claimed)

    @conformance_test
    async def test_a_claim_ended_through_a_transaction_goes_on_when_it_rolls_back(
        self, on: Stage
    ) -> None:
        claimed = await on.running()
        child, after = job(after=(claimed.id,)), job()
        await on.add(child)
        finish = Finish(claimed.id, claimed.fence, State.SUCCEEDED, then=(after,))
        try:
            with on.transaction() as execute:
                assert on.ledger.finish_through(execute, finish)
                raise _Undone
        except _Undone:
            pass
        assert await on.states([claimed.id, child.id]) == [State.RUNNING, State.WAITING]
        assert await on.ledger.get([after.id]) == {}
        assert await on.end(claimed)

    @conformance_test
    async def test_a_stale_claim_is_not_ended_through_a_transaction(self, on: Stage) -> None:
        claimed = await on.running(job(max_attempts=2))
        await on.end(claimed, State.RETRYING, error=FAILED)
        [again] = await on.claim()
        after = job()
        finish = Finish(claimed.id, claimed.fence, State.SUCCEEDED, then=(after,))
        with on.transaction() as execute:
            assert on.ledger.finish_through(execute, finish) is False
        assert await on.ledger.get([after.id]) == {}
        assert await on.end(again)

    @conformance_test
    async def test_every_end_can_be_written_through_a_transaction(self, on: Stage) -> None:
        for state, give_back in (
            (State.DISCARDED, False),
            (State.CANCELLED, False),
            (State.RETRYING, False),
            (State.SCHEDULED, True),
        ):
            claimed = await on.running(job(max_attempts=2))
            finish = Finish(
                claimed.id, claimed.fence, state, delay_s=60, give_back=give_back, error=FAILED
            )
            with on.transaction() as execute:
                assert on.ledger.finish_through(execute, finish)
            row = await on.row(claimed.id)
            assert (row.state, row.attempt) == (state, 0 if give_back else 1)
            assert len(row.errors) == 1

    @conformance_test
    async def test_a_parent_that_ends_while_a_transaction_adds_a_child_releases_it(
        self, on: Stage
    ) -> None:
        for _ in range(3):
            parent = await on.running()
            child = job(after=(parent.id,), queue="mail")
            with on.transaction() as execute:
                on.ledger.insert_through(execute, [child])
                ending = asyncio.create_task(on.end(parent))
                await asyncio.wait([ending], timeout=0.05)  # it may have to wait for the commit
            assert await ending
            assert await on.state(child.id) is State.AVAILABLE

    @conformance_test
    async def test_a_transaction_that_keeps_the_database_is_waited_for(self, on: Stage) -> None:
        with on.transaction() as execute:
            on.ledger.insert_through(execute, [job(unique=UniqueKey("k"))])
            others = [asyncio.create_task(on.ledger.insert([job()])) for _ in range(3)]
            await asyncio.wait(others, timeout=0.05)
        for inserted in await asyncio.gather(*others):
            assert inserted[0].created
        assert sum(each.jobs for each in await on.ledger.counts()) == 4

    # ------------------------------------------------------------------ all at once

    @conformance_test
    async def test_much_at_once_from_several_processes_loses_and_doubles_nothing(
        self, on: Stage
    ) -> None:
        other = await on.another()
        chance = random.Random(7)
        written: dict[UUID, None] = {}
        ends: Counter[UUID] = Counter()
        starts: Counter[tuple[UUID, int]] = Counter()
        rounds = 12

        def something() -> NewJob:
            known = list(written)
            kinds: list[Callable[[], NewJob]] = [
                lambda: job(max_attempts=100),
                lambda: job(max_attempts=100, gate=Gate(f"g{chance.randrange(3)}", limit=2)),
                lambda: job(max_attempts=100, unique=UniqueKey(f"k{chance.randrange(4)}")),
                lambda: job(
                    max_attempts=100,
                    after=tuple(chance.sample(known, min(2, len(known)))),
                    on_parent_failure=chance.choice(["cancel", "discard", "run"]),
                ),
            ]
            return chance.choice(kinds)()

        async def write(ledger: Ledger) -> None:
            for _ in range(rounds):
                jobs = [something() for _ in range(chance.randrange(1, 6))]
                written.update(
                    (each.id, None) for each in await ledger.insert(jobs) if each.created
                )

        async def work(ledger: Ledger, worker: str) -> None:
            await ledger.register(worker_row(worker))
            for _ in range(rounds):
                taken = (await ledger.claim(worker, {"default": 6})).jobs
                starts.update((each.id, each.fence) for each in taken)
                finishes = [
                    Finish(each.id, each.fence, state, error=None if good else FAILED)
                    for each in taken
                    for state, good in [
                        chance.choice(
                            [
                                (State.SUCCEEDED, True),
                                (State.SUCCEEDED, True),
                                (State.RETRYING, False),
                                (State.DISCARDED, False),
                                (State.AVAILABLE, True),
                            ]
                        )
                    ]
                ]
                chance.shuffle(finishes)
                assert await ledger.finish(finishes) == set()
                ends.update(each.id for each in finishes if each.state in FINISHED)

        async def meddle(ledger: Ledger) -> None:
            for _ in range(rounds):
                if written:
                    await ledger.cancel(chance.choice(list(written)), "no more")
                    await ledger.requeue(JobFilter(states=frozenset({State.CANCELLED})))
                await ledger.orphans()
                await ledger.prune(10**6)

        await asyncio.gather(
            *(write(ledger) for ledger in (on.ledger, other, on.ledger)),
            *(work(ledger, f"w{n}") for n, ledger in enumerate([on.ledger, other] * 2)),
            *(meddle(ledger) for ledger in (on.ledger, other)),
        )
        assert set(starts.values()) <= {1}, "a claim was given twice"
        rows = await on.ledger.get(list(written))
        assert set(rows) == set(written), "a job was lost"
        for _ in range(len(written)):
            taken = (await on.claim({"default": 100}, worker="w0")) or []
            if not taken:
                break
            for each in taken:
                assert await on.end(each)
        left = [row for row in (await on.ledger.get(list(written))).values() if not row.finished]
        assert left == [], "nothing runs, and yet jobs are waiting"
        assert set(ends) <= set(written)

    # ------------------------------------------------------------------ wakes

    @conformance_test
    async def test_a_worker_is_woken_by_jobs_its_own_process_writes(self, on: Stage) -> None:
        woken = _Woken(on.patience_s)
        on.ledger.on_wake(woken)
        await on.add(job())
        await woken.until(enqueued=True)
        woken.forget()
        await asyncio.to_thread(on.ledger.insert_now, [job()])
        await woken.until(enqueued=True)
        woken.forget()
        await asyncio.to_thread(on.ledger.tell, Wake(enqueued=True, cancelled=False))
        await woken.until(enqueued=True)

    @conformance_test
    async def test_a_worker_is_woken_by_what_others_do(self, on: Stage) -> None:
        other = await on.another(needed=True)
        woken = _Woken(on.patience_s)
        on.ledger.on_wake(woken)
        claimed = await on.running()
        woken.forget()
        await other.insert([job()])
        await woken.until(enqueued=True)
        await other.cancel(claimed.id, "no more")
        await woken.until(cancelled=True)
        woken.forget()
        other.tell(Wake(enqueued=True, cancelled=False))
        await woken.until(enqueued=True)

    @conformance_test
    async def test_a_worker_is_woken_when_a_running_job_is_to_be_cancelled(self, on: Stage) -> None:
        claimed = await on.running()
        woken = _Woken(on.patience_s)
        on.ledger.on_wake(woken)
        await on.ledger.cancel(claimed.id, "no more")
        await woken.until(cancelled=True)

    @conformance_test
    async def test_a_worker_is_woken_when_a_child_is_released(self, on: Stage) -> None:
        parent = await on.running()
        await on.add(job(after=(parent.id,)))
        woken = _Woken(on.patience_s)
        on.ledger.on_wake(woken)
        await on.end(parent)
        await woken.until(enqueued=True)

    @conformance_test
    async def test_a_worker_is_woken_by_everything_that_makes_jobs_claimable(
        self, on: Stage
    ) -> None:
        first, second, third = [await on.running(job(max_attempts=2)) for _ in range(3)]
        await on.ledger.pause("default", True)
        woken = _Woken(on.patience_s)
        on.ledger.on_wake(woken)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: on.ledger.tick(Tick(name="n", previous=None, at=START, jobs=(job(),))),
            lambda: on.end(first, State.DISCARDED, error=FAILED, then=(job("alert"),)),
            lambda: on.ledger.requeue(JobFilter()),
            lambda: on.end(second, State.AVAILABLE, give_back=True),
            lambda: on.end(third, State.RETRYING, delay_s=1, error=FAILED),
            lambda: on.ledger.pause("default", False),
        ]
        for call in calls:
            woken.forget()
            await call()
            await woken.until(enqueued=True)

    @conformance_test
    async def test_nobody_need_listen_and_a_listener_that_fails_harms_nothing(
        self, on: Stage
    ) -> None:
        on.ledger.on_wake(_Woken(on.patience_s))
        on.ledger.on_wake(None)
        await on.add(job())
        on.ledger.tell(Wake(enqueued=True, cancelled=True))
        await on.add(job())

    # ------------------------------------------------------------------ opening and closing

    @conformance_test
    async def test_what_one_process_wrote_is_there_for_the_next(self, on: Stage) -> None:
        claimed = await on.running()
        [one] = await on.add(job(delay_s=60))
        await on.ledger.pause("mail", True)
        await on.ledger.close()
        later = await on.another(needed=True)
        rows = await later.get([claimed.id, one])
        assert [rows[each].state for each in (claimed.id, one)] == [
            State.RUNNING,
            State.SCHEDULED,
        ]
        finish = Finish(claimed.id, claimed.fence, State.SUCCEEDED)
        assert await later.finish([finish]) == set()
        assert [each.name for each in await later.queues()] == ["mail"]

    @conformance_test
    async def test_several_processes_may_open_at_once(self, on: Stage) -> None:
        others = await asyncio.gather(*(on.another(needed=True) for _ in range(4)))
        await asyncio.gather(*(each.insert([job()]) for each in others))
        assert sum(each.jobs for each in await on.ledger.counts()) == 4

    @conformance_test
    async def test_closing_finishes_what_was_handed_in(self, on: Stage) -> None:
        jobs = [job() for _ in range(20)]
        writing = [asyncio.create_task(on.ledger.insert([each])) for each in jobs]
        await asyncio.sleep(0)
        await on.ledger.close()
        done = await asyncio.gather(*writing, return_exceptions=True)
        accepted = []
        for each, result in zip(jobs, done, strict=True):
            if isinstance(result, BaseException):
                assert isinstance(result, BackstayError), result
            else:
                accepted.append(each.id)
        later = await on.another(needed=True)
        assert set(accepted) <= set(await later.get([each.id for each in jobs]))

    @conformance_test
    async def test_after_closing_every_method_says_so(self, on: Stage) -> None:
        ledger, one = on.ledger, new_job_id()
        heart = ledger.heart(worker_row())
        await asyncio.to_thread(heart.beat)
        await asyncio.to_thread(heart.close)
        await ledger.close()
        await ledger.close()
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "insert": lambda: ledger.insert([job()]),
            "insert_now": lambda: asyncio.to_thread(ledger.insert_now, [job()]),
            "register": lambda: ledger.register(worker_row()),
            "unregister": lambda: ledger.unregister("w1"),
            "claim": lambda: ledger.claim("w1", {"default": 1}),
            "finish": lambda: ledger.finish([Finish(one, 1, State.SUCCEEDED)]),
            "progress": lambda: ledger.progress([ProgressReport(one, 1, "{}")]),
            "orphans": lambda: ledger.orphans(),
            "cancel_requests": lambda: ledger.cancel_requests("w1"),
            "cancel": lambda: ledger.cancel(one, "no more"),
            "requeue": lambda: ledger.requeue(JobFilter()),
            "delete": lambda: ledger.delete(JobFilter()),
            "prune": lambda: ledger.prune(60),
            "pause": lambda: ledger.pause("default", True),
            "declare": lambda: ledger.declare([QueueRow(name="default")]),
            "tick": lambda: ledger.tick(Tick(name="n", previous=None, at=START)),
            "last_tick": lambda: ledger.last_tick("n"),
            "get": lambda: ledger.get([one]),
            "find": lambda: ledger.find(JobFilter()),
            "parents": lambda: ledger.parents(one),
            "children": lambda: ledger.children(one),
            "counts": lambda: ledger.counts(),
            "waits": lambda: ledger.waits(),
            "queues": lambda: ledger.queues(),
            "workers": lambda: ledger.workers(),
        }
        for name, call in calls.items():
            try:
                await call()
            except BackstayError as error:
                heard = str(error)
            else:
                raise AssertionError(f"{name}() worked after close()")
            assert "clos" in heard or "open" in heard, (name, heard)

    @conformance_test
    async def test_telling_after_closing_is_no_error(self, on: Stage) -> None:
        await on.ledger.close()
        on.ledger.tell(Wake(enqueued=True, cancelled=True))
        on.ledger.on_wake(None)

    @conformance_test
    async def test_ids_survive_the_way_through_the_database(self, on: Stage) -> None:
        for one in (UUID(int=0), UUID(int=2**128 - 1), new_job_id()):
            await on.add(job(id=one))
            assert (await on.row(one)).id == one


class _Woken:
    """A listener that can be waited for."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._seen = Wake(False, False)
        self._changed = asyncio.Event()

    def __call__(self, wake: Wake) -> None:
        self._seen = Wake(
            self._seen.enqueued or wake.enqueued, self._seen.cancelled or wake.cancelled
        )
        self._changed.set()

    def forget(self) -> None:
        self._seen = Wake(False, False)

    async def until(self, *, enqueued: bool = False, cancelled: bool = False) -> None:
        async with asyncio.timeout(self._patience_s):
            while enqueued > self._seen.enqueued or cancelled > self._seen.cancelled:
                self._changed.clear()
                await self._changed.wait()
