"""A host of others' making shows a widget and gives it both dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.mcp_use import mcp_use_host

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_mcp_use_shows_a_widget_in_both_dialects_and_calls_its_tool(
    browser: Browser, tiny_url: str
) -> None:
    from playwright.sync_api import expect

    with mcp_use_host(browser, tiny_url) as host:
        host.open("add", {"a": 2, "b": 3})
        expect(host.widget.locator("#sum")).to_have_text("5")
        expect(host.widget.locator("#dialect")).to_have_text("openai+ui")
        host.widget.get_by_role("button", name="40 + 2").click()
        expect(host.widget.locator("#sum")).to_have_text("42")
        assert "callTool" in host.frame.evaluate("Object.keys(window.openai)")
        assert host.widget_complaints == []
