"""A reference model in plain Python, and engines that must do the same under any history.

More histories: ``BACKSTAY_HYPOTHESIS=thorough pytest tests/ledger/test_model.py``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from backstay.ledger import (
    FINISHED,
    LIVE,
    Beat,
    Claimed,
    Finish,
    Gate,
    JobFilter,
    Ledger,
    NewJob,
    ProgressReport,
    State,
    Tick,
    UniqueKey,
    new_job_id,
)
from backstay.ledger.postgres import PostgresLedger
from backstay.ledger.sqlite import SqliteLedger
from backstay.testing.ledger_conformance.stage import START, LedgerTime, worker_row
from tests.ledger.databases import POSTGRES_URL, fresh_schema, need_postgres, quick_directory

T = TypeVar("T")

QUEUES = ["default", "mail"]
WORKERS = ["w1", "w2", "w3"]
KEYS = ["k1", "k2"]
LEASE_S = 30.0
PRIORITY_S = 600.0
THOROUGH = os.environ.get("BACKSTAY_HYPOTHESIS") == "thorough"
FAILED = '{"type": "ValueError", "message": "no"}'
ENDS = {"cancel": State.CANCELLED, "discard": State.DISCARDED}
LATE = {State.SCHEDULED, State.RETRYING}


@dataclass
class ModelJob:
    """What the model knows of a job. Times are seconds since the start."""

    new: NewJob
    place: int
    state: State
    run_at: float
    rank: float
    created_at: float
    attempt: int = 0
    fence: int = 0
    worker: str | None = None
    parents: set[UUID] = field(default_factory=set)
    errors: int = 0
    cancel: bool = False
    finished_at: float | None = None


class Model:
    """The ledger, as one would write it if nothing could go wrong and nobody were in a hurry."""

    def __init__(self) -> None:
        self.now = 0.0
        self.jobs: dict[UUID, ModelJob] = {}
        self.beats: dict[str, float] = {}
        self.paused: set[str] = set()
        self.last_tick: float | None = None
        self._places = 0

    def insert_all(self, jobs: list[NewJob]) -> list[tuple[UUID, bool]]:
        inserted: list[tuple[UUID, bool]] = []
        holders: dict[UUID, UUID] = {}
        for new in jobs:
            parents = tuple(holders.get(parent, parent) for parent in new.after)
            inserted.append(self.insert(replace(new, after=parents)))
            holders[new.id] = inserted[-1][0]
        return inserted

    def insert(self, new: NewJob) -> tuple[UUID, bool]:
        if new.id in self.jobs:
            return new.id, False
        if new.unique is not None:
            for id, each in self.jobs.items():
                if self.holds(each, new.unique.key):
                    return id, False
        run_at = self.now + max(0.0, new.delay_s)
        job = ModelJob(new, self._places, State.AVAILABLE, run_at, run_at, created_at=self.now)
        self._places += 1
        self.jobs[new.id] = job
        job.rank -= new.priority * PRIORITY_S
        if run_at > self.now:
            job.state = State.SCHEDULED
        for parent in new.after:
            if parent not in self.jobs:
                continue
            state = self.jobs[parent].state
            if state in LIVE:
                job.parents.add(parent)
            elif state is not State.SUCCEEDED and new.on_parent_failure != "run":
                self._end(job, ENDS[new.on_parent_failure])
                job.errors = 1
        if job.parents and job.state in LIVE:
            job.state = State.WAITING
        return new.id, True

    def holds(self, job: ModelJob, key: str) -> bool:
        unique = job.new.unique
        return (
            unique is not None
            and unique.key == key
            and job.state in unique.states
            and (unique.period_s is None or self.now < job.created_at + unique.period_s)
        )

    def promote(self) -> None:
        for job in self.jobs.values():
            if job.state in LATE and job.run_at <= self.now:
                job.state = State.AVAILABLE

    def claim(self, worker: str, queue: str, most: int) -> list[UUID]:
        self.promote()
        taken: list[UUID] = []
        if queue in self.paused:
            return taken
        waiting = sorted(
            (job for job in self.jobs.values() if job.state is State.AVAILABLE),
            key=lambda job: (job.rank, job.place),
        )
        for job in waiting:
            if job.new.queue != queue or len(taken) == most or not self._room(job.new.gate):
                continue
            job.state = State.RUNNING
            job.attempt += 1
            job.worker = worker
            taken.append(job.new.id)
        return taken

    def _room(self, gate: Gate | None) -> bool:
        if gate is None or gate.limit is None:
            return True
        running = sum(
            job.state is State.RUNNING and job.new.gate == gate for job in self.jobs.values()
        )
        return running < gate.limit

    def finish(self, finish: Finish) -> bool:
        job = self.jobs[finish.id]
        if job.state is not State.RUNNING or job.fence != finish.fence:
            return False
        job.errors += finish.error is not None
        if finish.give_back:
            job.attempt -= 1
        if finish.state in FINISHED:
            self._end(job, finish.state)
        else:
            job.state = finish.state
            job.worker = None
            if finish.state is not State.AVAILABLE:  # what is handed back keeps its place
                job.run_at = self.now + finish.delay_s
                job.rank = job.run_at - job.new.priority * PRIORITY_S
        for then in finish.then:
            self.insert(then)
        return True

    def _end(self, job: ModelJob, state: State) -> None:
        job.state = state
        job.finished_at = self.now
        for child in self.jobs.values():
            if job.new.id not in child.parents:
                continue
            child.parents.discard(job.new.id)
            if child.state is not State.WAITING:
                continue
            if state is not State.SUCCEEDED and child.new.on_parent_failure != "run":
                child.errors += 1
                self._end(child, ENDS[child.new.on_parent_failure])
            elif not child.parents:
                child.state = State.SCHEDULED if child.run_at > self.now else State.AVAILABLE
                child.run_at = max(child.run_at, self.now)
                child.rank = child.run_at - child.new.priority * PRIORITY_S

    def cancel(self, id: UUID) -> State:
        job = self.jobs[id]
        before = job.state
        if before is State.RUNNING:
            job.cancel = True
        elif before in LIVE:
            job.errors += 1
            self._end(job, State.CANCELLED)
        return before

    def requeue(self, id: UUID) -> bool:
        job = self.jobs[id]
        if job.state not in {State.DISCARDED, State.CANCELLED}:
            return False
        unique = job.new.unique
        if unique is not None and any(
            self.holds(each, unique.key) for each in self.jobs.values() if each is not job
        ):
            return False
        job.state = State.AVAILABLE
        job.attempt = 0
        job.worker = None
        job.cancel = False
        job.finished_at = None
        job.run_at = self.now
        job.rank = self.now - job.new.priority * PRIORITY_S
        return True

    def dead(self) -> set[str]:
        return {id for id, beat in self.beats.items() if self.now - beat > LEASE_S}

    def orphans(self) -> set[UUID]:
        for worker in self.dead():
            del self.beats[worker]
        return {
            id
            for id, job in self.jobs.items()
            if job.state is State.RUNNING and job.worker not in self.beats
        }


class LedgerMachine(RuleBasedStateMachine):
    """One engine and the model, told the same, asked the same."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.time = LedgerTime()
        self.model = Model()
        self.claims: list[Claimed] = []
        self.fences: dict[UUID, int] = {}
        self.finished: dict[UUID, State] = {}
        self.ledger = self.make()
        self.do(self.ledger.open())

    def make(self) -> Ledger:
        return SqliteLedger("memory://", now=self.time)

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(20):
                return await call

        return self.loop.run_until_complete(bounded())

    def teardown(self) -> None:
        self.do(self.ledger.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def pick(self, number: int) -> UUID:
        return list(self.model.jobs)[number % len(self.model.jobs)]

    # ------------------------------------------------------------------ what happens

    @initialize()
    def start(self) -> None:
        for worker in WORKERS[:2]:
            self.do(self.ledger.register(worker_row(worker, lease_s=LEASE_S)))
            self.model.beats[worker] = 0.0

    @rule(
        data=st.data(),
        delay_s=st.sampled_from([0.0, 0.0, 5.0, 40.0]),
        priority=st.integers(-1, 1),
        queue=st.sampled_from(QUEUES),
        count=st.integers(1, 3),
    )
    def insert(
        self, data: st.DataObject, delay_s: float, priority: int, queue: str, count: int
    ) -> None:
        jobs = []
        known = list(self.model.jobs)
        for _ in range(count):
            jobs.append(self.new_job(data, known, delay_s, priority, queue))
            known.append(jobs[-1].id)
        if data.draw(st.booleans(), "again") and self.model.jobs:
            jobs.append(self.model.jobs[self.pick(count)].new)
        expected = self.model.insert_all(jobs)
        assert self.do(self.ledger.insert(jobs)) == expected

    def new_job(
        self, data: st.DataObject, known: list[UUID], delay_s: float, priority: int, queue: str
    ) -> NewJob:
        kind = data.draw(st.sampled_from(["plain", "key", "gate", "child", "child", "keyed child"]))
        rest: dict[str, Any] = {}
        if kind in {"key", "keyed child"}:
            rest["unique"] = data.draw(
                st.builds(
                    UniqueKey,
                    st.sampled_from(KEYS),
                    st.sampled_from([LIVE, frozenset(State)]),
                    st.sampled_from([None, 20.0]),
                )
            )
        if kind == "gate":
            # A gate for each queue: what several queues share depends on who is asked first.
            rest["gate"] = Gate(f"{queue} {data.draw(st.integers(1, 2))}", limit=1)
        if kind in {"child", "keyed child"} and known:
            rest["after"] = tuple(
                data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
            )
            rest["on_parent_failure"] = data.draw(st.sampled_from(["cancel", "discard", "run"]))
        return NewJob(
            new_job_id(), "t", queue=queue, priority=priority, delay_s=delay_s,
            max_attempts=2, **rest,
        )  # fmt: skip

    @rule(
        worker=st.sampled_from(WORKERS[:2]), queue=st.sampled_from(QUEUES), most=st.integers(1, 4)
    )
    def claim(self, worker: str, queue: str, most: int) -> None:
        expected = self.model.claim(worker, queue, most)
        claims = self.do(self.ledger.claim(worker, {queue: most}))
        assert [each.id for each in claims.jobs] == expected
        for claimed in claims.jobs:
            job = self.model.jobs[claimed.id]
            assert claimed.fence > self.fences.get(claimed.id, 0), "a fence did not grow"
            assert claimed.attempt == job.attempt
            self.fences[claimed.id] = job.fence = claimed.fence
            job.cancel = False
        self.claims += claims.jobs
        due = [
            job.run_at
            for job in self.model.jobs.values()
            if job.state in LATE and job.new.queue == queue
        ]
        if queue not in self.model.paused and not claims.more:
            assert claims.next_due_s == (min(due) - self.model.now if due else None)

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        number=st.integers(0, 50),
        count=st.integers(1, 3),
    )
    def finish(self, data: st.DataObject, number: int, count: int) -> None:
        ends: list[Finish] = []
        for offset in range(count):
            claimed = self.claims[(number + offset) % len(self.claims)]
            if claimed.id in {each.id for each in ends}:
                continue
            ends.append(self.an_end(data, claimed))
        # Ends of one call may come in any order; those that touch each other's children come
        # one by one.
        for finish in ends:
            current = self.model.finish(finish)
            stale = self.do(self.ledger.finish([finish]))
            assert stale == (set() if current else {finish.id})

    def an_end(self, data: st.DataObject, claimed: Claimed) -> Finish:
        way = data.draw(
            st.sampled_from(["good", "good", "bad", "cancelled", "retry", "snooze", "back"])
        )
        then: tuple[NewJob, ...] = ()
        if data.draw(st.booleans(), "then"):
            then = (NewJob(new_job_id(), "then", after=(claimed.id,)),)
        if way == "good":
            return Finish(claimed.id, claimed.fence, State.SUCCEEDED, result="1", then=then)
        if way == "bad":
            return Finish(claimed.id, claimed.fence, State.DISCARDED, error=FAILED, then=then)
        if way == "cancelled":
            return Finish(claimed.id, claimed.fence, State.CANCELLED, error=FAILED, then=then)
        if way == "retry":
            return Finish(claimed.id, claimed.fence, State.RETRYING, delay_s=7.0, error=FAILED)
        if way == "snooze":
            return Finish(claimed.id, claimed.fence, State.SCHEDULED, delay_s=20.0, give_back=True)
        return Finish(claimed.id, claimed.fence, State.AVAILABLE, give_back=True)

    @precondition(lambda self: self.claims)
    @rule(number=st.integers(0, 50))
    def finish_all_of_a_workers_jobs_at_once(self, number: int) -> None:
        worker = WORKERS[number % 2]
        held = [
            (id, job.fence)
            for id, job in self.model.jobs.items()
            if job.state is State.RUNNING and job.worker == worker
        ]
        ends = [Finish(id, fence, State.SUCCEEDED) for id, fence in held]
        assert all(self.model.finish(each) for each in ends)
        assert self.do(self.ledger.finish(ends)) == set()

    @precondition(lambda self: self.claims)
    @rule(number=st.integers(0, 50))
    def report_progress(self, number: int) -> None:
        claimed = self.claims[number % len(self.claims)]
        self.do(self.ledger.progress([ProgressReport(claimed.id, claimed.fence, "{}")]))

    @precondition(lambda self: self.model.jobs)
    @rule(number=st.integers(0, 50))
    def cancel(self, number: int) -> None:
        id = self.pick(number)
        self.model.promote()
        before = self.do(self.ledger.cancel(id, "no more"))
        assert before is not None
        expected = self.model.cancel(id)
        # Whether what is due is available already is nobody's business before it is claimed.
        assert before is expected or (before in LATE and expected is State.AVAILABLE)

    @precondition(lambda self: self.finished)
    @rule(number=st.integers(0, 50))
    def requeue(self, number: int) -> None:
        id = list(self.finished)[number % len(self.finished)]
        requeued = self.model.requeue(id)
        assert self.do(self.ledger.requeue(JobFilter(ids=(id,)))) == ([id] if requeued else [])
        if requeued:
            del self.finished[id]

    @rule(seconds=st.sampled_from([0.5, 3.0, 15.0, 25.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.time.move(seconds)
        self.model.now += seconds

    @rule(worker=st.sampled_from(WORKERS[:2]))
    def beat(self, worker: str) -> None:
        heart = self.ledger.heart(worker_row(worker, lease_s=LEASE_S))
        beat: Beat = self.do(asyncio.to_thread(heart.beat))
        self.do(asyncio.to_thread(heart.close))
        assert beat.known is (worker in self.model.beats)
        self.model.beats[worker] = self.model.now
        wanted = {
            id
            for id, job in self.model.jobs.items()
            if job.state is State.RUNNING and job.worker == worker and job.cancel
        }
        assert wanted <= set(beat.cancelled)

    @rule(worker=st.sampled_from(WORKERS[:2]))
    def stop_a_worker(self, worker: str) -> None:
        self.do(self.ledger.unregister(worker))
        self.model.beats.pop(worker, None)

    @rule(rescued=st.booleans())
    def rescue(self, rescued: bool) -> None:
        expected = self.model.orphans()
        orphans = self.do(self.ledger.orphans())
        assert {each.id for each in orphans} == expected
        for orphan in orphans:
            if not rescued:
                continue  # whoever asked died too
            state = State.RETRYING if orphan.attempt < orphan.max_attempts else State.DISCARDED
            finish = Finish(orphan.id, orphan.fence, state, error=FAILED)
            assert self.model.finish(finish)
            assert self.do(self.ledger.finish([finish])) == set()

    @rule(queue=st.sampled_from(QUEUES), paused=st.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        self.do(self.ledger.pause(queue, paused))
        (self.model.paused.add if paused else self.model.paused.discard)(queue)

    @rule(late=st.booleans())
    def tick(self, late: bool) -> None:
        last = self.model.last_tick
        previous = None if last is None or late else START + timedelta(seconds=last)
        at = (last or 0.0) + 1.0
        new = NewJob(new_job_id(), "tick")
        tick = Tick(name="n", previous=previous, at=START + timedelta(seconds=at), jobs=(new,))
        written = last is None or not late
        assert self.do(self.ledger.tick(tick)) is written
        if written:
            self.model.last_tick = at
            self.model.insert(new)

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def rows_are_what_the_model_says(self) -> None:
        self.model.promote()
        rows = self.do(self.ledger.get(list(self.model.jobs)))
        assert set(rows) == set(self.model.jobs), "a job was lost"
        for id, job in self.model.jobs.items():
            row = rows[id]
            state = row.state
            if state in LATE and row.run_at <= self.time():
                state = State.AVAILABLE
            assert state is job.state, id
            assert row.attempt == job.attempt
            assert len(row.errors) == job.errors
            if state is State.WAITING:
                assert row.waiting_for == len(job.parents)
            assert row.worker == (job.worker if state is State.RUNNING else None)
            if state is State.RUNNING:
                assert row.cancel_requested or not job.cancel
            if state in LATE:
                assert row.run_at == START + timedelta(seconds=job.run_at)
            assert (row.finished_at is None) is (job.finished_at is None)
            assert not row.corrupt

    @precondition(lambda self: self.model.jobs)
    @rule(number=st.integers(0, 50))
    def parents_are_told_as_they_were_given(self, number: int) -> None:
        id = self.pick(number)
        given = list(dict.fromkeys(self.model.jobs[id].new.after))
        assert self.do(self.ledger.parents(id)) == given

    @invariant()
    def finished_stays_finished(self) -> None:
        for id, state in self.finished.items():
            assert self.model.jobs[id].state is state
        for id, job in self.model.jobs.items():
            if job.state in FINISHED:
                self.finished[id] = job.state

    @invariant()
    def counts_agree(self) -> None:
        counts = self.do(self.ledger.counts())
        assert sum(each.jobs for each in counts) == len(self.model.jobs)
        for state in FINISHED | {State.RUNNING, State.WAITING}:
            counted = sum(each.jobs for each in counts if each.state is state)
            assert counted == sum(job.state is state for job in self.model.jobs.values())


class FileMachine(LedgerMachine):
    """The same in a file, where processes come and go."""

    def make(self) -> Ledger:
        self.directory = Path(tempfile.mkdtemp(dir=quick_directory()))
        return SqliteLedger(f"sqlite:///{self.directory / 'ledger.db'}", now=self.time)

    @rule()
    def another_process_takes_over(self) -> None:
        other = SqliteLedger(self.ledger.url, now=self.time)
        self.do(other.open())
        self.do(self.ledger.close())
        self.ledger = other

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.directory)


def histories(examples: int) -> settings:
    return settings(
        max_examples=examples * (50 if THOROUGH else 1),
        stateful_step_count=100 if THOROUGH else 40,
        deadline=None,
        derandomize=not THOROUGH,  # a red build is the fault of who made it so
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )


def test_memory_does_as_the_model() -> None:
    run_state_machine_as_test(LedgerMachine, settings=histories(30))


def test_a_file_that_processes_share_in_turn_does_as_the_model() -> None:
    run_state_machine_as_test(FileMachine, settings=histories(8))


def test_postgres_does_as_the_model() -> None:
    need_postgres()
    with fresh_schema() as (schema, engine):

        class PostgresMachine(LedgerMachine):
            def make(self) -> Ledger:
                with engine.begin() as connection:
                    for table in ("jobs", "edges", "queues", "gates", "workers", "ticks"):
                        name = f"{schema}.backstay_{table}"
                        connection.exec_driver_sql(
                            f"DO $$ BEGIN DELETE FROM {name}; "
                            "EXCEPTION WHEN undefined_table THEN NULL; END $$"
                        )
                return PostgresLedger(POSTGRES_URL, now=self.time, schema=schema)

        run_state_machine_as_test(PostgresMachine, settings=histories(4))
