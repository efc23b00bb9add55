"""Each ready template in hosts as users have them: shown, used, changed in place, dark and small."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.widgets.hosts.scenes import HOSTS, SCENES, Scene, assert_quiet, settled_shot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DARK, LIGHT = "rgb(20, 25, 24)", "rgb(255, 255, 255)"
WIDE, NARROW = 1000, 360


def strangers(page: Page) -> list[str]:
    """Addresses beyond this machine that the page or a frame of it asks for, from now on."""
    found: list[str] = []

    def look(url: str) -> None:
        if urlsplit(url).hostname not in {"127.0.0.1", "localhost", None}:
            found.append(url)

    page.on("request", lambda request: look(request.url))
    return found


@pytest.mark.parametrize("host_name", HOSTS)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.template)
def test_a_template_shows_its_tool_calls_another_and_changes_in_place(
    browser: Browser, endpoint: str, scene: Scene, host_name: str
) -> None:
    from playwright.sync_api import expect

    with HOSTS[host_name](browser, endpoint, width=WIDE) as host:
        asked = strangers(host.page)
        host.open(scene.tool, {})
        expect(host.widget.get_by_text(scene.shown).first).to_be_visible()
        settled_shot(host, f"{scene.template}-{host_name}-first")

        scene.act(host.widget)
        calls = [each for each in host.events if each["kind"] == "called"]
        names = [
            each["params"]["name"] if "params" in each else each["arguments"][0] for each in calls
        ]
        assert [each for each in names if each != "import_status"] == [*scene.called]

        ground = host.widget.locator("html")
        for theme, color in (("light", LIGHT), ("dark", DARK)):
            host.change(theme=theme)
            expect(ground).to_have_css("background-color", color)
            for width in (WIDE, NARROW):
                host.resize(width)
                settled_shot(host, f"{scene.template}-{host_name}-{theme}-{width}")
                spare = "document.documentElement.scrollWidth - window.innerWidth"
                assert host.frame.evaluate(spare) <= 0
        assert_quiet(host)
        assert asked == []
