"""mcp-use's inspector: a host of others' making that gives widgets both ``ui/*`` and ``window.openai``.

It needs nothing from beyond this machine; what its page asks for there (fonts) it does without.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.bench import free_ports, node_modules, running_node
from tests.browser.browsing import BROWSER_PATIENCE_MS, shot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, FrameLocator, Page

__all__ = ["McpUseHost", "mcp_use_host"]


class McpUseHost:
    """The inspector's page, connected to a server.

    Attributes:
        page: Playwright's page, for all that is not here.
        widget_complaints: errors on the console that come from the widget's document, not from
            the inspector's own pages.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.widget_complaints: list[str] = []
        page.on(
            "console",
            lambda said: (
                self.widget_complaints.append(said.text)
                if said.type == "error" and said.location["url"] in {"", "about:srcdoc"}
                else None
            ),
        )

    def open(self, tool: str, arguments: Mapping[str, object]) -> None:
        """Fill in the form of a tool, call it, and wait until its widget is there."""
        page = self.page
        page.get_by_test_id(f"tool-item-{tool}").click()
        for name, value in arguments.items():
            text = value if isinstance(value, str) else json.dumps(value)
            page.get_by_test_id(f"tool-param-{name}").fill(text)
        page.get_by_test_id("tool-execution-execute-button").click()
        self.widget.locator("body").wait_for(state="attached")

    @property
    def widget(self) -> FrameLocator:
        """The widget's document, to find things in."""
        return self.page.frame_locator("iframe").frame_locator("iframe")

    @property
    def frame(self) -> Frame:
        """The widget's frame, to evaluate things in."""
        frame = self.widget.locator("html").element_handle().owner_frame()
        assert frame is not None
        return frame

    def shot(self, name: str) -> Path:
        """A screenshot of the inspector with the widget in it."""
        return shot(self.page, name)


@contextmanager
def mcp_use_host(browser: Browser, server_url: str) -> Iterator[McpUseHost]:
    """Run the inspector on a free port and open it, connected to an MCP server.

    The widget's frame has the null origin here: no storage, no cookies.
    """
    (port,) = free_ports(1)
    program = node_modules() / "@mcp-use" / "inspector" / "dist" / "cli.js"
    with running_node(
        program,
        *("--port", str(port), "--no-open", "--url", server_url),
        environment={"MCP_USE_ANONYMIZED_TELEMETRY": "false"},
    ) as inspector:
        url = inspector.wait_for(r"started at (http://\S+)").group(1)
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        page.set_default_timeout(BROWSER_PATIENCE_MS)
        try:
            host = McpUseHost(page)
            page.goto(url)
            yield host
        finally:
            page.close()
