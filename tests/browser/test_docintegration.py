"""The page about integrations, in a browser: what it shows, and that it keeps up with what happens."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP, sp
from tests.browser.browsing import Complaints, shot
from tests.browser.integrations import (
    Evil,
    Payments,
    Silent,
    Translate,
    Upstream,
    foreign,
    many,
    shop,
    with_history,
)
from tests.browser.serving import serving_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SECRET = "sk-verysecret"
LIVE = "**/docintegration/live.json*"
VISIBLE = ".card:not([hidden])"


class Quick(EndpointsDeclaration):
    integration = IntegrationHTTP("Quick", doc="Its circuit closes soon.")

    @integration.endpoint(HTTPMethod.get, "/quick")
    @sp.CircuitBreaker(fail_threshold=2, reset_timeout=3, failure_on=(503,))
    @sp.Timeout(10)
    async def translate(api: ApiHTTP, text: str) -> Any:
        """Ask."""
        return await api.send()


@pytest.fixture(scope="module")
def upstream() -> Iterator[tuple[Upstream, str]]:
    app = Upstream()
    with serving_app(app) as url:
        yield app, url


@pytest.fixture(scope="module")
def shop_url(upstream: tuple[Upstream, str]) -> Iterator[str]:
    payments = Payments("https://user:pass@pay.example/api", {"KEY_ID": "1", "KEY_SECRET": SECRET})
    with_history(payments, "charge", seed=1, error=0.01)
    translate = Translate(upstream[1], {"API_TOKEN": SECRET})
    app = shop([translate, payments, Silent("https://warehouse.example"), foreign()])
    with serving_app(app) as url:
        yield f"{url}/docintegration"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that must not complain of anything."""
    with browser.new_page(viewport={"width": 1366, "height": 900}, color_scheme="light") as opened:
        complaints = Complaints(opened)
        yield opened
        assert not complaints


@pytest.fixture
def grumpy(browser: Browser) -> Iterator[Page]:
    """One whose requests fail, which browsers write into the console."""
    with browser.new_page(color_scheme="light") as opened:
        yield opened


def names(page: Page) -> list[str]:
    return page.locator(f"{VISIBLE} .title").all_inner_texts()


def call(url: str) -> str:
    """Let the app call the first of its integrations."""
    with urllib.request.urlopen(url.replace("/docintegration", "/translate"), timeout=20) as answer:
        return str(json.loads(answer.read()))


def heard(page: Page) -> None:
    """Wait until the server has answered once more how it goes."""
    with page.expect_response(LIVE):
        pass


def status_is(page: Page, text: str | re.Pattern[str]) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#status")).to_have_text(text)


def test_all_that_is_declared_is_shown_and_no_secret(page: Page, shop_url: str) -> None:
    from playwright.sync_api import expect

    page.goto(shop_url)
    expect(page.locator(".integration h2")).to_have_text(
        ["Google Translate", "Payment gateway", "Warehouse", "Old way"]
    )
    expect(page).to_have_title("Integrations · Shop")
    charge = page.locator('[data-id="payment-gateway.charge"]')
    expect(charge.locator(".chain b")).to_have_text(
        ["Fallback", "RetryPattern", "CircuitBreaker", "Throttling", "Bulkhead", "Timeout"]
    )
    expect(charge.locator(".figure b").first).to_have_text("759")
    expect(page.locator('[data-id="warehouse"] .nothing')).to_be_visible()
    charge.get_by_text("Arguments and answers").click()
    expect(charge.locator(".call")).to_have_text("charge(order_id, amount, currency=Currency.EUR)")
    expect(charge.locator(".answer > summary b")).to_have_text(["2xx", "402", "409"])
    expect(charge.get_by_text("In cents.")).to_be_visible()
    # A model that contains itself opens as deep as somebody likes.
    for _ in range(3):
        charge.locator(".nested:not([open]) > summary").last.click()
    assert charge.locator(".nested .nested .nested").count() >= 1
    charge.get_by_role("button", name="JSON schema").first.click()
    schema = json.loads(charge.locator("pre").inner_text())
    assert schema["properties"]["amount"]["exclusiveMinimum"] == 0
    assert SECRET not in page.content()
    assert "user:pass" not in page.content()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("languages/", ["language"]),
        ("delete", ["refund"]),
        ("payment patch", ["capture"]),
        ("captured_at note", ["note"]),
        ("circuitbreaker", ["translate", "charge"]),
        ("markup", ["translate"]),
        ("API_nothing", []),
    ],
    ids=["path", "method", "two words", "field", "pattern", "documentation", "nothing"],
)
def test_the_search_finds_what_is_declared(
    page: Page, shop_url: str, words: str, found: list[str]
) -> None:
    from playwright.sync_api import expect

    page.goto(shop_url)
    expect(page.locator(VISIBLE)).to_have_count(8)
    page.keyboard.press("/")
    page.keyboard.type(words)
    assert names(page) == found
    assert page.locator(".side li:not([hidden])").count() == len(found)
    expect(page.locator("#blank")).to_be_visible(visible=not found)
    page.keyboard.press("Escape")
    assert len(names(page)) == 8


