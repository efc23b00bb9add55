"""Chromium, headless and offline, driven by Playwright's synchronous interface.

While a browser is open, Playwright's event loop belongs to the thread of the test: an async test
cannot run beside it. So a browser lives as long as one test module at most (see the fixture in
``fixtures``), and modules that use it have synchronous tests only; ``serving_app`` runs the app.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.bench import require_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

__all__ = ["BROWSER_PATIENCE_MS", "Complaints", "chromium", "shot", "shots_folder"]

BROWSER_PATIENCE_MS = 20_000
"""How long an expectation about a page may take to come true, in milliseconds."""

FLAGS = [
    "--no-sandbox",  # root, and containers, have none to offer
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever a page asks for beyond this machine is not there, wherever the tests run.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own that is gone at the end."""
    program = require_chromium()
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=BROWSER_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Complaints(list[str]):
    """Errors that a page and all its frames have written to the console or thrown.

    What the content security policy has blocked is among them.
    """

    def __init__(self, page: Page) -> None:
        super().__init__()
        page.on("console", lambda said: self.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.append(f"uncaught: {error}"))


def shots_folder() -> Path:
    """Where screenshots go: BACKSTAY_SHOTS, or a folder among the temporary ones."""
    named = os.environ.get("BACKSTAY_SHOTS")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / "backstay-shots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def shot(of: Page | Locator, name: str) -> Path:
    """A screenshot as ``<name>.png`` in the folder for them."""
    path = shots_folder() / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.png"
    of.screenshot(path=path)
    return path
