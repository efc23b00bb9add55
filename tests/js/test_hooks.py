"""Every hook of js/ in a built face, in Chromium, in hosts of both dialects."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from backstay.widgets.build import find_components
from backstay.widgets.face import compose
from tests.browser.hosts import WidgetHost, app_bridge_host, openai_host
from tests.js.conftest import FACES
from tests.js.test_package import JS
from tests.js.toolchain import require_builder, require_project
from tests.widgets.face.stage import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HostOf = Callable[["Browser", str], AbstractContextManager[WidgetHost]]

GIVEN = {"a": 2, "b": 3}


class Face:
    """The face that uses every hook, in a host."""

    def __init__(self, host: WidgetHost) -> None:
        self.host = host

    def open(self, **looks: Any) -> None:
        """Show it; each host takes the looks by the name it has for them."""
        self.host.open("add_up", GIVEN, hostContext=looks, globals=looks)

    def shows(self, name: str, text: str) -> None:
        from playwright.sync_api import expect

        expect(self.host.widget.locator(f"[data-value={name}]")).to_have_text(text)

    def click(self, button: str) -> None:
        self.host.widget.locator(f"#{button}").click()

    def is_quiet(self) -> None:
        """Nobody has complained, but for the stream the client asks for and the server has not."""
        self.host.complaints[:] = [each for each in self.host.complaints if "405" not in each]
        self.host.assert_quiet()


@pytest.fixture(params=[app_bridge_host, openai_host], ids=["ui", "openai"])
def face(request: pytest.FixtureRequest, browser: Browser, every_hook_url: str) -> Iterator[Face]:
    host_of: HostOf = request.param
    with host_of(browser, every_hook_url) as host:
        yield Face(host)


def test_a_face_shows_the_result_and_what_it_was_asked(face: Face) -> None:
    face.open()
    face.shows("total", "5")
    face.shows("input", '{"a":2,"b":3}')
    face.shows("error", "none")
    face.is_quiet()


def test_defaults_stand_in_until_there_is_a_result(browser: Browser, every_hook_url: str) -> None:
    with app_bridge_host(browser, every_hook_url) as host:
        host.open("add_up", GIVEN, call=False)
        Face(host).shows("total", "waiting")


def test_looks_are_the_hosts_and_change_with_it(face: Face) -> None:
    face.open(theme="dark", locale="pt-BR", safeArea={"insets": {"top": 7}}, maxHeight=480,
              safeAreaInsets={"top": 7}, containerDimensions={"maxHeight": 480})  # fmt: skip
    face.shows("theme", "dark")
    face.shows("locale", "pt-BR")
    face.shows("insets", "7")
    face.shows("maxHeight", "480")
    face.host.change(theme="light", locale="fi")
    face.shows("theme", "light")
    face.shows("locale", "fi")


def test_a_host_is_asked_for_another_display_mode(face: Face) -> None:
    face.open()
    face.shows("mode", "inline")
    face.click("wide")
    face.shows("mode", "fullscreen")


def test_one_entry_of_the_state_is_set_by_functions_that_see_each_other(face: Face) -> None:
    face.open()
    face.shows("count", "3")
    face.shows("state", '{"untouched":true}')
    face.click("twice")
    face.shows("count", "5")
    face.shows("state", '{"count":5}')


def test_the_whole_state_is_replaced_and_reset(face: Face) -> None:
    face.open()
    face.click("replace")
    face.shows("state", '{"count":10,"note":"new"}')
    face.shows("count", "10")
    face.click("reset")
    face.shows("count", "3")
    face.shows("state", '{"untouched":true}')


def test_a_tool_is_called_and_its_answer_is_data(face: Face) -> None:
    face.open()
    face.shows("sum", "none")
    face.click("add")
    face.shows("sum", "42")
    face.shows("pending", "false")
    face.shows("total", "5")
    face.is_quiet()


def test_a_tool_that_fails_is_an_error_and_no_unhandled_rejection(face: Face) -> None:
    face.open()
    face.click("fail")
    from playwright.sync_api import expect

    expect(face.host.widget.locator("[data-value=refusal]")).to_contain_text("error")
    face.is_quiet()


def test_renders_end_when_nothing_changes(face: Face) -> None:
    face.open()
    face.shows("total", "5")
    renders = int(face.host.widget.locator("[data-value=renders]").inner_text())
    assert renders < 10
    face.click("twice")
    face.shows("count", "5")
    assert int(face.host.widget.locator("[data-value=renders]").inner_text()) <= renders + 4


def test_progress_of_a_call_is_shown_while_it_runs(browser: Browser, every_hook_page: Path) -> None:
    stage = Stage(browser)
    try:
        page = compose(every_hook_page.read_text(encoding="utf-8"), title="Sum")
        stage.open(page, {"total": 5})
        stage.until("document.querySelector('[data-value=total]')?.textContent === '5'")
        stage.notify(
            "notifications/progress",
            {"progressToken": "backstay-1", "progress": 1, "total": 2, "message": "half way"},
        )
        stage.until(
            "document.querySelector('[data-value=progress]').textContent.includes('half way')"
        )
    finally:
        stage.close()


def test_the_bridge_stands_before_the_bundle(every_hook_page: Path) -> None:
    page = compose(every_hook_page.read_text(encoding="utf-8"), title="Sum")
    assert page.index("window.backstay = backstay") < page.index('id="root"')


def test_the_same_face_works_with_the_oldest_react_that_is_promised(
    browser: Browser, tmp_path: Path
) -> None:
    _, packages = require_project(JS)
    shutil.copytree(FACES, tmp_path / "widgets")
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    (outcome,) = require_builder().build(find_components(tmp_path / "widgets"))
    assert outcome.page is not None
    assert '"18.3.1' in outcome.page.replace("`", '"')
    stage = Stage(browser)
    try:
        stage.open(
            compose(outcome.page, title="Sum"),
            {"total": 5},
            answers={"add_up": [{"total": 42}]},
        )
        stage.until("document.querySelector('[data-value=total]')?.textContent === '5'")
        stage.click("#twice")
        stage.until("document.querySelector('[data-value=count]').textContent === '5'")
        stage.click("#add")
        stage.until("document.querySelector('[data-value=sum]').textContent === '42'")
        assert stage.problems() == []
    finally:
        stage.close()
