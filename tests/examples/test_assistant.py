"""The customer who comes by MCP, when all is not well, and how its visit is drawn."""

from __future__ import annotations

import re
import socket

from examples.shop import png
from examples.shop.assistant import Assistant, Visit, in_words, picture
from examples.shop.drawing import ASCII, draw_visit
from examples.shop.timeline import Lane
from tests.support import async_test

START = 1_800_000_000.0


def nothing_is_ordered(title: str) -> Lane:
    raise AssertionError(f"{title} was ordered")


def drawn(visit: Visit, now: float = START, width: int = 100) -> list[str]:
    return [line.plain for line in draw_visit(visit, now=now, width=width, glyphs=ASCII)]


@async_test
async def test_where_there_is_no_shop_it_goes_home_and_says_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    visit = Visit(START)
    await Assistant(f"http://127.0.0.1:{port}", visit, nothing_is_ordered).go_shopping()
    assert visit.said
    assert visit.over_at is not None
    assert [(call.name, call.good) for call in visit.calls] == [("connect", False)]
    assert "went home" in drawn(visit)[0]
    assert visit.photos == {}


def test_what_went_wrong_is_said_once_however_deep_it_lies() -> None:
    inner = ExceptionGroup("tasks", [ExceptionGroup("more", [ValueError("no tea left")])])
    assert in_words(inner) == "no tea left"
    assert in_words(KeyError()) == "KeyError"


def test_its_photo_is_a_picture() -> None:
    assert (png.read(picture()).width, png.read(picture()).height) == (192, 144)


def test_a_visit_is_drawn_a_call_a_row_with_its_reports_on_the_bar() -> None:
    visit = Visit(START, revision="2026-07-28")
    with visit.call("find_products") as found:
        found.note = "cup, tray"
    with visit.call("order_status") as asked:
        asked.note = "Paid."
    found.began_at, found.ended_at = START, START + 0.1
    asked.began_at, asked.ended_at = START + 0.2, START + 1.1
    asked.reports += [START + 0.4, START + 0.8]
    visit.over_at = START + 1.1
    header, first, second = drawn(visit)
    assert header.startswith("assistant /mcp   the official Python client, MCP 2026-07-28 ")
    assert header.endswith("  served in 1.10 s")
    assert first.startswith("  widget find_products    0 ms  ==o")
    assert first.endswith(" cup, tray")
    assert second.startswith("  widget order_status   200 ms  ")
    assert re.fullmatch(r"=+\*=+\*=+o", second[32:64].strip())
    assert second.endswith(" 2 reports, Paid.")
    assert max(map(len, drawn(visit, width=80))) <= 80


def test_a_call_that_failed_is_marked_and_one_under_way_grows() -> None:
    visit = Visit(START)
    try:
        with visit.call("place_order", "tool") as failed:
            raise ValueError
    except ValueError:
        failed.began_at, failed.ended_at = START, START + 0.1
    with visit.call("order_status") as asked:
        asked.began_at = START + 0.2
        lengths = [drawn(visit, START + at)[2].count("=") for at in (0.3, 0.6, 0.9)]
    assert drawn(visit, START + 1)[1].startswith("  tool   place_order      0 ms  ==x")
    assert lengths == sorted(set(lengths))
