"""``top``'s page."""

import io
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from backstay.cli.dashboard import allot, dashboard, sparkline
from backstay.cli.sampling import Sample, Sampler
from backstay.ledger import QueueRow, State, WorkerRow
from backstay.testing import FakeClock
from tests.cli.shelf import NOON, Shelf, a_job
from tests.support import async_test


def a_worker(number: int, **more: object) -> WorkerRow:
    plain: dict[str, object] = {
        "id": f"w{number}",
        "host": f"web-{number}",
        "pid": number,
        "lease_s": 10.0,
        "concurrency": 50,
        "queues": ("default", "mail"),
        "version": "0.1.0",
        "started_at": NOON - timedelta(hours=4),
    }
    return WorkerRow(**{**plain, **more})  # type: ignore[arg-type]


def busy(scale: int = 1) -> Shelf:
    rows = []
    number = 0
    for state in State:
        for _ in range(5 * scale):
            number += 1
            rows.append(
                a_job(
                    number,
                    state=state,
                    queue=f"queue-{number % (3 * scale)}",
                    task=f"shop.größe.{'日本' * (number % 9)}.task_{number % (7 * scale)}",
                    age_s=number * 7,
                    progress={"done": number, "total": 300} if number % 2 else {"message": "…"},
                    errors=({"type": "E\x1b[2J", "message": "[red]no[/red]\n" * 9},),
                )
            )
    shelf = Shelf(*rows)
    shelf.queue_rows = {"queue-1": QueueRow(name="queue-1", paused_at=NOON, limit=5, rate=9)}
    shelf.worker_rows = [a_worker(n, seen_s_ago=n * 4.0) for n in range(4 * scale)]
    return shelf


async def sampled(shelf: Shelf, times: int = 3) -> Sample:
    sampler = Sampler(shelf.ledger, FakeClock())
    for _ in range(times):
        sample = await sampler.take()
        shelf.at += timedelta(seconds=1)
    return sample


def drawn(sample: Sample, width: int, height: int | None, trouble: str = "") -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(
        dashboard(sample, name="sqlite:///shop.db", width=width, height=height, trouble=trouble),
        end="",
    )
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


SIZES = [(140, 40), (200, 60), (119, 34), (80, 24), (80, 50), (40, 24), (40, 60), (60, 16)]


@pytest.mark.parametrize("scale", [0, 1, 30])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_page_fits_the_terminal(width: int, height: int, scale: int) -> None:
    @async_test
    async def check() -> None:
        sample = await sampled(busy(scale) if scale else Shelf())
        lines = drawn(sample, width, height)
        assert len(lines) <= height
        assert all(Console().render_str(line).cell_len <= width for line in lines)

    check()


@async_test
async def test_the_page_names_what_matters() -> None:
    page = "\n".join(drawn(await sampled(busy()), 140, 50))
    for each in (
        "sqlite:///shop.db",
        "12:00:02 UTC",
        "0.0/s finished",
        "5 available",
        "queue-1 paused",
        "5 at once, 9 per 1 s",
        "workers  3 alive, 1 late",
        "dead? 12 s ago",
        "slowest running",
        "failing tasks",
    ):
        assert each in page, each


@async_test
async def test_what_tasks_and_errors_say_cannot_steer_the_terminal() -> None:
    page = "\n".join(drawn(await sampled(busy()), 200, 60))
    assert "\x1b" not in page
    assert "E\\x1b[2J: [red]no[/red]" in page


@async_test
async def test_an_empty_ledger_says_what_to_do() -> None:
    page = "\n".join(drawn(await sampled(Shelf()), 100, 40))
    for each in ("no jobs", "no queues yet", "backstay worker shop.app:app", "nothing runs"):
        assert each in page


@async_test
async def test_a_database_that_is_gone_is_told_above_the_last_sample() -> None:
    page = drawn(await sampled(busy()), 120, 40, trouble="connection refused")
    assert "waiting for the database: connection refused" in page[0]


@async_test
async def test_without_a_height_everything_is_shown() -> None:
    shelf = busy(10)
    page = "\n".join(drawn(await sampled(shelf), 140, None))
    assert all(each.host in page for each in shelf.worker_rows)


@given(st.integers(-5, 100), st.lists(st.integers(0, 40), min_size=1, max_size=5))
def test_lines_are_shared_and_none_is_lost(room: int, wants: list[int]) -> None:
    given_lines = allot(room, wants)
    assert all(each >= 0 for each in given_lines)
    if any(wants):
        assert sum(given_lines) == max(room, 0)
    last = max((index for index, want in enumerate(wants) if want), default=0)
    assert all(
        each <= want
        for index, (each, want) in enumerate(zip(given_lines, wants, strict=True))
        if index != last
    )


def test_a_small_section_gets_all_it_wants_before_a_large_one() -> None:
    assert allot(10, [2, 100, 3]) == [2, 5, 3]


def test_sparklines_are_relative_to_the_highest() -> None:
    assert sparkline([0, 4, 8], 10) == "▁▄█"
    assert sparkline([1, 2, 3], 2) == "▆█"
    assert sparkline([0, 0], 5) == "▁▁"
    assert sparkline([], 5) == ""
    assert sparkline([1], 0) == ""
