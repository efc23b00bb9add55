"""What the tests of the hosts share: a browser, and a tiny server."""

from collections.abc import Iterator

import pytest

from tests.browser.fixtures import browser
from tests.browser.serving import serving_app
from tests.browser.tiny_server import tiny_app

__all__ = ["browser", "tiny_url"]


@pytest.fixture(scope="module")
def tiny_url() -> Iterator[str]:
    """The endpoint of the tiny server."""
    with serving_app(tiny_app()) as url:
        yield f"{url}/mcp"
