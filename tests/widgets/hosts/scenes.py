"""For every ready template: the tool that shows it, what is pressed, and what must be seen then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tests.browser.hosts import app_bridge_host, openai_host
from tests.widgets.hosts.app import IMPORTED, PRODUCTS, SUSPECT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FrameLocator

    from tests.browser.hosts import WidgetHost

__all__ = ["HOSTS", "SCENES", "Host", "Scene", "assert_quiet", "settled_shot"]


class Host(Protocol):
    """What opens a host on a server."""

    def __call__(
        self, browser: Browser, server_url: str, *, era: str = ..., width: int = ...
    ) -> AbstractContextManager[WidgetHost]: ...


HOSTS: dict[str, Host] = {"app-bridge": app_bridge_host, "openai": openai_host}


@dataclass(frozen=True)
class Scene:
    """A template in use.

    Attributes:
        template: its name.
        tool: whose face it is.
        shown: a text that is there once the tool's result is.
        act: presses what calls another tool, and waits for what changes in the page.
        called: the tools that are called by that, in order and each once; polls may come on top.
    """

    template: str
    tool: str
    shown: str
    act: Callable[[FrameLocator], None]
    called: tuple[str, ...]


def _save(page: FrameLocator) -> None:
    row = page.locator(".row", has_text="Livraria Ler Devagar")
    row.get_by_role("button", name="Save").click()
    _expect(row.locator(".badge")).to_have_text("Saved")
    _expect(row.get_by_role("button", name="Forget")).to_be_focused()


def _book(page: FrameLocator) -> None:
    card = page.locator(".card", has_text="Boathouse")
    card.get_by_role("button", name="Book").click()
    _expect(card.locator(".badge")).to_have_text("Booked")
    _expect(card.get_by_role("button")).to_have_count(0)
    _expect(page.get_by_role("status")).to_contain_text("Boathouse is yours")


def _open_album(page: FrameLocator) -> None:
    page.get_by_role("button", name="Coast path").click()
    _expect(page.get_by_role("button", name="Coast path 5")).to_be_visible()
    _expect(page.locator(".grid li")).to_have_count(5)
    _expect(page.get_by_role("button", name="All albums")).to_be_focused()


def _fill_in(page: FrameLocator) -> None:
    email = page.get_by_label("Email")
    email.fill("ada@example.com")
    page.get_by_role("button", name="Book the pick-up").click()
    flaw = page.locator("[data-field=email] .flaw")
    _expect(flaw).to_be_visible()
    _expect(flaw).to_have_text("No letter ever arrives at example.com")
    _expect(email).to_be_focused()
    email.fill("ada@analytical.engine")
    page.get_by_role("button", name="Book the pick-up").click()
    _expect(page.get_by_role("heading", name="The courier comes on Monday")).to_be_visible()
    _expect(page.locator("dd").last).to_have_text("ada@analytical.engine")


def _by_month(page: FrameLocator) -> None:
    page.get_by_role("button", name="By month").click()
    _expect(page.get_by_text("By month, both shops")).to_be_visible()
    _expect(page.locator(".plot .bar")).to_have_count(10)
    _expect(page.get_by_role("button", name="By week")).to_be_focused()


def _go_on(page: FrameLocator) -> None:
    bar = page.get_by_role("progressbar")
    _expect(bar).to_have_attribute("aria-valuenow", str(100 * SUSPECT // PRODUCTS))
    page.get_by_role("button", name="Go on").click()
    _expect(page.locator(".head .badge")).to_have_text("Finished")
    _expect(bar).to_have_attribute("aria-valuenow", "100")
    _expect(page.locator(".outcome dd").first).to_have_text(str(IMPORTED["products"]))
    _expect(page.locator(".step.succeeded")).to_have_count(3)


SCENES = [
    Scene("list", "find_places", "Museu Nacional do Azulejo", _save, ("save_place",)),
    Scene("carousel", "find_cabins", "Lake house in Hallstatt", _book, ("book_cabin",)),
    Scene("albums", "show_albums", "Coast path", _open_album, ("album_photos",)),
    Scene("form", "plan_pick_up", "Book the pick-up", _fill_in, ("book_pick_up", "book_pick_up")),
    Scene("chart", "show_orders", "By week, both shops", _by_month, ("orders_by",)),
    Scene("progress", "import_catalogue", "A teapot for 3,900 €", _go_on, ("go_on",)),
]


HEIGHT = """async () => {
  for (let turn = 0; turn < 2; turn += 1) await new Promise(requestAnimationFrame);
  // Pictures out of sight are not loaded, and waiting for them would not end.
  const seen = [...document.images].filter((each) => {
    const box = each.getBoundingClientRect();
    return box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight;
  });
  await Promise.race([
    Promise.all(seen.map((each) => each.decode().catch(() => {}))),
    new Promise((resolve) => setTimeout(resolve, 3000)),
  ]);
  return Math.ceil(document.body.getBoundingClientRect().height);
}"""


def settled_shot(host: WidgetHost, name: str) -> Path:
    """A screenshot once the host has given the widget the height that it asks for."""
    frame = host.page.locator("iframe")
    _expect(frame).to_have_css("height", f"{host.frame.evaluate(HEIGHT)}px")
    return host.shot(name)


NO_STREAM = (
    "Failed to load resource: the server responded with a status of 405 (Method Not Allowed)"
)


def assert_quiet(host: WidgetHost) -> None:
    """Check that neither the console nor the content security policy has had to complain.

    The client of the handshake era asks for a stream by GET when it has connected; a stateless
    server has none and says 405 (MCP 2025-11-25, transports), which browsers log. That one is
    taken out.
    """
    if NO_STREAM in host.complaints:
        host.complaints.remove(NO_STREAM)
    host.assert_quiet()


def _expect(what: Any) -> Any:
    from playwright.sync_api import expect

    return expect(what)
