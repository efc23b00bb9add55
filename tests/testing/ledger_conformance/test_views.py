"""The suite notices engines that show what is not there, or not all of what is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from backstay.ledger import Counts, JobFilter, JobRow
from backstay.testing.ledger_conformance.views import Views
from tests.ledger.databases import OnSqlite
from tests.testing.ledger_conformance.broken import Broken, changed, notices


class OldestFirst(Broken):
    async def find(
        self, which: JobFilter, *, limit: int = 50, before: UUID | None = None
    ) -> list[JobRow]:
        return (await self.good.find(which, limit=limit, before=before))[::-1]


class OnePage(Broken):
    async def find(
        self, which: JobFilter, *, limit: int = 50, before: UUID | None = None
    ) -> list[JobRow]:
        return await self.good.find(which, limit=limit)


def ignores(**fields: Any) -> type[Broken]:
    class Ignores(Broken):
        async def find(
            self, which: JobFilter, *, limit: int = 50, before: UUID | None = None
        ) -> list[JobRow]:
            which = changed(which, **fields)
            return await self.good.find(which, limit=limit, before=before)

    Ignores.__name__ = "Ignores_" + "_".join(fields)
    return Ignores


class Miscounts(Broken):
    async def counts(self) -> list[Counts]:
        return [each for each in await self.good.counts() if each.queue == "default"]


class HidesDamage(Broken):
    async def get(self, ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        rows = await self.good.get(ids)
        return {id: changed(row, corrupt=False) for id, row in rows.items()}


class HasNoAddress(Broken):
    url = "no address at all"


CASES = [
    (OldestFirst, "test_the_newest_are_found_first"),
    (OnePage, "test_pages_go_on_where_the_last_one_ended"),
    *(
        (ignores(**{name: None}), "test_a_filter_finds_what_matches_all_of_it")
        for name in ("ids", "states", "task", "queue", "text", "older_than_s")
    ),
    (Miscounts, "test_jobs_are_counted_by_queue_task_and_state"),
    (HasNoAddress, "test_the_address_is_told_without_a_password"),
]


@pytest.mark.parametrize(("broken", "test"), CASES)
def test_a_broken_promise_is_noticed(broken: type[Broken], test: str) -> None:
    assert notices(Views, test, broken)
    assert not notices(Views, test, None)


def test_hidden_damage_is_noticed(tmp_path: Path) -> None:
    test = "test_a_damaged_row_is_shown_as_such_among_the_others"
    assert notices(OnSqlite, test, HidesDamage, directory=tmp_path / "a")
