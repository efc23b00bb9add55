"""``backstay jobs``: list, show, retry, cancel, prune."""

import json
import sqlite3
import threading
from pathlib import Path

import pytest

from backstay.ledger import JobFilter, State
from tests.cli.terminal import (
    WORKER,
    backstay,
    discard,
    job,
    run_all,
    states,
    succeed,
    within,
    write,
)


@pytest.fixture
def file(here: Path) -> Path:
    """The default file, with no jobs in it."""
    write(here / "backstay.db")
    return here / "backstay.db"


# ------------------------------------------------------------------ list


def test_no_jobs_are_said_to_be_none(file: Path) -> None:
    for arguments in ((), ("--state", "running")):
        outcome = backstay("jobs", "list", *arguments)
        assert (outcome.code, outcome.out) == (0, "")
        assert "no jobs" in outcome.err
    assert backstay("jobs", "list", "--json").json == []


def test_jobs_are_listed_the_newest_first(file: Path) -> None:
    ids = write(file, job("shop.first"), job("shop.second", queue="mail"))
    lines = backstay("jobs", "list").out.splitlines()
    assert lines[0].split() == ["ID", "STATE", "TASK", "QUEUE", "TRY", "WHEN", "NOTE"]
    assert lines[1].startswith(str(ids[1]))
    assert "shop.second" in lines[1]
    assert lines[2].startswith(str(ids[0]))


def test_filters_hold_together(file: Path) -> None:
    write(
        file,
        job("a", '{"order": 17}'),
        job("a", '{"order": 18}', queue="mail"),
        job("b", queue="mail"),
        job("a", queue="mail", delay_s=1000),
    )

    def count(*arguments: str) -> int:
        return len(backstay("jobs", "list", "--json", *arguments).json)

    assert count() == 4
    assert count("--task", "a") == 3
    assert count("--task", "a", "--queue", "mail") == 2
    assert count("--state", "scheduled") == 1
    assert count("--state", "scheduled", "--state", "available") == 4
    assert count("--search", '"order": 18') == 1
    assert count("--task", "c") == 0


def test_pages_follow_each_other(file: Path) -> None:
    ids = write(file, *(job() for _ in range(5)))
    first = backstay("jobs", "list", "--limit", 2)
    assert f"--before {ids[3]}" in first.err
    second = backstay("jobs", "list", "--limit", 2, "--before", ids[3], "--json").json
    assert [each["id"] for each in second] == [str(ids[2]), str(ids[1])]
    last = backstay("jobs", "list", "--limit", 2, "--before", ids[1])
    assert "more" not in last.err


def test_json_has_absolute_times_and_masked_arguments(file: Path) -> None:
    write(file, job("größe", '{"name": "日本", "password": "hush", "card": {"$sealed": "x"}}'))
    (shown,) = backstay("jobs", "list", "--json").json
    assert shown["task"] == "größe"
    assert shown["args"] == {"name": "日本", "password": "***", "card": "***"}
    assert shown["created_at"].endswith("Z")


def test_a_huge_table_is_listed_to_its_limit(file: Path) -> None:
    write(file, *(job(f"task-{n % 10}", json.dumps({"n": n})) for n in range(3_000)))
    assert len(backstay("jobs", "list", "--limit", 2_000).out.splitlines()) == 2_001


@pytest.mark.parametrize("columns", [40, 80])
def test_narrow_terminals_show_whole_ids(file: Path, columns: int) -> None:
    (job_id,) = write(file, job("shop.reports.yearly_summary_of_everything_there_is"))
    outcome = backstay("jobs", "list", columns=columns)
    assert str(job_id) in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= columns


@pytest.mark.parametrize(
    "arguments", [("--state", "lost"), ("--limit", "0"), ("--limit", "x"), ("--nonsense",)]
)
def test_wrong_options_are_misuse(file: Path, arguments: tuple[str, ...]) -> None:
    outcome = backstay("jobs", "list", *arguments)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err


