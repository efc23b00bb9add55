"""What the tests of the face share: a browser, and a stage in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.fixtures import browser
from tests.widgets.face.stage import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser", "stage"]


@pytest.fixture(scope="module")
def stage(browser: Browser) -> Iterator[Stage]:
    opened = Stage(browser)
    try:
        yield opened
    finally:
        opened.close()