def test_a_search_says_which_field_it_has_found(page: Page, shop_url: str) -> None:
    from playwright.sync_api import expect

    page.goto(shop_url)
    page.get_by_role("searchbox").fill("captured_at note")
    expect(page.locator(f"{VISIBLE} .found")).to_have_text("Has captured_at")


def test_looks_follow_the_system_until_somebody_chooses_and_that_is_kept(
    page: Page, shop_url: str
) -> None:
    def ground() -> Any:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.goto(shop_url)
    light = ground()
    page.emulate_media(color_scheme="dark")
    dark = ground()
    assert light != dark
    page.get_by_role("button", name="Light or dark").click()
    assert ground() == light
    page.reload()
    assert ground() == light
    page.keyboard.press("t")
    assert ground() == dark


def test_a_breaker_is_seen_to_open_to_let_one_try_and_to_close(
    page: Page, upstream: tuple[Upstream, str]
) -> None:
    from playwright.sync_api import expect

    other, address = upstream
    with serving_app(shop([Quick(address)])) as url:
        page.goto(f"{url}/docintegration")
        breaker = page.locator('[data-kind="CircuitBreaker"]')
        expect(breaker).to_have_attribute("data-state", "closed")
        expect(page.locator(".quietly")).to_have_text("No calls yet")
        other.fails = True
        try:
            for _ in range(3):
                call(f"{url}/docintegration")
        finally:
            other.fails = False
        expect(breaker).to_have_attribute("data-state", "open")
        expect(breaker).to_contain_text(re.compile("one call may try (in . s|now)"))
        expect(page.locator(".sums")).to_contain_text("1 open")
        expect(page.locator(".figures")).to_be_visible()
        expect(breaker).to_have_attribute("data-state", "half-open")
        page.get_by_role("button", name="Trouble").click()
        assert names(page) == ["translate"]
        assert call(f"{url}/docintegration") == "{'text': 'Hallo'}"
        expect(breaker).to_have_attribute("data-state", "closed")
        expect(page.locator(".sums")).to_contain_text("all closed")
        # Three of the four calls failed; the chart says so to those who cannot see it.
        expect(page.get_by_role("img", name=re.compile("^Errors.*75 % failed"))).to_be_visible()


def test_nothing_is_made_anew_when_figures_change(page: Page, shop_url: str) -> None:
    page.goto(shop_url)
    page.locator(".figures:not([hidden])").first.wait_for()
    fold = page.locator('[data-id="payment-gateway.charge"] .fold')
    fold.locator("> summary").click()
    page.evaluate(
        """() => {
          window.before = [...document.querySelectorAll("main *")];
          window.changes = 0;
          new MutationObserver((all) => { changes += all.filter((each) => each.type === "childList" && each.target.closest(".card")).length; })
            .observe(document.querySelector("#list"), { childList: true, subtree: true });
          scrollTo(0, 200);
        }"""
    )
    for _ in range(2):
        heard(page)
    page.wait_for_function("document.querySelector('#status').textContent === 'Live'")
    assert page.evaluate("before.every((each) => each.isConnected)")
    assert page.evaluate("window.changes") == 0
    assert page.evaluate("scrollY") == 200
    assert fold.get_attribute("open") is not None


def test_nothing_that_others_have_written_runs_or_becomes_markup(
    page: Page,
) -> None:
    from playwright.sync_api import expect

    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    with serving_app(shop([Evil("https://evil.example")])) as url:
        page.goto(f"{url}/docintegration")
        ask = page.locator(".card").first
        ask.get_by_text("Arguments and answers").click()
        expect(page.locator("h2")).to_have_text([re.compile("^<img src=x onerror"), "Keys"])
        page.get_by_role("searchbox").fill("onerror")
        heard(page)
        assert page.title() == "Integrations · Shop"
        assert page.locator("main img").count() == 0
        assert page.locator("script").count() == 2
        # Neither of its links is one of the web.
        assert page.locator(".out").count() == 0


def test_markup_could_not_even_be_written_by_mistake(grumpy: Page, shop_url: str) -> None:
    grumpy.goto(shop_url)
    tried = grumpy.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return 'written'; } catch (e) { return e.name; } }"
    )
    assert tried == "TypeError"