# ------------------------------------------------------------------ show


def test_a_job_is_shown_by_the_beginning_of_its_id(file: Path) -> None:
    (job_id,) = write(file, job(args='{"order_id": 17, "token": "hush"}', queue="mail"))
    run_all(file, discard)
    for name in (str(job_id), str(job_id)[:18]):
        outcome = backstay("jobs", "show", name)
        assert outcome.code == 0
        for each in ("shop.mail.send  discarded", str(job_id), "CardDeclined: insufficient funds"):
            assert each in outcome.out
        assert 'File "pay.py", line 3' in outcome.out
        assert "hush" not in outcome.out


def test_a_jobs_parents_are_shown(file: Path) -> None:
    (parent,) = write(file, job("shop.parent"))
    (child,) = write(file, job("shop.child", after=(parent,)))
    assert f"{parent} shop.parent available" in backstay("jobs", "show", child).out
    assert backstay("jobs", "show", child, "--json").json["parents"] == [str(parent)]


def test_a_jobs_children_are_shown_with_their_states(file: Path) -> None:
    (parent,) = write(file, job("shop.parent"))
    (child,) = write(file, job("shop.child", after=(parent,)))
    assert f"{child} shop.child waiting" in backstay("jobs", "show", parent).out
    shown = backstay("jobs", "show", parent, "--json").json
    assert shown["children"] == [{"id": str(child), "state": "waiting"}]


def test_json_of_a_job_has_its_result_and_all_its_failures(file: Path) -> None:
    (job_id,) = write(file, job())
    run_all(file, succeed)
    shown = backstay("jobs", "show", job_id, "--json").json
    assert (shown["state"], shown["result"], shown["errors"]) == ("succeeded", {"sent": True}, [])


def test_a_job_that_is_not_there_is_a_failure(file: Path) -> None:
    outcome = backstay("jobs", "show", "01a20b8b-92bb-7c41-9fee-1787a7829bd6")
    assert outcome.code == 1
    assert "there is no job" in outcome.err


# ------------------------------------------------------------------ retry


def test_a_discarded_job_is_retried(file: Path) -> None:
    (job_id,) = write(file, job())
    run_all(file, discard)
    outcome = backstay("jobs", "retry", job_id)
    assert outcome.code == 0
    assert "available again" in outcome.err
    assert states(file, job_id) == [State.AVAILABLE]


def test_a_job_that_is_fine_is_not_retried(file: Path) -> None:
    (job_id,) = write(file, job())
    outcome = backstay("jobs", "retry", job_id)
    assert outcome.code == 1
    assert "only discarded and cancelled jobs" in outcome.err


def test_of_several_the_good_ones_are_retried_and_the_exit_code_tells(file: Path) -> None:
    dead, alive = write(file, job(queue="mail"), job(delay_s=100))
    run_all(file, discard)
    outcome = backstay("jobs", "retry", alive, dead, "--json")
    assert outcome.code == 1
    assert outcome.json == {"requeued": [str(dead)]}


def test_many_are_retried_by_state_and_task(file: Path) -> None:
    ids = write(file, *(job("a") for _ in range(1_200)), job("b"))
    run_all(file, discard)
    outcome = backstay("jobs", "retry", "--state", "discarded", "--task", "a", "--yes")
    assert outcome.code == 0
    assert "1,200 jobs available again" in outcome.err
    assert set(states(file, *ids[:-1])) == {State.AVAILABLE}
    assert states(file, ids[-1]) == [State.DISCARDED]


def test_many_are_not_retried_unasked(file: Path) -> None:
    ids = write(file, job(), job())
    run_all(file, discard)
    outcome = backstay("jobs", "retry", "--state", "discarded")
    assert outcome.code == 2
    assert "--yes" in outcome.err
    assert states(file, *ids) == [State.DISCARDED] * 2


def test_retrying_names_jobs_one_way(file: Path) -> None:
    (job_id,) = write(file, job())
    for arguments in ((), (job_id, "--state", "discarded"), ("--state", "running")):
        assert backstay("jobs", "retry", *arguments).code == 2


