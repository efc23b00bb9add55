"""What the tests in real hosts share: a browser, and the service in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.fixtures import browser
from tests.widgets.hosts.process import serving_process

__all__ = ["browser", "endpoint"]


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the service's MCP endpoint is."""
    database: Path = tmp_path_factory.mktemp("hosts") / "hosts.db"
    with serving_process("tests.widgets.hosts.app:app", database) as url:
        yield f"{url}/mcp"
