"""A browser drives pages of this machine, tells what they complain of, and reaches nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.browsing import Complaints, chromium, shot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage


def is_error(said: ConsoleMessage) -> bool:
    return said.type == "error"


def test_a_page_is_clicked_and_read(browser: Browser) -> None:
    with browser.new_page() as page:
        page.set_content("<button onclick='this.textContent = 2'>1</button>")
        page.get_by_role("button").click()
        assert page.get_by_role("button").inner_text() == "2"


def test_what_a_page_complains_of_is_told(browser: Browser) -> None:
    with browser.new_page() as page:
        complaints = Complaints(page)
        with page.expect_event("pageerror"), page.expect_event("console", is_error):
            page.set_content(
                "<script>console.log('fine'); console.error('oh'); throw Error('no')</script>"
            )
        assert sorted(complaints) == ["oh", "uncaught: no"]


def test_names_beyond_this_machine_are_not_looked_up(browser: Browser) -> None:
    from playwright.sync_api import Error

    with browser.new_page() as page, pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
        page.goto("http://example.com/")


def test_screenshots_are_kept_where_the_environment_says(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BACKSTAY_SHOTS", str(tmp_path / "shots"))
    with browser.new_page() as page:
        page.set_content("<p>seen</p>")
        made = shot(page, "a page / seen")
    assert made == tmp_path / "shots" / "a-page-seen.png"
    assert made.read_bytes().startswith(b"\x89PNG")


def test_event_loops_run_again_once_a_browser_is_closed() -> None:
    async def answer() -> int:
        return 42

    # In a thread of its own: the browser of this module is open in this one.
    def browse_and_run() -> int:
        with chromium() as opened:
            opened.new_page().set_content("<p>")
        return asyncio.run(answer())

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(browse_and_run).result() == 42
