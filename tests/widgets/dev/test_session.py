"""``backstay widgets dev`` in a real browser: the inspector hosts, calls, logs and keeps up."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.js.toolchain import require_builder
from tests.widgets.dev.run import FILES, HARBOUR, TIDES, Inspector, Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Inspecting = Callable[..., Run]


@contextmanager
def opened(browser: Browser, run: Run, **options: Any) -> Iterator[Inspector]:
    inspector = Inspector(browser, run, **options)
    try:
        yield inspector
    finally:
        inspector.page.close()


@pytest.mark.parametrize(("dialect", "name"), [("MCP Apps", "ui"), ("ChatGPT", "openai")])
def test_a_widget_is_called_and_shown_in_either_dialect(
    browser: Browser, harbour: Run, dialect: str, name: str
) -> None:
    from playwright.sync_api import expect

    with opened(browser, harbour) as inspector:
        expect(inspector.page.locator("#status")).to_have_text("Harbour guide 2.4")
        expect(inspector.page.locator("[data-tool]")).to_have_count(2)
        inspector.press("dialect", dialect) if name == "openai" else None
        inspector.choose("tides")
        inspector.fill("city", "Cascais")
        inspector.call()
        inspector.shows("#line", "Cascais: 3 days")
        inspector.shows("#dialect", name)
        inspector.widget.locator("#ask").click()
        inspector.shows("#deep", "4.5")
        inspector.press("theme", "Dark")
        inspector.shows("#theme", "dark")
        inspector.press("theme", "Light")
        inspector.shows("#theme", "light")
        log = inspector.page.locator("#log")
        expect(log.locator("[data-lane=mcp]", has_text="tools/call")).to_have_count(2)
        expect(log.locator("[data-lane=view]", has_text="depth")).to_have_count(1)
        inspector.page.locator("#tab-result").click()
        expect(inspector.page.locator("#panel-result")).to_contain_text("Cascais: 3 days")
        assert inspector.complaints == []


def test_switching_dialects_shows_the_same_result_without_a_new_call(
    browser: Browser, harbour: Run
) -> None:
    from playwright.sync_api import expect

    with opened(browser, harbour) as inspector:
        inspector.choose("tides")
        inspector.fill("city", "Faro")
        inspector.call()
        inspector.shows("#dialect", "ui")
        inspector.press("dialect", "ChatGPT")
        inspector.shows("#dialect", "openai")
        inspector.shows("#line", "Faro: 3 days")
        calls = inspector.page.locator("#log [data-lane=mcp]", has_text="tools/call")
        expect(calls).to_have_count(1)


def test_a_widget_has_another_origin_than_the_inspector(browser: Browser, harbour: Run) -> None:
    with opened(browser, harbour) as inspector:
        inspector.choose("tides")
        inspector.fill("city", "Faro")
        inspector.call()
        inspector.shows("#line", "Faro: 3 days")
        handle = inspector.widget.locator("html").element_handle()
        frame = handle.owner_frame()
        assert frame is not None
        reach = "() => { try { return top.document.title } catch (error) { return error.name } }"
        assert frame.evaluate(reach) == "SecurityError"


def test_a_tool_without_a_widget_shows_what_it_answers(browser: Browser, harbour: Run) -> None:
    from playwright.sync_api import expect

    with opened(browser, harbour) as inspector:
        inspector.choose("depth")
        inspector.call()
        expect(inspector.page.locator(".answer")).to_contain_text("4.5")


def test_an_error_shows_the_id_that_the_servers_log_has(browser: Browser, harbour: Run) -> None:
    from playwright.sync_api import expect

    with opened(browser, harbour) as inspector:
        inspector.choose("tides")
        inspector.fill("city", "Atlantis")
        inspector.call()
        expect(inspector.page.locator("#say")).to_contain_text("The tool answered with an error")
        pill = inspector.page.locator("#log .failed .pill").first
        expect(pill).to_contain_text("error_id")
        assert pill.get_attribute("title")
        harbour.wait_for("no such place on any chart")


def test_inputs_that_will_not_do_are_told_at_their_field(browser: Browser, harbour: Run) -> None:
    from playwright.sync_api import expect

    with opened(browser, harbour) as inspector:
        inspector.choose("tides")
        inspector.fill("days", "2.5")
        inspector.call()
        expect(inspector.page.locator("#inputs")).to_contain_text("Not a whole number")
        expect(inspector.page.locator("#log [data-lane=mcp]", has_text="tools/call")).to_have_count(
            0
        )


def test_inputs_can_be_written_as_json_and_go_back_into_the_form(
    browser: Browser, harbour: Run
) -> None:
    from playwright.sync_api import expect

    with opened(browser, harbour) as inspector:
        inspector.choose("tides")
        inspector.press("writing", "JSON")
        editor = inspector.page.get_by_label("Inputs as JSON")
        editor.fill('{"city": "Sines", "days": 5}')
        inspector.call()
        inspector.shows("#line", "Sines: 5 days")
        inspector.press("writing", "Form")
        expect(inspector.page.get_by_label("city").first).to_have_value("Sines")


def test_a_page_that_changes_is_shown_anew_without_a_restart(
    browser: Browser, inspecting: Inspecting
) -> None:
    from playwright.sync_api import expect

    run = inspecting(FILES)
    with opened(browser, run) as inspector:
        inspector.choose("tides")
        inspector.fill("city", "Faro")
        inspector.call()
        inspector.shows("#line", "Faro: 3 days")
        run.write("tides.html", "<h1 id=new>New</h1>" + TIDES)
        inspector.shows("#new", "New")
        inspector.shows("#line", "Faro: 3 days")
        expect(inspector.page.locator("#log [data-lane=app]", has_text="is ready")).to_have_count(1)


def test_code_that_changes_starts_the_app_anew_and_broken_code_says_why(
    browser: Browser, inspecting: Inspecting
) -> None:
    from playwright.sync_api import expect

    run = inspecting(FILES)
    with opened(browser, run) as inspector:
        expect(inspector.page.locator("#status")).to_have_text("Harbour guide 2.4")
        run.write("harbour.py", HARBOUR + "\nraise RuntimeError('the mast is down')\n")
        expect(inspector.page.locator("#trouble")).to_contain_text("the mast is down")
        run.write("harbour.py", HARBOUR.replace("2.4", "3.0"))
        expect(inspector.page.locator("#status")).to_have_text("Harbour guide 3.0")
        expect(inspector.page.locator("#trouble")).to_be_hidden()


@pytest.mark.parametrize("width", [400, 900, 1280])
def test_nothing_is_wider_than_the_window(browser: Browser, harbour: Run, width: int) -> None:
    with opened(browser, harbour, width=width) as inspector:
        inspector.choose("tides")
        inspector.fill("city", "Faro")
        inspector.call()
        inspector.shows("#line", "Faro: 3 days")
        spare = "document.documentElement.scrollWidth - window.innerWidth"
        assert inspector.page.evaluate(spare) <= 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_asked_and_takes_the_app_with_it(
    inspecting: Inspecting, number: signal.Signals
) -> None:
    import socket

    run = inspecting(FILES)
    run.wait_for("Application startup complete")
    assert run.end(number) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", run.app_port)) != 0


BOARD = """
import { useWidgetProps } from "backstay-widgets";
export default () => <p id="board">{useWidgetProps({ line: "" }).line}</p>;
"""


def test_react_faces_are_built_first_and_again_when_they_change(
    browser: Browser, inspecting: Inspecting
) -> None:
    from playwright.sync_api import expect

    require_builder()
    code = HARBOUR.replace('    html = "tides.html"\n', "").replace(
        'version="2.4")', 'version="2.4", pages=["widgets"])'
    )
    run = inspecting({"harbour.py": code, "widgets/tides/index.jsx": BOARD})
    with opened(browser, run) as inspector:
        inspector.choose("tides")
        inspector.fill("city", "Faro")
        inspector.call()
        inspector.shows("#board", "Faro: 3 days")
        run.write("widgets/tides/index.jsx", BOARD.replace("<p id", "<p <"))
        expect(inspector.page.locator("#trouble")).to_contain_text("index.jsx:3:")
        run.write("widgets/tides/index.jsx", BOARD.replace("{use", "Tides at {use"))
        inspector.shows("#board", "Tides at Faro: 3 days")
        expect(inspector.page.locator("#trouble")).to_be_hidden()


VERIFIER = """
from mcp.server.auth.provider import AccessToken
class Harbourmaster:
    async def verify_token(self, token):
        if token == "let-me-in":
            return AccessToken(token=token, client_id="c", scopes=[], subject="ada")
"""


def test_a_server_that_asks_for_a_token_is_given_the_one_that_was_pasted(
    browser: Browser, inspecting: Inspecting
) -> None:
    from playwright.sync_api import expect

    guarded = HARBOUR.replace('version="2.4")', 'version="2.4", token_verifier=Harbourmaster())')
    run = inspecting({**FILES, "harbour.py": VERIFIER + guarded})
    with opened(browser, run) as inspector:
        expect(inspector.page.locator("#trouble")).to_contain_text("asks for a token")
        token = inspector.page.locator("#token")
        token.fill("let-me-in")
        token.press("Enter")
        expect(inspector.page.locator("#status")).to_have_text("Harbour guide 2.4")
        expect(inspector.page.locator("#trouble")).to_be_hidden()
        inspector.choose("tides")
        inspector.fill("city", "Faro")
        inspector.call()
        inspector.shows("#line", "Faro: 3 days")
