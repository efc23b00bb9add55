"""What a host offers beside calls: state that lasts, another display mode, links, language, the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from tests.browser.bench import FOLDER
from tests.browser.hosts import app_bridge_host, openai_host
from tests.browser.serving import serving_app
from tests.widgets.hosts.app import PHOTOS
from tests.widgets.hosts.scenes import HOSTS, SCENES, assert_quiet, settled_shot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FrameLocator

MANY = {"items": [{"id": "1", "title": "Only this one"}]}


def open_album(page: FrameLocator) -> None:
    from playwright.sync_api import expect

    page.get_by_role("button", name="Coast path").click()
    expect(page.locator(".grid li")).to_have_count(5)


async def sandbox(request: Request) -> Response:
    """The bench's sandbox page under the policy of its address."""
    policy = {"Content-Security-Policy": request.query_params["csp"]}
    return FileResponse(FOLDER / "pages" / "sandbox.html", headers=policy)


def test_view_state_is_told_the_model_and_outlives_the_view_where_the_frame_has_storage(
    browser: Browser, endpoint: str
) -> None:
    from playwright.sync_api import expect

    # Another port is another origin, but the same site: no third party, whose storage is blocked.
    same_site = Starlette(routes=[Route("/sandbox.html", sandbox)])
    with (
        serving_app(same_site) as sandbox_origin,
        app_bridge_host(browser, endpoint) as host,
    ):
        host.page.evaluate("origin => { host.sandboxOrigin = origin }", sandbox_origin)
        host.open("show_albums", {})
        open_album(host.widget)
        told = host.wait("update-model-context")
        assert told["structuredContent"] == {"album": "a2", "photo": None}
        host.close_widget()
        expect(host.page.locator("iframe")).to_have_count(0)

        host.open("show_albums", {})
        expect(host.widget.get_by_role("heading", name="Coast path")).to_be_visible()
        expect(host.widget.locator(".grid li")).to_have_count(5)
        assert_quiet(host)


def test_without_storage_the_next_view_begins_anew_and_nobody_complains(
    browser: Browser, endpoint: str
) -> None:
    from playwright.sync_api import expect

    with app_bridge_host(browser, endpoint) as host:
        host.open("show_albums", {})
        open_album(host.widget)
        denied = "() => { try { return localStorage.length } catch (error) { return error.name } }"
        assert host.frame.evaluate(denied) == "SecurityError"
        host.close_widget()
        host.open("show_albums", {})
        expect(host.widget.get_by_role("button", name="Coast path")).to_be_visible()
        assert_quiet(host)


def test_view_state_is_kept_by_the_other_host_and_given_to_the_next_view(
    browser: Browser, endpoint: str
) -> None:
    from playwright.sync_api import expect

    with openai_host(browser, endpoint) as host:
        host.open("show_albums", {})
        open_album(host.widget)
        kept = host.wait("setWidgetState")["arguments"][0]
        assert kept == {"album": "a2", "photo": None}
        host.close_widget()

        host.open("show_albums", {}, globals={"widgetState": kept})
        expect(host.widget.get_by_role("heading", name="Coast path")).to_be_visible()
        expect(host.widget.locator(".grid li")).to_have_count(5)
        assert_quiet(host)


@pytest.mark.parametrize(
    ("host_name", "asked"),
    [("app-bridge", "request-display-mode"), ("openai", "requestDisplayMode")],
)
def test_a_photo_asks_for_the_full_screen_and_the_page_knows_that_it_has_it(
    browser: Browser, endpoint: str, host_name: str, asked: str
) -> None:
    from playwright.sync_api import expect

    with HOSTS[host_name](browser, endpoint, width=1000) as host:
        host.open("show_albums", {})
        open_album(host.widget)
        host.widget.get_by_role("button", name="Coast path 2").click()
        full = host.widget.get_by_role("button", name="Full screen")
        full.click()
        wanted = host.wait(asked)
        assert (wanted.get("mode") or wanted["arguments"][0]["mode"]) == "fullscreen"
        expect(host.widget.locator("html")).to_have_attribute("data-display-mode", "fullscreen")
        expect(full).to_have_count(0)
        expect(host.widget.get_by_role("button", name="Close")).to_be_focused()
        host.page.locator("iframe").evaluate("frame => { frame.style.height = '900px' }")
        photo = host.widget.get_by_role("img", name="Coast path 2")
        expect(photo).to_have_css("height", "723px")  # as wide as the page: 964 by 4 : 3
        host.shot(f"photo-{host_name}-full")
        host.change(displayMode="inline")
        expect(host.widget.locator("html")).to_have_attribute("data-display-mode", "inline")
        expect(full).to_be_visible()
        settled_shot(host, f"photo-{host_name}-inline")
        assert_quiet(host)


