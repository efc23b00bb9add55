"""The suite notices engines that do not join, do not wake, or do not close."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from backstay.ledger import Execute, Finish, Inserted, NewJob, Wake
from tests.ledger.databases import OnSqlite
from tests.testing.ledger_conformance.broken import Broken, changed, notices


class WritesAtOnce(Broken):
    def insert_through(self, execute: Execute, jobs: Sequence[NewJob]) -> list[Inserted]:
        return self.good.insert_now(jobs)


class WritesNothing(Broken):
    def insert_through(self, execute: Execute, jobs: Sequence[NewJob]) -> list[Inserted]:
        return [Inserted(each.id, True) for each in jobs]


class EndsNothing(Broken):
    def finish_through(self, execute: Execute, finish: Finish) -> bool:
        return True


class EndsWithoutThen(Broken):
    def finish_through(self, execute: Execute, finish: Finish) -> bool:
        return self.good.finish_through(execute, changed(finish, then=()))


class Sleeps(Broken):
    def on_wake(self, listener: Callable[[Wake], object] | None) -> None:
        pass


class HearsNoCancel(Broken):
    def on_wake(self, listener: Callable[[Wake], object] | None) -> None:
        assert listener is not None
        self.good.on_wake(lambda wake: listener(Wake(wake.enqueued, False)))


class StaysOpen(Broken):
    closed = 0

    async def close(self) -> None:
        self.closed += 1
        if self.closed == 3:
            await self.good.close()


class WritesOneByOne(Broken):
    def insert_through(self, execute: Execute, jobs: Sequence[NewJob]) -> list[Inserted]:
        return [self.good.insert_through(execute, [each])[0] for each in jobs]


CASES = [
    (WritesOneByOne, "test_in_a_transaction_too_the_holder_of_a_key_is_waited_for"),
    (WritesOneByOne, "test_a_transaction_that_is_to_write_nonsense_can_go_on"),
    (WritesAtOnce, "test_a_job_written_through_a_transaction_is_there_when_it_commits"),
    (WritesAtOnce, "test_a_job_written_through_a_transaction_is_gone_when_it_rolls_back"),
    (WritesNothing, "test_a_job_written_through_a_transaction_is_there_when_it_commits"),
    (EndsNothing, "test_a_claim_ended_through_a_transaction_ends_when_it_commits"),
    (EndsNothing, "test_a_stale_claim_is_not_ended_through_a_transaction"),
    (EndsWithoutThen, "test_a_claim_ended_through_a_transaction_ends_when_it_commits"),
    (Sleeps, "test_a_worker_is_woken_by_jobs_its_own_process_writes"),
    (Sleeps, "test_a_worker_is_woken_by_what_others_do"),
    (HearsNoCancel, "test_a_worker_is_woken_when_a_running_job_is_to_be_cancelled"),
    (StaysOpen, "test_after_closing_every_method_says_so"),
]


@pytest.mark.parametrize(("broken", "test"), CASES)
def test_a_broken_promise_is_noticed(broken: type[Broken], test: str, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    bad.mkdir()
    good.mkdir()
    assert notices(OnSqlite, test, broken, directory=bad)
    assert not notices(OnSqlite, test, None, directory=good)
