"""Each ready template in a host of others' making, which speaks both dialects at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.mcp_use import McpUseHost, mcp_use_host
from tests.widgets.hosts.scenes import SCENES, Scene

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def host(browser: Browser, endpoint: str) -> Iterator[McpUseHost]:
    with mcp_use_host(browser, endpoint) as opened:
        yield opened


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.template)
def test_a_template_works_where_both_dialects_are_spoken(host: McpUseHost, scene: Scene) -> None:
    from playwright.sync_api import expect

    host.page.reload()
    host.open(scene.tool, {})
    expect(host.widget.get_by_text(scene.shown).first).to_be_visible()
    assert host.frame.evaluate("backstay.dialect") == "ui"
    assert "callTool" in host.frame.evaluate("Object.keys(window.openai)")
    scene.act(host.widget)
    host.shot(f"{scene.template}-mcp-use")
    assert host.widget_complaints == []