@pytest.mark.parametrize(
    ("host_name", "asked", "wanted"),
    [
        ("app-bridge", "open-link", {"url": "https://example.com/graca"}),
        ("openai", "openExternal", {"arguments": [{"href": "https://example.com/graca"}]}),
    ],
)
def test_links_are_opened_by_the_host(
    browser: Browser, endpoint: str, host_name: str, asked: str, wanted: dict[str, Any]
) -> None:
    with HOSTS[host_name](browser, endpoint) as host:
        host.open("find_places", {})
        host.widget.get_by_role("link", name="Miradouro da Graça").click()
        assert host.wait(asked) == {"kind": asked, **wanted}
        assert_quiet(host)


@pytest.mark.parametrize(
    ("locale", "title"), [("de-AT", "Gemerkte Orte"), ("fr-FR", "Saved places")]
)
def test_the_locale_that_a_host_sends_with_its_calls_reaches_the_tool(
    browser: Browser, endpoint: str, locale: str, title: str
) -> None:
    from playwright.sync_api import expect

    with openai_host(browser, endpoint) as host:
        host.open("find_places", {}, globals={"locale": locale})
        expect(host.widget.get_by_role("heading", name=title)).to_be_visible()
        expect(host.widget.locator("html")).to_have_attribute("lang", locale)


def test_the_locale_that_a_host_tells_the_page_writes_its_numbers(
    browser: Browser, endpoint: str
) -> None:
    from playwright.sync_api import expect

    with app_bridge_host(browser, endpoint) as host:
        host.open("show_orders", {}, hostContext={"locale": "de-AT"})
        expect(host.widget.locator("html")).to_have_attribute("lang", "de-AT")
        expect(host.widget.locator(".plot text", has_text="2. März")).to_be_visible()
        host.change(locale="ar")
        expect(host.widget.locator("html")).to_have_attribute("dir", "rtl")


def test_another_result_takes_the_place_of_the_one_on_show(browser: Browser, endpoint: str) -> None:
    from playwright.sync_api import expect

    with app_bridge_host(browser, endpoint) as host:
        host.open("find_places", {"text": "livraria"})
        expect(host.widget.locator(".row")).to_have_count(1)
        host.call("result", {"content": [], "structuredContent": MANY})
        expect(host.widget.get_by_text("Only this one")).to_be_visible()
    with openai_host(browser, endpoint) as host:
        host.open("find_places", {"text": "livraria"}, late=True)
        expect(host.widget.locator(".row")).to_have_count(1)
        host.change(toolOutput=MANY)
        expect(host.widget.get_by_text("Only this one")).to_be_visible()


def test_bones_are_shown_while_the_tool_runs_and_a_cancelled_call_is_told(
    browser: Browser, endpoint: str
) -> None:
    from playwright.sync_api import expect

    with app_bridge_host(browser, endpoint) as host:
        host.open("find_places", {}, call=False)
        expect(host.widget.locator("main[aria-busy] .bone").first).to_be_visible()
        host.call("cancel", "the user said stop")
        expect(host.widget.get_by_role("alert")).to_contain_text("the user said stop")
        assert_quiet(host)


def test_a_page_that_polls_asks_no_more_once_the_host_has_ended_it(
    browser: Browser, endpoint: str
) -> None:
    from playwright.sync_api import expect

    with app_bridge_host(browser, endpoint) as host:
        host.open("import_catalogue", {})
        expect(host.widget.get_by_role("button", name="Go on")).to_be_visible()
        host.close_widget()
        expect(host.page.locator("iframe")).to_have_count(0)
        asked = [each for each in host.events if each["kind"] == "call"]
        # A new view of the same host, so that time has passed and messages have been heard.
        host.open("find_places", {})
        expect(host.widget.locator(".row")).to_have_count(4)
        assert [each for each in host.events if each["kind"] == "call"] == asked
        assert_quiet(host)


def test_without_a_handshake_a_template_works_as_well(browser: Browser, endpoint: str) -> None:
    from playwright.sync_api import expect

    scene = SCENES[0]
    with app_bridge_host(browser, endpoint, era="2026-07-28") as host:
        host.open(scene.tool, {})
        expect(host.widget.get_by_text(scene.shown)).to_be_visible()
        scene.act(host.widget)
        host.assert_quiet()  # nobody asks for a stream in that era


@pytest.mark.parametrize("host_name", HOSTS)
def test_both_dialects_declare_the_same_policy_and_it_is_the_one_in_force(
    browser: Browser, endpoint: str, host_name: str
) -> None:
    with HOSTS[host_name](browser, endpoint) as host:
        opened = host.open("show_albums", {})
        assert opened["meta"]["ui"]["csp"] == {"resourceDomains": [PHOTOS]}
        assert opened["meta"]["openai/widgetCSP"] == {
            "connect_domains": [],
            "resource_domains": [PHOTOS],
        }
        assert "csp" not in host.tools["show_albums"]["_meta"]["ui"]
        blocked = host.frame.evaluate(
            """url => new Promise((resolve) => {
              addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
              document.body.append(Object.assign(new Image(), { src: url }));
            })""",
            f"{endpoint}/elsewhere.png",
        )
        assert blocked == "img-src"
