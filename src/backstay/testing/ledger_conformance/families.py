"""What is true of jobs that wait for other jobs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

from backstay.ledger.ids import new_job_id
from backstay.ledger.rows import (
    Claimed,
    Finish,
    Inserted,
    JobFilter,
    NewJob,
    ParentFailure,
    State,
    UniqueKey,
)
from backstay.testing.ledger_conformance.stage import (
    FAILED,
    START,
    LedgerHome,
    Stage,
    conformance_test,
    job,
)

__all__ = ["Families"]

BECOMES: dict[ParentFailure, State] = {
    "cancel": State.CANCELLED,
    "discard": State.DISCARDED,
    "run": State.AVAILABLE,
}


class Families(LedgerHome):
    """Parents and children: released once, given up by rule, and never forgotten."""

    @conformance_test
    async def test_a_child_waits_for_its_parent(self, on: Stage) -> None:
        parent = await on.running(job(max_attempts=2))
        [child] = await on.add(job(after=(parent.id,)))
        row = await on.row(child)
        assert (row.state, row.waiting_for) == (State.WAITING, 1)
        assert await on.claims() == ([], None, False)
        await on.end(parent, State.RETRYING, error=FAILED)
        [parent] = await on.claim()  # a failed attempt is no end
        on.time.move(1)
        await on.end(parent)
        row = await on.row(child)
        assert (row.state, row.waiting_for) == (State.AVAILABLE, 0)
        assert [each.id for each in await on.claim()] == [child]

    @conformance_test
    async def test_a_released_child_goes_to_the_end_of_the_line(self, on: Stage) -> None:
        parent = await on.running()
        [child] = await on.add(job(after=(parent.id,)))
        on.time.move(1)
        [between] = await on.add(job())
        on.time.move(1)
        await on.end(parent)
        assert [each.id for each in await on.claim()] == [between, child]

    @conformance_test
    async def test_a_join_waits_for_the_last_of_its_parents(self, on: Stage) -> None:
        parents = [await on.running() for _ in range(4)]
        [join] = await on.add(job(after=tuple(each.id for each in parents)))
        assert (await on.row(join)).waiting_for == 4
        for left in (3, 2, 1):
            await on.end(parents[left])
            row = await on.row(join)
            assert (row.state, row.waiting_for) == (State.WAITING, left)
        await on.end(parents[0])
        assert await on.state(join) is State.AVAILABLE

    @conformance_test
    async def test_parents_that_finish_in_one_call_release_their_join_once(self, on: Stage) -> None:
        parents = [await on.running() for _ in range(3)]
        [join] = await on.add(job(after=tuple(each.id for each in parents)))
        finishes = [Finish(each.id, each.fence, State.SUCCEEDED) for each in parents]
        assert await on.ledger.finish(finishes) == set()
        row = await on.row(join)
        assert (row.state, row.waiting_for) == (State.AVAILABLE, 0)

    @conformance_test
    async def test_parents_that_finish_at_the_same_time_release_their_join(self, on: Stage) -> None:
        other = await on.another()
        for _ in range(8):
            parents = [await on.running() for _ in range(4)]
            [join] = await on.add(job(after=tuple(each.id for each in parents), queue="mail"))
            await asyncio.gather(
                *(
                    (on.ledger if number % 2 else other).finish(
                        [Finish(each.id, each.fence, State.SUCCEEDED)]
                    )
                    for number, each in enumerate(parents)
                )
            )
            row = await on.row(join)
            assert (row.state, row.waiting_for) == (State.AVAILABLE, 0)

    @conformance_test
    async def test_a_child_written_while_its_parent_finishes_is_not_forgotten(
        self, on: Stage
    ) -> None:
        other = await on.another()
        children = []
        for number in range(30):
            parent = await on.running()
            child = job(after=(parent.id,), queue="mail")
            children.append(child.id)
            calls = [
                on.ledger.finish([Finish(parent.id, parent.fence, State.SUCCEEDED)]),
                other.insert([child]),
            ]
            await asyncio.gather(*(calls if number % 2 else calls[::-1]))
        assert await on.states(children) == [State.AVAILABLE] * 30

    @conformance_test
    async def test_parents_and_children_may_be_written_in_one_call(self, on: Stage) -> None:
        first = job("first")
        second = job("second", after=(first.id,))
        join = job("join", after=(first.id, second.id))
        inserted = await on.ledger.insert([first, second, join])
        assert inserted == [Inserted(each.id, True) for each in (first, second, join)]
        await on.worker()
        order = []
        for _ in range(3):
            [claimed] = await on.claim()
            order.append(claimed.task)
            await on.end(claimed)
        assert order == ["first", "second", "join"]

    @conformance_test
    async def test_parents_that_had_finished_before_count_as_done(self, on: Stage) -> None:
        done, running = await on.running(), await on.running()
        await on.end(done)
        ids = await on.add(job(after=(done.id,)), job(after=(done.id, running.id)))
        assert await on.states(ids) == [State.AVAILABLE, State.WAITING]
        assert (await on.row(ids[1])).waiting_for == 1
        await on.end(running)
        assert await on.state(ids[1]) is State.AVAILABLE

    @conformance_test
    async def test_parents_that_are_gone_count_as_done(self, on: Stage) -> None:
        done = await on.running()
        await on.end(done)
        assert await on.ledger.delete(JobFilter(ids=(done.id,))) == 1
        ids = await on.add(job(after=(done.id,)), job(after=(new_job_id(),)))
        assert await on.states(ids) == [State.AVAILABLE] * 2

    @conformance_test
    async def test_a_parent_that_failed_before_counts_by_the_rule(self, on: Stage) -> None:
        for end in (State.DISCARDED, State.CANCELLED):
            for rule, state in BECOMES.items():
                parent = await on.running()
                await on.end(parent, end, error=FAILED)
                child = job(after=(parent.id,), on_parent_failure=rule, queue="mail")
                assert await on.ledger.insert([child]) == [Inserted(child.id, True)]
                row = await on.row(child.id)
                assert row.state is state
                assert bool(row.errors) is row.finished
                assert (row.finished_at is not None) is row.finished

    @conformance_test
    async def test_children_of_a_parent_that_fails_go_by_the_rule(self, on: Stage) -> None:
        for end in (State.DISCARDED, State.CANCELLED):
            for rule, state in BECOMES.items():
                parent = await on.running()
                [child] = await on.add(
                    job(after=(parent.id,), on_parent_failure=rule, queue="mail")
                )
                on.time.move(1)
                await on.end(parent, end, error=FAILED)
                row = await on.row(child)
                assert row.state is state
                assert bool(row.errors) is row.finished
                assert (row.finished_at is not None) is row.finished
                if row.error is not None:
                    assert {"type", "message"} <= set(row.error)
                    assert str(parent.id) in row.error["message"]

    @conformance_test
    async def test_a_failure_goes_down_the_generations_each_by_its_rule(self, on: Stage) -> None:
        parent = await on.running()
        child = job(after=(parent.id,), on_parent_failure="discard")
        grandchild = job(after=(child.id,))
        great = job(after=(grandchild.id,))
        survivor = job(after=(grandchild.id,), on_parent_failure="run")
        await on.add(child, grandchild, great, survivor)
        await on.end(parent, State.CANCELLED, error=FAILED)
        assert await on.states(each.id for each in (child, grandchild, great, survivor)) == [
            State.DISCARDED,
            State.CANCELLED,
            State.CANCELLED,
            State.AVAILABLE,
        ]

    @conformance_test
    async def test_a_failure_goes_down_a_family_written_after_it(self, on: Stage) -> None:
        parent = await on.running()
        await on.end(parent, State.DISCARDED, error=FAILED)
        child = job(after=(parent.id,))
        grandchild = job(after=(child.id,))
        await on.add(child, grandchild)
        assert await on.states([child.id, grandchild.id]) == [State.CANCELLED] * 2

    @conformance_test
    async def test_a_failure_goes_down_a_very_long_chain(self, on: Stage) -> None:
        chain: list[NewJob] = [job()]
        for _ in range(400):
            chain.append(job(after=(chain[-1].id,)))
        await on.add(*chain)
        await on.worker()
        [first] = await on.claim()
        await on.end(first, State.DISCARDED, error=FAILED)
        counts = {each.state: each.jobs for each in await on.ledger.counts()}
        assert counts == {State.DISCARDED: 1, State.CANCELLED: 400}

    @conformance_test
    async def test_one_failed_parent_of_several_is_enough_and_final(self, on: Stage) -> None:
        good, bad = await on.running(), await on.running()
        [join] = await on.add(job(after=(good.id, bad.id)))
        await on.end(bad, State.DISCARDED, error=FAILED)
        assert await on.state(join) is State.CANCELLED
        await on.end(good)
        row = await on.row(join)
        assert row.state is State.CANCELLED
        assert len(row.errors) == 1

    @conformance_test
    async def test_a_join_that_runs_anyway_waits_for_all_ends_good_or_bad(self, on: Stage) -> None:
        good, bad = await on.running(), await on.running()
        [join] = await on.add(job(after=(good.id, bad.id), on_parent_failure="run"))
        await on.end(bad, State.DISCARDED, error=FAILED)
        assert await on.state(join) is State.WAITING
        await on.end(good)
        assert await on.state(join) is State.AVAILABLE

    @conformance_test
    async def test_cancelling_a_parent_is_a_failure_of_it(self, on: Stage) -> None:
        parent, child, survivor = job(), job(), job()
        child.after = survivor.after = (parent.id,)
        survivor.on_parent_failure = "run"
        await on.add(parent, child, survivor)
        assert await on.ledger.cancel(parent.id, "no more") is State.AVAILABLE
        assert await on.states([child.id, survivor.id]) == [State.CANCELLED, State.AVAILABLE]

    @conformance_test
    async def test_a_waiting_child_that_is_cancelled_takes_its_own_children_along(
        self, on: Stage
    ) -> None:
        parent = await on.running()
        child = job(after=(parent.id,))
        grandchild = job(after=(child.id,))
        await on.add(child, grandchild)
        assert await on.ledger.cancel(child.id, "no more") is State.WAITING
        assert await on.states([child.id, grandchild.id]) == [State.CANCELLED] * 2
        await on.end(parent)
        assert await on.states([child.id, grandchild.id]) == [State.CANCELLED] * 2

    @conformance_test
    async def test_a_child_with_a_time_of_its_own_waits_for_that_too(self, on: Stage) -> None:
        parent = await on.running()
        [child] = await on.add(job(after=(parent.id,), run_at=START + timedelta(hours=1)))
        assert await on.state(child) is State.WAITING
        await on.end(parent)
        assert await on.state(child) is State.SCHEDULED
        assert await on.claim() == []
        on.time.move(3601)
        assert [each.id for each in await on.claim()] == [child]

    @conformance_test
    async def test_parents_are_told_in_the_order_given_before_and_after(self, on: Stage) -> None:
        parents = [await on.running() for _ in range(4)]
        order = tuple(parents[number].id for number in (2, 0, 3, 1))
        [child] = await on.add(job(after=order))
        assert await on.ledger.parents(child) == list(order)
        for parent in parents:
            await on.end(parent)
        [claimed] = await on.claim()
        await on.end(claimed)
        assert await on.ledger.parents(child) == list(order)
        assert await on.ledger.parents(parents[0].id) == []
        assert await on.ledger.parents(new_job_id()) == []

    @conformance_test
    async def test_a_parent_named_twice_is_one_parent(self, on: Stage) -> None:
        parent = await on.running()
        [child] = await on.add(job(after=(parent.id, parent.id)))
        assert (await on.row(child)).waiting_for == 1
        await on.end(parent)
        assert await on.state(child) is State.AVAILABLE

    @conformance_test
    async def test_a_child_written_twice_waits_as_it_did(self, on: Stage) -> None:
        parent, other = await on.running(), await on.running()
        child = job(after=(parent.id,))
        await on.add(child)
        again = NewJob(child.id, "t", after=(other.id,))
        assert await on.ledger.insert([again]) == [Inserted(child.id, False)]
        assert await on.ledger.parents(child.id) == [parent.id]
        await on.end(other)
        assert (await on.row(child.id)).waiting_for == 1
        await on.end(parent)
        assert await on.state(child.id) is State.AVAILABLE

    @conformance_test
    async def test_a_child_whose_key_was_taken_leaves_no_trace(self, on: Stage) -> None:
        parent = await on.running()
        holder = job(unique=UniqueKey("k"), delay_s=999)
        await on.add(holder)
        child = job(after=(parent.id,), unique=UniqueKey("k"))
        assert await on.ledger.insert([child]) == [Inserted(holder.id, False)]
        assert await on.ledger.parents(child.id) == []
        assert await on.end(parent)

    @conformance_test
    async def test_who_waits_for_a_job_whose_key_was_taken_waits_for_the_holder(
        self, on: Stage
    ) -> None:
        holder = await on.running(job(unique=UniqueKey("k")))
        other = await on.running()
        kept_out = job(unique=UniqueKey("k"))
        link = job(after=(other.id, kept_out.id))
        last = job(after=(link.id, kept_out.id, holder.id))
        assert await on.ledger.insert([kept_out, link, last]) == [
            Inserted(holder.id, False),
            Inserted(link.id, True),
            Inserted(last.id, True),
        ]
        assert await on.ledger.parents(link.id) == [other.id, holder.id]
        assert await on.ledger.parents(last.id) == [link.id, holder.id]
        assert set(await on.ledger.children(holder.id)) == {link.id, last.id}
        assert await on.ledger.children(kept_out.id) == []
        await on.end(other)
        assert await on.states([link.id, last.id]) == [State.WAITING, State.WAITING]
        await on.end(holder)
        assert await on.states([link.id, last.id]) == [State.AVAILABLE, State.WAITING]
        assert [each.after for each in (link, last)] == [
            (other.id, kept_out.id),
            (link.id, kept_out.id, holder.id),
        ], "what the caller gave is the caller's"

    @conformance_test
    async def test_a_holder_in_the_same_call_is_waited_for_as_any(self, on: Stage) -> None:
        first, second, third = (job(unique=UniqueKey("k")) for _ in range(3))
        link, last = job(after=(second.id,)), job(after=(third.id,), unique=UniqueKey("other"))
        inserted = await on.ledger.insert([first, second, link, third, last])
        assert [each.id for each in inserted] == [
            first.id,
            first.id,
            link.id,
            first.id,
            last.id,
        ]
        assert await on.ledger.parents(link.id) == [first.id]
        assert await on.ledger.parents(last.id) == [first.id]
        await on.worker()
        [claimed] = await on.claim()
        await on.end(claimed)
        assert [each.id for each in await on.claim()] == [link.id, last.id]

    @conformance_test
    async def test_a_holder_counts_by_what_became_of_it(self, on: Stage) -> None:
        everywhere = frozenset(State)
        good = await on.running(job(unique=UniqueKey("good", everywhere)))
        bad = await on.running(job(unique=UniqueKey("bad", everywhere)))
        await on.end(good)
        await on.end(bad, State.DISCARDED, error=FAILED)
        again = job(unique=UniqueKey("good")), job(unique=UniqueKey("bad"))
        links = [
            job(after=(again[0].id,)),
            job(after=(again[1].id,), on_parent_failure="discard"),
            job(after=(again[1].id,), on_parent_failure="run"),
        ]
        await on.ledger.insert([*again, *links])
        assert await on.states([each.id for each in links]) == [
            State.AVAILABLE,
            State.DISCARDED,
            State.AVAILABLE,
        ]

    @conformance_test
    async def test_what_comes_after_a_job_waits_for_holders_too(self, on: Stage) -> None:
        holder = await on.running(job(unique=UniqueKey("k")))
        claimed = await on.running()
        kept_out = job(unique=UniqueKey("k"))
        link = job(after=(claimed.id, kept_out.id))
        await on.end(claimed, then=(kept_out, link))
        assert await on.state(link.id) is State.WAITING
        await on.end(holder)
        assert await on.state(link.id) is State.AVAILABLE

    @conformance_test
    async def test_a_holder_that_ends_meanwhile_is_not_waited_for_for_ever(self, on: Stage) -> None:
        other = await on.another()
        await on.worker()
        for _ in range(10):
            holder = await on.running(job(unique=UniqueKey("k"), queue="holders"))
            kept_out = job(unique=UniqueKey("k"), queue="kept out")
            link = job(after=(kept_out.id,), queue="links")
            [[first, _], _] = await asyncio.gather(other.insert([kept_out, link]), on.end(holder))
            if first.created:
                [claimed] = await on.claim({"kept out": 1})
                await on.end(claimed)
            [claimed] = await on.claim({"links": 1})
            await on.end(claimed)

    @conformance_test
    async def test_a_child_survives_that_its_other_parent_was_deleted(self, on: Stage) -> None:
        done, running = await on.running(), await on.running()
        [child] = await on.add(job(after=(done.id, running.id)))
        await on.end(done)
        assert await on.ledger.delete(JobFilter()) == 1
        await on.end(running)
        assert await on.state(child) is State.AVAILABLE
        assert await on.ledger.parents(child) == [done.id, running.id]

    @conformance_test
    async def test_a_requeued_child_waits_for_nobody_any_more(self, on: Stage) -> None:
        parent = await on.running()
        [child] = await on.add(job(after=(parent.id,)))
        await on.ledger.cancel(child, "no more")
        assert await on.ledger.requeue(JobFilter(ids=(child,))) == [child]
        row = await on.row(child)
        assert (row.state, row.waiting_for) == (State.AVAILABLE, 0)
        [claimed] = await on.claim()
        await on.end(parent, State.DISCARDED, error=FAILED)
        assert await on.state(child) is State.RUNNING
        assert await on.end(claimed)

    @conformance_test
    async def test_a_deleted_child_leaves_no_trace(self, on: Stage) -> None:
        parent = await on.running()
        child = job(after=(parent.id,))
        await on.add(child)
        await on.ledger.cancel(child.id, "no more")
        assert await on.ledger.delete(JobFilter()) == 1
        assert await on.ledger.parents(child.id) == []
        assert await on.end(parent)
        child.after = ()
        await on.add(child)
        assert await on.ledger.parents(child.id) == []

    @conformance_test
    async def test_a_wide_group_of_a_thousand_joins(self, on: Stage) -> None:
        group = [job() for _ in range(1000)]
        join = job("join", after=tuple(each.id for each in group))
        await on.add(*group, join)
        await on.worker()
        taken: list[Claimed] = (await on.claims({"default": 1000})).jobs
        finishes = [Finish(each.id, each.fence, State.SUCCEEDED) for each in taken]
        for start in range(0, 1000, 100):
            assert await on.state(join.id) is State.WAITING
            assert await on.ledger.finish(finishes[start : start + 100]) == set()
        assert await on.state(join.id) is State.AVAILABLE
        parents: list[UUID] = await on.ledger.parents(join.id)
        assert parents == [each.id for each in group]
