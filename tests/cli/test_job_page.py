"""Jobs as tables and as pages of a terminal."""

import io
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console, RenderableType

from backstay.cli.job_page import counted, job_page, job_table, note, progress_line, when
from backstay.jobs.view import ProgressView
from backstay.ledger import State
from tests.cli.shelf import NOON, a_job, job_id

FAILURE = {
    "type": "ConnectionError",
    "message": "mail.example.org refused",
    "attempt": 1,
    "at": (NOON - timedelta(minutes=2)).isoformat(),
    "traceback": "Traceback\n  File mail.py, line 3\nConnectionError: refused",
}


def drawn(renderable: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_time_that_matters(state: State) -> None:
    row = a_job(state=state, age_s=90, run_at=NOON + timedelta(minutes=5))
    expected = {
        State.WAITING: "1 m ago",
        State.SCHEDULED: "in 5 m",
        State.AVAILABLE: "1 m ago",
        State.RUNNING: "for 1 m",
        State.RETRYING: "in 5 m",
    }
    assert when(row, NOON) == expected.get(state, "1 m ago")


def test_a_retry_whose_time_has_come_is_due() -> None:
    assert when(a_job(state=State.RETRYING), NOON) == "due"


def test_a_running_job_is_noted_with_its_progress() -> None:
    row = a_job(state=State.RUNNING, progress={"done": 30, "total": 120, "message": "resizing"})
    assert note(row) == "30 of 120 (25%) resizing"


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        ({"done": 3}, "3"),
        ({"done": 1500.5, "total": 3001}, "1,500.5 of 3,001 (50%)"),
        ({"done": 9, "total": 3}, "9 of 3 (100%)"),
        ({"message": "soon"}, "soon"),
        ({"done": "?", "total": None}, ""),
        ("nearly", "nearly"),
    ],
)
def test_progress_is_one_line_whatever_was_reported(progress: object, line: str) -> None:
    view = ProgressView.of(progress)
    assert view is not None
    assert progress_line(view) == line


def test_failures_are_noted_where_they_still_matter() -> None:
    failed = a_job(state=State.RETRYING, errors=(FAILURE,))
    assert note(failed) == "ConnectionError: mail.example.org refused"
    assert note(replace(failed, state=State.SUCCEEDED)) == ""
    assert note(replace(failed, errors=({},))) == "Unknown"


def test_waiting_and_corrupt_jobs_are_noted() -> None:
    assert note(a_job(state=State.WAITING, waiting_for=1)) == "for 1 other"
    assert note(a_job(state=State.DISCARDED, corrupt=True)) == "unreadable"


def test_a_table_is_never_wider_than_the_terminal() -> None:
    rows = [a_job(n, task="shop." + "x" * n, queue="日本語" * 5) for n in range(1, 200)]
    for width in (20, 40, 76, 80, 100, 120, 200):
        lines = drawn(job_table(rows, NOON, width=width), width).splitlines()
        assert all(Console().render_str(line).cell_len <= width for line in lines)


def test_at_eighty_columns_ids_and_times_are_whole() -> None:
    row = a_job(1, task="shop.reports.yearly_summary_of_everything", age_s=200)
    heading, line = drawn(job_table([row], NOON, width=80), 80).splitlines()
    assert heading.split() == ["ID", "STATE", "TASK", "WHEN"]
    assert line.startswith(str(row.id))
    assert line.endswith("3 m ago")
    assert "…" in line


def test_at_forty_columns_a_job_takes_two_lines() -> None:
    row = a_job(1, age_s=200)
    assert drawn(job_table([row], NOON, width=40), 40).splitlines() == [
        str(row.id),
        "available shop.mail.send_receipt  3 m a…"[:40],
    ]


def test_a_page_says_everything_about_a_job() -> None:
    row = a_job(
        state=State.RETRYING,
        age_s=300,
        attempt=2,
        priority=3,
        args='{"order_id": 17, "api_key": "s3cret"}',
        run_at=NOON + timedelta(seconds=90),
        worker="w1",
        unique_key="order:17",
        gate="smtp",
        errors=({**FAILURE, "message": "first"}, {**FAILURE, "attempt": 2}),
    )
    parent = a_job(9, state=State.SUCCEEDED, task="shop.parent")
    page = drawn(job_page(row, NOON, parents=[parent]), 100)
    for each in (
        "shop.mail.send_receipt  retrying",
        str(row.id),
        "2 of 5",
        "5 m ago  2027-01-01 11:55:00 UTC",
        "in 1 m  2027-01-01 12:01:30 UTC",
        '{"order_id": 17, "api_key": "***"}',
        "order:17",
        "smtp",
        "c0ffee",
        f"{parent.id} shop.parent succeeded",
        "attempt 1  ConnectionError: first  2 m ago",
        "  ConnectionError: refused",
    ):
        assert each in page
    assert "s3cret" not in page
    assert page.count("Traceback") == 1, "of the last attempt alone"
    assert drawn(job_page(row, NOON, parents=[], history=True), 100).count("Traceback") == 2


def test_a_page_has_the_result_and_how_long_it_took() -> None:
    row = a_job(state=State.SUCCEEDED, has_result=True, result={"sent": True})
    page = drawn(job_page(row, NOON, parents=[]), 80)
    assert '{"sent": true}' in page
    assert "took            2 s" in page


def test_a_job_that_was_handed_back_does_not_pass_for_running() -> None:
    row = a_job(state=State.AVAILABLE, started_at=NOON - timedelta(seconds=40))
    page = drawn(job_page(row, NOON, parents=[]), 80)
    assert "last started    40 s ago" in page
    assert "running for" not in page


def test_a_long_value_is_cut_and_says_where_all_of_it_is() -> None:
    row = a_job(args=json.dumps({"text": "x" * 5_000}))
    page = drawn(job_page(row, NOON, parents=[]), 80)
    assert "5,0" in page
    assert "--json" in page.replace("\n", " ").replace("                ", "")


def test_a_corrupt_row_is_a_page_all_the_same() -> None:
    row = a_job(state=State.DISCARDED, corrupt=True, args="{not json", errors=({"at": 3},))
    page = drawn(job_page(row, NOON, parents=[]), 80)
    assert "unreadable, 9 bytes" in page
    assert "the row holds something unreadable" in page
    assert "attempt ?  Unknown" in page


def test_progress_is_a_bar_where_the_total_is_known() -> None:
    row = a_job(state=State.RUNNING, progress={"done": 1, "total": 2})
    assert "━━━━━━━━━━" in drawn(job_page(row, NOON, parents=[]), 80)


def test_counts_have_a_plural() -> None:
    assert counted(1) == "1 job"
    assert counted(2_000) == "2,000 jobs"
    assert job_id(1) < job_id(2)


def test_many_children_are_shown_in_part_and_counted() -> None:
    children = [a_job(n, task=f"child-{n}", state=State.WAITING) for n in range(2, 5)]
    page = drawn(job_page(a_job(), NOON, children=children, more_children=1_200), 100)
    assert page.count("children") == 1
    assert f"{children[2].id} child-4 waiting" in page
    assert "… and 1,200 more; all with --json" in page
