"""Looking at jobs in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from backstay.ledger import LIVE, Gate, JobFilter, State, new_job_id
from backstay.ledger.postgres_statements import WAITS
from backstay.ledger.postgres_views import by_state, conditions, counting, job_row, newest, pages
from tests.ledger.databases import fresh_schema, need_postgres
from tests.ledger.postgres_stage import job, opened
from tests.support import async_test

AT = datetime(2027, 1, 1, tzinfo=UTC)


def row(**rest: Any) -> dict[str, Any]:
    fields = dict.fromkeys(
        (
            "started_at",
            "finished_at",
            "expires_at",
            "worker",
            "unique_key",
            "gate",
            "progress",
            "result",
            "errors",
        )
    )
    return {
        **fields,
        "id": UUID(int=1),
        "task": "t",
        "queue": "default",
        "state": "available",
        "priority": 0,
        "attempt": 0,
        "max_attempts": 1,
        "args": "{}",
        "meta": "{}",
        "created_at": AT,
        "run_at": AT,
        "cancel_requested": False,
        "waiting_for": 0,
        **rest,
    }


def test_a_row_that_is_whole_is_not_corrupt() -> None:
    found = job_row(row(result="null", errors=['{"type": "E"}'], progress='{"done": 1}'))
    assert not found.corrupt
    assert (found.result, found.has_result) == (None, True)
    assert (found.progress, found.errors) == ({"done": 1}, ({"type": "E"},))


def test_what_can_be_read_of_a_broken_row_is_there() -> None:
    for broken in ({"args": "{"}, {"meta": "[]"}, {"result": "nul"}, {"errors": ["1", "{}"]}):
        found = job_row(row(**broken))
        assert found.corrupt
        assert (found.id, found.state) == (UUID(int=1), State.AVAILABLE)
    assert found.errors == ({},)


def test_an_empty_filter_is_no_condition() -> None:
    values: list[Any] = []
    assert conditions(JobFilter(), None, values) == "true"
    assert values == []


def test_no_states_match_nothing() -> None:
    assert conditions(JobFilter(states=frozenset()), None, []) == "true AND false"


def test_values_are_parameters_and_never_part_of_the_statement() -> None:
    values: list[Any] = ["first"]
    nasty = "'; DROP TABLE x; --"
    found = conditions(
        JobFilter(ids=(new_job_id(),), task=nasty, queue=nasty, text=nasty, older_than_s=5),
        AT,
        values,
    )
    assert "DROP" not in found
    assert len(values) == 7
    assert "$7" in found


async def _with_history(schema: str, connection: Any) -> None:
    for state, count in (("succeeded", 60_000), ("scheduled", 5_000)):
        await connection.execute(
            f"INSERT INTO {schema}.backstay_jobs (id, created_at, run_at, rank, max_attempts, "
            "state, task, queue, args, meta, finished_at) SELECT gen_random_uuid(), now(), "
            f"now() + interval '1 day', 0, 1, '{state}', 't', 'default', '{{}}', '{{}}', "
            f"CASE WHEN '{state}' = 'succeeded' THEN now() END "
            f"FROM generate_series(1, {count})"
        )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


async def _stepped_over(connection: Any, statement: str, *values: Any) -> int:
    """The most rows that one part of a statement went through."""
    [(text,)] = await connection.fetch("EXPLAIN (ANALYZE, FORMAT JSON) " + statement, *values)
    nodes = list(_nodes(json.loads(text)[0]["Plan"]))
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan" and _ours(node)]
    return max(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes
    )


def _ours(node: dict[str, Any]) -> bool:
    return bool(node.get("Relation Name") == "backstay_jobs" and node["Actual Loops"])


RARE = [
    JobFilter(queue="mail"),
    JobFilter(states=frozenset({State.SUCCEEDED}), queue="mail"),
    JobFilter(states=frozenset({State.SUCCEEDED}), task="rare"),
    JobFilter(states=frozenset({State.SUCCEEDED, State.RETRYING}), task="rare", queue="mail"),
    JobFilter(states=frozenset({State.AVAILABLE})),
    JobFilter(states=frozenset({State.WAITING, State.RUNNING, State.DISCARDED})),
    JobFilter(states=frozenset({State.SCHEDULED}), queue="mail"),
]


@async_test
async def test_looking_goes_by_indexes_however_long_the_history_is() -> None:
    need_postgres()
    with fresh_schema() as (schema, _):
        async with opened(schema) as ledger:
            connection = await ledger._open.looking.connected()
            steering = await ledger._open.steering.connected()
            tables = ledger._open.tables
            await _with_history(schema, connection)
            await ledger.insert([job(), job(priority=5), job(queue="other", gate=Gate("g"))])
            for analysed in (False, True):
                if analysed:
                    await connection.execute(f"VACUUM ANALYZE {schema}.backstay_jobs")
                for which in RARE:
                    for statement, values in (
                        newest(which, None, 50, new_job_id()),
                        by_state(which, pages(which) or frozenset(), None, 50, None),
                    ):
                        steps = await _stepped_over(connection, tables[statement], *values)
                        assert steps <= 1000, (which, statement)
                live = tables[counting(LIVE | {State.DISCARDED})]
                assert await _stepped_over(connection, live) <= 5_000
                assert await _stepped_over(steering, tables[WAITS], None) <= 10


@async_test
async def test_a_page_that_is_full_of_the_newest_is_not_sorted_from_all() -> None:
    need_postgres()
    with fresh_schema() as (schema, _):
        async with opened(schema) as ledger:
            connection = await ledger._open.looking.connected()
            await _with_history(schema, connection)
            which = JobFilter(states=frozenset({State.SUCCEEDED}), task="t")
            statement, values = newest(which, None, 50, None)
            assert len(await connection.fetch(ledger._open.tables[statement], *values)) == 50
            assert await _stepped_over(connection, ledger._open.tables[statement], *values) <= 1000


def test_states_without_a_queue_or_a_task_are_found_where_their_index_is() -> None:
    assert pages(JobFilter()) is None
    assert pages(JobFilter(ids=(), queue="mail")) is None
    assert pages(JobFilter(states=frozenset({State.SUCCEEDED, State.RUNNING}))) is None
    assert pages(JobFilter(states=frozenset({State.RUNNING}))) == {State.RUNNING}
    assert pages(JobFilter(queue="mail")) == frozenset(State)
