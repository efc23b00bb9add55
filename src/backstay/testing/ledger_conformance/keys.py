"""What is true of unique keys."""

from __future__ import annotations

import asyncio

from backstay.ledger.rows import Finish, Inserted, JobFilter, State, UniqueKey
from backstay.testing.ledger_conformance.stage import (
    FAILED,
    LedgerHome,
    Stage,
    conformance_test,
    job,
)

__all__ = ["Keys"]


class Keys(LedgerHome):
    """Unique keys: one holder at a time, and let go of when it should be."""

    @conformance_test
    async def test_a_key_that_is_held_keeps_others_out_and_names_the_holder(
        self, on: Stage
    ) -> None:
        first = job(unique=UniqueKey("k"))
        await on.add(first)
        assert (await on.row(first.id)).unique_key == "k"
        second = job(unique=UniqueKey("k"))
        assert await on.ledger.insert([second]) == [Inserted(first.id, False)]
        assert await asyncio.to_thread(on.ledger.insert_now, [second]) == [
            Inserted(first.id, False)
        ]
        assert await on.ledger.get([second.id]) == {}

    @conformance_test
    async def test_other_keys_and_jobs_without_one_are_free(self, on: Stage) -> None:
        await on.add(job(unique=UniqueKey("k")))
        await on.add(job(unique=UniqueKey("K")), job(unique=UniqueKey("🦄" * 500)), job(), job())

    @conformance_test
    async def test_jobs_of_one_call_share_keys_as_those_of_several_do(self, on: Stage) -> None:
        first, second, plain, third = (
            job(unique=UniqueKey("k")),
            job(unique=UniqueKey("k")),
            job(),
            job(unique=UniqueKey("other")),
        )
        assert await on.ledger.insert([first, second, plain, third]) == [
            Inserted(first.id, True),
            Inserted(first.id, False),
            Inserted(plain.id, True),
            Inserted(third.id, True),
        ]

    @conformance_test
    async def test_a_key_wanted_by_many_at_once_is_held_by_one(self, on: Stage) -> None:
        other = await on.another()
        jobs = [job(unique=UniqueKey("k")) for _ in range(20)]
        results = await asyncio.gather(
            *(
                (on.ledger if number % 2 else other).insert([each])
                for number, each in enumerate(jobs)
            )
        )
        [holder] = [each for [(each, created)] in results if created]
        assert {each for [(each, _)] in results} == {holder}
        assert sum(each.jobs for each in await on.ledger.counts()) == 1

    @conformance_test
    async def test_many_keys_wanted_in_any_order_at_once_block_nobody(self, on: Stage) -> None:
        other = await on.another()
        keys = [f"k{number}" for number in range(10)]
        calls = []
        for number in range(10):
            order = keys[number:] + keys[:number]
            jobs = [job(unique=UniqueKey(key)) for key in (order if number % 2 else order[::-1])]
            calls.append((on.ledger if number % 2 else other).insert(jobs))
        results = await asyncio.gather(*calls)
        assert sum(created for inserted in results for _, created in inserted) == 10
        assert len({each for inserted in results for each, _ in inserted}) == 10

    @conformance_test
    async def test_a_key_is_held_in_every_live_state_by_default(self, on: Stage) -> None:
        key = UniqueKey("k")
        parent = await on.running()
        one = job(unique=key, after=(parent.id,), max_attempts=9)

        async def held(state: State) -> None:
            assert await on.state(one.id) is state
            assert await on.ledger.insert([job(unique=key)]) == [Inserted(one.id, False)]

        await on.add(one)
        await held(State.WAITING)
        await on.end(parent)
        await held(State.AVAILABLE)
        [claimed] = await on.claim()
        await held(State.RUNNING)
        await on.end(claimed, State.RETRYING, delay_s=5, error=FAILED)
        await held(State.RETRYING)
        on.time.move(6)
        [claimed] = await on.claim()
        await on.end(claimed, State.SCHEDULED, delay_s=5, give_back=True)
        await held(State.SCHEDULED)

    @conformance_test
    async def test_a_finished_job_lets_go_of_its_key(self, on: Stage) -> None:
        for state in (State.SUCCEEDED, State.DISCARDED, State.CANCELLED):
            claimed = await on.running(job(unique=UniqueKey("k")))
            await on.end(claimed, state)
            assert (await on.row(claimed.id)).unique_key is None

    @conformance_test
    async def test_a_key_may_be_held_until_the_job_starts(self, on: Stage) -> None:
        key = UniqueKey("k", states=frozenset({State.SCHEDULED, State.AVAILABLE}))
        await on.running(job(unique=key))
        second = job(unique=key)
        await on.add(second)
        assert await on.ledger.insert([job(unique=key)]) == [Inserted(second.id, False)]

    @conformance_test
    async def test_a_key_may_be_held_beyond_the_end(self, on: Stage) -> None:
        key = UniqueKey("k", states=frozenset(State) - {State.CANCELLED})
        claimed = await on.running(job(unique=key))
        await on.end(claimed)
        on.time.move(10**6)
        assert await on.ledger.insert([job(unique=key)]) == [Inserted(claimed.id, False)]
        assert await on.ledger.delete(JobFilter(ids=(claimed.id,))) == 1
        await on.add(job(unique=key))

    @conformance_test
    async def test_a_period_ends_the_hold_though_the_job_lives(self, on: Stage) -> None:
        key = UniqueKey("k", period_s=60)
        first = job(unique=key, delay_s=1000)
        await on.add(first)
        on.time.move(59)
        assert await on.ledger.insert([job(unique=key)]) == [Inserted(first.id, False)]
        on.time.move(2)
        second = job(unique=key)
        await on.add(second)
        assert await on.ledger.insert([job(unique=key)]) == [Inserted(second.id, False)]
        assert await on.state(first.id) is State.SCHEDULED

    @conformance_test
    async def test_a_period_does_not_hold_a_key_for_a_state_that_does_not(self, on: Stage) -> None:
        key = UniqueKey("k", period_s=60)
        await on.end(await on.running(job(unique=key)))
        await on.add(job(unique=key))

    @conformance_test
    async def test_once_within_a_period_whatever_became_of_it(self, on: Stage) -> None:
        key = UniqueKey("k", states=frozenset(State), period_s=60)
        claimed = await on.running(job(unique=key))
        await on.end(claimed)
        on.time.move(59)
        assert await on.ledger.insert([job(unique=key)]) == [Inserted(claimed.id, False)]
        on.time.move(2)
        await on.add(job(unique=key))

    @conformance_test
    async def test_a_job_writing_itself_again_is_not_kept_out_by_itself(self, on: Stage) -> None:
        one = job(unique=UniqueKey("k"))
        await on.add(one)
        assert await on.ledger.insert([one]) == [Inserted(one.id, False)]

    @conformance_test
    async def test_a_job_that_comes_back_to_a_key_taken_meanwhile_goes_on_without(
        self, on: Stage
    ) -> None:
        key = UniqueKey("k", states=frozenset({State.SCHEDULED, State.AVAILABLE}))
        ways = (
            (State.AVAILABLE, 0.0),
            (State.SCHEDULED, 5.0),
            (State.RETRYING, 5.0),
        )
        for state, delay_s in ways:
            claimed = await on.running(job(unique=key, max_attempts=2))
            [second] = await on.add(job(unique=key))
            assert await on.end(claimed, state, delay_s=delay_s, error=FAILED)
            on.time.move(6)
            both = await on.claim()
            assert {each.id for each in both} == {claimed.id, second}
            for each in both:
                assert await on.end(each)

    @conformance_test
    async def test_a_cancelled_job_lets_go_of_its_key(self, on: Stage) -> None:
        one = job(unique=UniqueKey("k"), delay_s=9)
        await on.add(one)
        await on.ledger.cancel(one.id, "no more")
        await on.add(job(unique=UniqueKey("k")))

    @conformance_test
    async def test_a_job_given_up_with_its_parent_lets_go_of_its_key(self, on: Stage) -> None:
        parent = await on.running()
        await on.add(job(unique=UniqueKey("k"), after=(parent.id,)))
        await on.end(parent, State.DISCARDED, error=FAILED)
        await on.add(job(unique=UniqueKey("k")))

    @conformance_test
    async def test_a_requeued_job_holds_its_key_again(self, on: Stage) -> None:
        claimed = await on.running(job(unique=UniqueKey("k")))
        await on.end(claimed, State.DISCARDED, error=FAILED)
        assert await on.ledger.requeue(JobFilter(ids=(claimed.id,))) == [claimed.id]
        assert await on.ledger.insert([job(unique=UniqueKey("k"))]) == [Inserted(claimed.id, False)]

    @conformance_test
    async def test_a_job_whose_key_another_holds_is_not_requeued(self, on: Stage) -> None:
        first = await on.running(job(unique=UniqueKey("k")))
        await on.end(first, State.DISCARDED, error=FAILED)
        plain = await on.running()
        await on.end(plain, State.DISCARDED, error=FAILED)
        second = await on.running(job(unique=UniqueKey("k")))
        assert await on.ledger.requeue(JobFilter()) == [plain.id]
        assert await on.states([first.id, second.id]) == [State.DISCARDED, State.RUNNING]
        await on.end(second)
        assert await on.ledger.requeue(JobFilter()) == [first.id]

    @conformance_test
    async def test_of_two_jobs_of_one_key_one_is_requeued(self, on: Stage) -> None:
        for _ in range(2):
            claimed = await on.running(job(unique=UniqueKey("k")))
            await on.end(claimed, State.DISCARDED, error=FAILED)
        assert len(await on.ledger.requeue(JobFilter())) == 1

    @conformance_test
    async def test_a_key_let_go_of_by_an_end_is_free_for_what_comes_after(self, on: Stage) -> None:
        claimed = await on.running(job(unique=UniqueKey("k")))
        again = job(unique=UniqueKey("k"))
        finish = Finish(claimed.id, claimed.fence, State.SUCCEEDED, then=(again,))
        assert await on.ledger.finish([finish]) == set()
        assert await on.state(again.id) is State.AVAILABLE