def test_keys_lead_through_the_endpoints(page: Page, shop_url: str) -> None:
    from playwright.sync_api import expect

    page.goto(shop_url)
    expect(page.locator(VISIBLE)).to_have_count(8)

    def focused() -> Any:
        return page.evaluate("document.activeElement.closest('.card')?.dataset.id")

    page.keyboard.press("j")
    assert focused() == "google-translate.translate"
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert focused() == "payment-gateway.charge"
    assert page.url.endswith("#payment-gateway.charge")
    top = page.locator('[data-id="payment-gateway.charge"]').bounding_box()
    assert top is not None
    assert top["y"] >= page.evaluate("document.querySelector('.top').offsetHeight")
    page.keyboard.press("o")
    expect(page.locator('[data-id="payment-gateway.charge"] .inside')).to_be_visible()
    page.keyboard.press("k")
    assert focused() == "google-translate.language"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    # In the search they are letters.
    page.keyboard.press("/")
    page.keyboard.type("jo")
    expect(page.get_by_role("searchbox")).to_have_value("jo")


def test_a_link_to_an_endpoint_leads_there_though_it_was_filtered(
    page: Page, shop_url: str
) -> None:
    from playwright.sync_api import expect

    page.goto(f"{shop_url}#payment-gateway.refund")
    refund = page.locator('[data-id="payment-gateway.refund"]')
    expect(refund).to_have_attribute("data-selected", "")
    expect(refund).to_be_in_viewport()
    page.get_by_role("searchbox").fill("translate")
    expect(refund).to_be_hidden()
    page.evaluate("location.hash = '#payment-gateway.capture'")
    expect(page.locator('[data-id="payment-gateway.capture"]')).to_be_in_viewport()
    expect(page.get_by_role("searchbox")).to_have_value("")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_a_phone(page: Page, shop_url: str, width: int) -> None:
    from playwright.sync_api import expect

    page.set_viewport_size({"width": width, "height": 800})
    page.goto(shop_url)
    expect(page.locator(VISIBLE)).to_have_count(8)
    for each in page.locator(".fold > summary").all():
        each.click()
    page.locator(".more > summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".side .group").nth(1).click()
    expect(page.locator('[data-id="payment-gateway"] h2')).to_be_in_viewport()


CONTRAST = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => { pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); return [...pen.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
  const ground = (node) => { for (; node; node = node.parentElement) { const found = rgba(getComputedStyle(node).backgroundColor); if (found[3] > 200) return found; } return [255, 255, 255]; };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    if (![...node.childNodes].some((each) => each.nodeType === 3 && each.data.trim()) || !node.checkVisibility() || node.closest("noscript, .skip, dialog")) continue;
    const [a, b] = [light(rgba(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${node.className || node.tagName}: ${node.textContent.slice(0, 40)}`);
  }
  return found;
}"""


@pytest.mark.parametrize("look", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(
    page: Page, shop_url: str, look: str, upstream: tuple[Upstream, str]
) -> None:
    page.emulate_media(color_scheme=look)  # type: ignore[arg-type]
    page.goto(shop_url)
    page.locator(".figures:not([hidden])").first.wait_for()
    for each in page.locator(".fold > summary").all():
        each.click()
    page.get_by_role("searchbox").fill("amount")
    shot(page, f"docintegration {look}")
    assert page.evaluate(CONTRAST) == []


def test_while_the_app_is_away_the_page_stays_and_says_so(grumpy: Page, shop_url: str) -> None:
    from playwright.sync_api import expect

    grumpy.goto(shop_url)
    status_is(grumpy, "Live")
    shown = grumpy.locator('[data-id="payment-gateway.charge"] .figure b').first.inner_text()
    grumpy.route(LIVE, lambda route: route.abort())
    status_is(grumpy, re.compile(r"The app is away; figures of \d+ s ago"))
    expect(grumpy.locator('[data-id="payment-gateway.charge"] .figure b').first).to_have_text(shown)
    grumpy.get_by_role("searchbox").fill("refund")
    assert names(grumpy) == ["refund"]
    grumpy.unroute(LIVE)
    status_is(grumpy, "Live")


def test_an_app_that_is_away_from_the_beginning_is_waited_for(grumpy: Page, shop_url: str) -> None:
    from playwright.sync_api import expect

    grumpy.route("**/docintegration.json", lambda route: route.abort())
    grumpy.goto(shop_url)
    status_is(grumpy, re.compile("The app is away"))
    grumpy.unroute("**/docintegration.json")
    status_is(grumpy, "Live")
    expect(grumpy.locator(VISIBLE)).to_have_count(8)


@pytest.mark.parametrize(
    ("status", "said"),
    [(503, "The app answers 503"), (404, "The page is closed"), (401, "Not allowed: log in")],
    ids=str,
)
def test_what_the_app_says_instead_is_told(
    grumpy: Page, shop_url: str, status: int, said: str
) -> None:
    grumpy.goto(shop_url)
    status_is(grumpy, "Live")
    grumpy.route(LIVE, lambda route: route.fulfill(status=status, body="no"))
    status_is(grumpy, re.compile(said))
    grumpy.unroute(LIVE)
    status_is(grumpy, "Live")


def test_an_app_that_comes_back_with_other_code_is_read_anew(page: Page, shop_url: str) -> None:
    from playwright.sync_api import expect

    page.goto(shop_url)
    page.locator('[data-id="payment-gateway.charge"] .fold > summary').click()

    def renewed(route: Any) -> None:
        answer = route.fetch()
        body = {**answer.json(), "document": "other"}
        if "integrations" in body:
            body["integrations"] = body["integrations"][1:]
        route.fulfill(response=answer, json=body)

    page.route("**/docintegration.json", renewed)
    page.route(LIVE, renewed)
    expect(page.locator(".integration h2")).to_have_text(
        ["Payment gateway", "Warehouse", "Old way"]
    )
    # What was open is open again.
    expect(page.locator('[data-id="payment-gateway.charge"] .inside')).to_be_visible()


def test_each_process_is_shown_by_itself(page: Page, shop_url: str) -> None:
    from playwright.sync_api import expect

    turn = [0]

    def one_of_two(route: Any) -> None:
        answer = route.fetch()
        body = answer.json()
        turn[0] += 1
        if turn[0] % 2 == 0:
            body["process"] = {"id": "other", "host": "elsewhere", "pid": 2}
            charge = body["endpoints"]["payment-gateway.charge"]["statistics"]
            charge["window"]["calls"] = 1
        route.fulfill(response=answer, json=body)

    page.route(LIVE, one_of_two)
    page.goto(shop_url)
    chosen = page.get_by_role("combobox", name="Process")
    expect(chosen).to_be_visible()
    expect(chosen.locator("option")).to_have_count(2)
    calls = page.locator('[data-id="payment-gateway.charge"] .figure b').first
    for _ in range(3):  # whoever answers, the figures are those of the first
        heard(page)
        expect(calls).to_have_text("759")
    chosen.select_option("other")
    expect(calls).to_have_text("1")


class _Proxy:
    """Takes a prefix away, as proxies do."""

    def __init__(self, app: Any, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if not scope["path"].startswith(f"{self._prefix}/"):
                await send({"type": "http.response.start", "status": 404, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
            path = scope["path"].removeprefix(self._prefix)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


def test_it_works_behind_a_proxy_that_takes_a_prefix_away(page: Page) -> None:
    from playwright.sync_api import expect

    app = _Proxy(shop([Translate("https://translate.example")]), "/api/v1")
    with serving_app(app) as url:
        page.goto(f"{url}/api/v1/docintegration")
        status_is(page, "Live")
        expect(page.locator(VISIBLE)).to_have_count(2)


def test_two_hundred_endpoints_are_made_once_and_drawn_where_somebody_looks(page: Page) -> None:
    from playwright.sync_api import expect

    service = many(200)
    with_history(service, *service.endpoints(), seed=3, error=0.02)
    with serving_app(shop([service])) as url:
        page.goto(f"{url}/docintegration")
        expect(page.locator(VISIBLE)).to_have_count(200)
        page.locator(".figures:not([hidden])").first.wait_for()
        assert page.locator(".figures:not([hidden])").count() < 30
        assert page.locator(".inside").count() == 0
        page.get_by_role("searchbox").fill("thing_19 things/199")
        assert names(page) == ["thing_199"]
        expect(page.locator(f"{VISIBLE} .figures")).to_be_visible()


def test_names_of_integrations_do_not_get_into_the_pages_own_way(page: Page) -> None:
    from playwright.sync_api import expect

    def named(name: str) -> Any:
        integration = SimpleNamespace(name=name, docs={"methods": [{"name": "keys"}]})
        return SimpleNamespace(integration=integration, base_url="")

    own = ["Help", "Search", "Blank", "Endpoints", "List", "Status", "__proto__"]
    with serving_app(shop([named(each) for each in own])) as url:
        page.goto(f"{url}/docintegration#help.keys")
        expect(page.locator('[data-id="help.keys"]')).to_have_attribute("data-selected", "")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        page.get_by_role("searchbox").fill("status")
        expect(page.locator(".integration:not([hidden]) h2")).to_have_text("Status")
        heard(page)
        status_is(page, "Live")


def test_without_integrations_it_says_how_to_have_some(page: Page) -> None:
    from playwright.sync_api import expect

    with serving_app(shop([])) as url:
        page.goto(f"{url}/docintegration")
        expect(page.locator("#blank")).to_contain_text("base_pattern(useintegration=[...])")
