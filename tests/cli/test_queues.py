"""``backstay queues`` and ``backstay workers``."""

from pathlib import Path

import pytest

from backstay.cli.queues import limit_text
from backstay.ledger import QueueRow
from tests.cli.terminal import WORKER, backstay, discard, job, run_all, within, write


@pytest.fixture
def file(here: Path) -> Path:
    write(here / "backstay.db")
    return here / "backstay.db"


def test_no_queues_are_said_to_be_none(file: Path) -> None:
    assert "no queues" in backstay("queues", "list").err
    assert backstay("queues", "list", "--json").json == []


def test_queues_are_listed_with_what_is_in_them(file: Path) -> None:
    write(file, job(queue="mail"), job(queue="mail", delay_s=60), job())
    heading, default, mail = backstay("queues", "list").out.splitlines()
    assert heading.split()[:4] == ["QUEUE", "WAITING", "SCHEDULED", "AVAILABLE"]
    assert default.split()[:4] == ["default", "·", "·", "1"]
    assert mail.split()[:4] == ["mail", "·", "1", "1"]


def test_declared_queues_are_listed_with_their_limits(file: Path) -> None:
    within(
        file, lambda ledger: ledger.declare([QueueRow(name="smtp", limit=5, rate=100, per_s=60)])
    )
    assert "5 at once, 100 per 1 m" in backstay("queues", "list").out
    (shown,) = backstay("queues", "list", "--json").json
    assert (shown["name"], shown["limit"], shown["rate"], shown["per_s"]) == ("smtp", 5, 100, 60)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_lists_are_no_wider_than_the_terminal(file: Path, columns: int) -> None:
    write(file, *(job(queue="queue-with-a-long-name-" + "x" * n) for n in range(40)))
    within(file, lambda ledger: ledger.register(WORKER))
    for command in (("queues", "list"), ("workers",)):
        lines = backstay(*command, columns=columns).out.splitlines()
        assert max(map(len, lines)) <= columns


def test_discarded_jobs_are_counted(file: Path) -> None:
    write(file, job())
    run_all(file, discard)
    (shown,) = backstay("queues", "list", "--json").json
    assert shown["jobs"]["discarded"] == 1
    assert shown["oldest_available_s"] is None


def test_a_queue_is_paused_and_resumed(file: Path) -> None:
    write(file, job(queue="mail"))
    assert backstay("queues", "pause", "mail").code == 0
    listed = backstay("queues", "list")
    assert "mail paused" in listed.out
    assert "mail was paused" in listed.err
    assert backstay("queues", "list", "--json").json[0]["paused_at"] is not None
    assert run_all(file, lambda _: None) == []
    assert backstay("queues", "resume", "mail").code == 0
    assert len(run_all(file, lambda _: None)) == 1


def test_pausing_twice_changes_nothing(file: Path) -> None:
    write(file, job())
    backstay("queues", "pause", "default")
    again = backstay("queues", "pause", "default")
    assert again.code == 0
    assert "is paused already" in again.err
    backstay("queues", "resume", "default")
    assert "is not paused already" in backstay("queues", "resume", "default").err


def test_a_mistyped_queue_is_not_paused(file: Path) -> None:
    write(file, job(queue="mail"))
    outcome = backstay("queues", "pause", "mial")
    assert outcome.code == 1
    assert "there is no queue 'mial'" in outcome.err
    assert "there are: mail" in outcome.err
    assert backstay("queues", "pause", "mial", "--force").code == 0


def test_workers_are_listed_with_their_last_beat(file: Path) -> None:
    assert "no workers" in backstay("workers").err
    assert backstay("workers", "--json").json == []
    within(file, lambda ledger: ledger.register(WORKER))
    heading, line = backstay("workers").out.splitlines()
    assert heading.split() == ["WORKER", "PID", "RUNNING", "QUEUES", "BEAT", "UP", "VERSION"]
    assert line.startswith("● web-1")
    assert "4121" in line
    assert "0/50" in line
    (shown,) = backstay("workers", "--json").json
    assert (shown["pid"], shown["queues"], shown["alive"]) == (4121, ["default", "mail"], True)


def test_limits_are_told_in_words() -> None:
    assert limit_text(QueueRow(name="x")) == ""
    assert limit_text(QueueRow(name="x", limit=1)) == "1 at once"
    assert limit_text(QueueRow(name="x", rate=3, per_s=3600)) == "3 per 1 h"
