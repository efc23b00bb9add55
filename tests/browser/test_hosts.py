"""The two host pages show a widget, each in its own dialect, and pass on what it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.hosts import app_bridge_host, openai_host
from tests.browser.serving import serving_app
from tests.browser.tiny_server import RESOURCE_META, URI, tiny_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GIVEN = {"a": 2, "b": 3}


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
def test_the_app_bridge_shows_a_widget_with_the_result_of_its_tool(
    browser: Browser, tiny_url: str, era: str
) -> None:
    from playwright.sync_api import expect

    with app_bridge_host(browser, tiny_url, era=era) as host:
        assert host.server["name"] == "tiny"
        assert set(host.tools) == {"add", "plain"}
        opened = host.open("add", GIVEN)
        expect(host.widget.locator("#sum")).to_have_text("5")
        expect(host.widget.locator("#dialect")).to_have_text("ui")
        assert opened["uri"] == URI
        assert opened["meta"] == RESOURCE_META
        assert opened["result"]["structuredContent"] == {"sum": 5}
        host.assert_quiet()


def test_the_app_bridge_passes_on_what_a_widget_asks_for(browser: Browser, tiny_url: str) -> None:
    from playwright.sync_api import expect

    with app_bridge_host(browser, tiny_url) as host:
        host.open("add", GIVEN)
        assert host.wait("size-changed")["height"] > 0
        host.widget.get_by_role("button", name="40 + 2").click()
        assert host.wait("called")["params"] == {"name": "add", "arguments": {"a": 40, "b": 2}}
        expect(host.widget.locator("#sum")).to_have_text("42")
        host.widget.get_by_role("button", name="say it").click()
        assert host.wait("message")["content"] == [{"type": "text", "text": "said"}]


def test_the_app_bridge_tells_a_widget_theme_locale_and_their_change(
    browser: Browser, tiny_url: str
) -> None:
    from playwright.sync_api import expect

    with app_bridge_host(browser, tiny_url) as host:
        host.open("add", GIVEN, hostContext={"theme": "dark", "locale": "de-DE"})
        expect(host.widget.locator("#theme")).to_have_text("dark")
        expect(host.widget.locator("#locale")).to_have_text("de-DE")
        host.change(theme="light")
        expect(host.widget.locator("#theme")).to_have_text("light")


def test_a_widget_answers_before_the_app_bridge_takes_it_away(
    browser: Browser, tiny_url: str
) -> None:
    from playwright.sync_api import expect

    with app_bridge_host(browser, tiny_url) as host:
        host.open("add", GIVEN)
        host.close_widget()
        expect(host.page.locator("iframe")).to_have_count(0)


def test_a_widget_in_the_app_bridge_has_another_origin_than_the_host(
    browser: Browser, tiny_url: str
) -> None:
    with app_bridge_host(browser, tiny_url) as host:
        host.open("add", GIVEN)
        origin = host.frame.evaluate("location.ancestorOrigins[0]")
        assert "//localhost:" in origin
        assert "//127.0.0.1:" in host.page.url
        reach = "() => { try { return top.document.title } catch (error) { return error.name } }"
        assert host.frame.evaluate(reach) == "SecurityError"


FETCH = "url => fetch(url, {mode: 'no-cors'}).then(() => 'sent', () => 'not sent')"
BLOCKED = "violates the following Content Security Policy directive"


@pytest.mark.parametrize("host_of", [app_bridge_host, openai_host])
def test_what_the_declared_policy_does_not_allow_is_blocked_and_complained_of(
    browser: Browser, tiny_url: str, host_of: object
) -> None:
    assert callable(host_of)
    with host_of(browser, tiny_url) as host:
        host.open("add", GIVEN)
        # Nothing is out there: what is allowed fails too, but not by the policy.
        assert host.frame.evaluate(FETCH, "https://api.example.com/") == "not sent"
        with host.page.expect_console_message(lambda said: BLOCKED in said.text):
            assert host.frame.evaluate(FETCH, tiny_url) == "not sent"
        blocked = [each for each in host.complaints if BLOCKED in each]
        assert len(blocked) == 1
        assert tiny_url in blocked[0]
        with pytest.raises(AssertionError):
            host.assert_quiet()


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
def test_the_other_host_gives_a_widget_window_openai_and_nothing_else(
    browser: Browser, tiny_url: str, late: bool
) -> None:
    from playwright.sync_api import expect

    with openai_host(browser, tiny_url) as host:
        opened = host.open("add", GIVEN, late=late, globals={"theme": "dark", "locale": "fr-FR"})
        expect(host.widget.locator("#sum")).to_have_text("5")
        expect(host.widget.locator("#dialect")).to_have_text("openai")
        expect(host.widget.locator("#theme")).to_have_text("dark")
        expect(host.widget.locator("#locale")).to_have_text("fr-FR")
        host.change(theme="light")
        expect(host.widget.locator("#theme")).to_have_text("light")
        assert opened["meta"] == RESOURCE_META
        assert host.wait("unanswered")["method"] == "ui/initialize"
        host.assert_quiet()


def test_calls_by_window_openai_reach_the_server_and_state_the_host(
    browser: Browser, tiny_url: str
) -> None:
    from playwright.sync_api import expect

    with openai_host(browser, tiny_url) as host:
        host.open("add", GIVEN)
        host.widget.get_by_role("button", name="40 + 2").click()
        expect(host.widget.locator("#sum")).to_have_text("42")
        assert host.wait("callTool")["arguments"] == ["add", {"a": 40, "b": 2}]
        assert host.wait("setWidgetState")["arguments"] == [{"pressed": True}]
        assert host.frame.evaluate("openai.widgetState") == {"pressed": True}
        host.widget.get_by_role("button", name="say it").click()
        assert host.wait("sendFollowUpMessage")["arguments"] == [{"prompt": "said"}]


@pytest.mark.parametrize("host_of", [app_bridge_host, openai_host])
def test_a_tool_without_a_widget_cannot_be_opened(
    browser: Browser, tiny_url: str, host_of: object
) -> None:
    from playwright.sync_api import Error

    assert callable(host_of)
    with host_of(browser, tiny_url) as host, pytest.raises(Error, match="the tool plain has no"):
        host.open("plain", {})


@pytest.mark.parametrize("host_of", [app_bridge_host, openai_host])
def test_a_server_that_browsers_of_other_origins_may_not_call_is_not_reached(
    browser: Browser, host_of: object
) -> None:
    from playwright.sync_api import Error

    assert callable(host_of)
    closed = tiny_app()
    closed.user_middleware.clear()
    with serving_app(closed) as url, pytest.raises(Error, match="Failed to fetch"):
        with host_of(browser, f"{url}/mcp"):
            pass