def test_retrying_nothing_is_fine(file: Path) -> None:
    outcome = backstay("jobs", "retry", "--state", "discarded", "--json")
    assert (outcome.code, outcome.json) == (0, {"requeued": []})


# ------------------------------------------------------------------ cancel


def test_a_waiting_job_is_cancelled_at_once(file: Path) -> None:
    (job_id,) = write(file, job())
    outcome = backstay("jobs", "cancel", job_id, "--reason", "ordered twice")
    assert outcome.code == 0
    assert states(file, job_id) == [State.CANCELLED]
    assert "ordered twice" in backstay("jobs", "show", job_id).out


def test_a_running_job_is_asked_to_stop(file: Path) -> None:
    (job_id,) = write(file, job())
    run_all(file, lambda _: None)
    outcome = backstay("jobs", "cancel", job_id)
    assert outcome.code == 0
    assert "asked to stop" in outcome.err
    assert "asked to stop" in backstay("jobs", "show", job_id).out


def test_a_finished_job_cannot_be_cancelled(file: Path) -> None:
    (job_id,) = write(file, job())
    run_all(file, succeed)
    outcome = backstay("jobs", "cancel", job_id, "--json")
    assert outcome.code == 1
    assert outcome.json == [
        {"id": str(job_id), "before": "succeeded", "cancelled": False, "asked": False}
    ]


# ------------------------------------------------------------------ prune


def test_pruning_deletes_what_is_old_enough(file: Path) -> None:
    ids = write(file, *(job() for _ in range(700)))
    run_all(file, succeed)
    assert backstay("jobs", "prune", "--older-than", "1h", "--yes", "--json").json == {"deleted": 0}
    outcome = backstay("jobs", "prune", "--older-than", "0s", "--yes", "--json")
    assert outcome.json == {"deleted": 700}
    assert within(file, lambda ledger: ledger.get(ids)) == {}


def test_the_dead_letter_list_is_pruned_only_by_name(file: Path) -> None:
    ids = write(file, job("a"), job("b"))
    run_all(file, discard)
    backstay("jobs", "prune", "--older-than", "0s", "--yes")
    assert states(file, *ids) == [State.DISCARDED] * 2
    backstay("jobs", "prune", "--older-than", "0s", "--state", "discarded", "--task", "a", "--yes")
    assert states(file, ids[1]) == [State.DISCARDED]
    assert len(within(file, lambda ledger: ledger.find(JobFilter()))) == 1


@pytest.mark.parametrize(
    "arguments",
    [(), ("--older-than", "soon"), ("--older-than", "1d", "--state", "running")],
)
def test_pruning_without_sense_is_misuse(file: Path, arguments: tuple[str, ...]) -> None:
    assert backstay("jobs", "prune", *arguments, "--yes").code == 2


def test_pruning_asks_before(file: Path) -> None:
    (job_id,) = write(file, job())
    run_all(file, succeed)
    outcome = backstay("jobs", "prune", "--older-than", "0s")
    assert outcome.code == 2
    assert states(file, job_id) == [State.SUCCEEDED]


# ------------------------------------------------------------------ the database


def test_a_database_that_somebody_writes_to_can_be_looked_at(file: Path) -> None:
    (job_id,) = write(file, job())
    other = sqlite3.connect(file, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        assert backstay("jobs", "list", "--json").json[0]["id"] == str(job_id)
    finally:
        other.close()


def test_a_locked_database_is_waited_for(file: Path) -> None:
    (job_id,) = write(file, job())
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, other.close)
    release.start()
    try:
        assert backstay("jobs", "cancel", job_id).code == 0
    finally:
        release.join()
    assert states(file, job_id) == [State.CANCELLED]


def test_a_worker_is_no_job(file: Path) -> None:
    within(file, lambda ledger: ledger.register(WORKER))
    assert backstay("jobs", "list", "--json").json == []
