"""Two hosts that show widgets, each a page of ours in Chromium, one for each dialect.

``app_bridge_host`` is made of ext-apps' official AppBridge and speaks MCP Apps (``ui/*``) only.
``openai_host`` injects ``window.openai`` and answers no ``ui/*`` message. Both talk to the server
as browsers do (Streamable HTTP, another origin, so the server's CORS is part of the test), and put
the widget into a sandboxed frame of a second origin under the policy that its metadata declares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from tests.browser.bench import FOLDER, bundle
from tests.browser.browsing import BROWSER_PATIENCE_MS, Complaints, shot
from tests.browser.serving import serving_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, FrameLocator, Page

__all__ = ["WidgetHost", "app_bridge_host", "openai_host"]

PAGES = FOLDER / "pages"
LAST_WORDS = "everything before this has been heard"

CALL = """
async ([name, given, patience]) => {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(
    `host.${name} took more than ${patience} ms; so far: ${JSON.stringify(window.host.events)}`
  )), patience); });
  try { return await Promise.race([window.host[name](...given), late]); }
  finally { clearTimeout(timer); }
}
"""


class WidgetHost:
    """A host page, and the widget it shows.

    Attributes:
        page: Playwright's page, for all that is not here.
        server: name and version of the MCP server.
        tools: its tools as the wire has them, by name.
        complaints: errors on the console, of the widget or the host; a good widget makes none.
    """

    def __init__(self, page: Page, server_url: str, options: Mapping[str, Any]) -> None:
        self.page = page
        self.complaints = Complaints(page)
        self._server_url = server_url
        self._options = options
        self.server: dict[str, Any] = {}
        self.tools: dict[str, dict[str, Any]] = {}

    def connect(self) -> None:
        """Connect to the server, anew if it was connected."""
        found = self.call("connect", self._server_url, self._options)
        self.server = found["server"]
        self.tools = {tool["name"]: tool for tool in found["tools"]}

    def call(self, name: str, *given: Any) -> Any:
        """Call a function of the page's ``window.host``; see ``pages/``.

        Raises:
            playwright.sync_api.Error: it has failed, or not answered in time.
        """
        return self.page.evaluate(CALL, [name, list(given), BROWSER_PATIENCE_MS])

    def open(self, tool: str, arguments: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """Show a tool's widget, call the tool, hand the widget input and result.

        Args:
            options: ``sandbox`` of the inner frame; ``call=False``: do not call the tool. In the
                AppBridge host ``hostContext`` (theme, locale, styles ...) and ``partial``, a list of
                arguments as they arrive; in the other ``globals`` of ``window.openai`` and
                ``late=True``: they are there only after the page has loaded.

        Returns:
            ``uri`` and ``meta`` of the page that was read, and the ``result`` of the call.
        """
        opened: dict[str, Any] = self.call("open", tool, dict(arguments), options)
        return opened

    def change(self, **changes: Any) -> None:
        """Change theme, locale, displayMode ... while the widget is on show."""
        self.call("change", changes)

    def resize(self, width: int, height: int = 900) -> None:
        """Give the page, and so the widget, another size, in CSS pixels."""
        self.page.set_viewport_size({"width": width, "height": height})

    @property
    def events(self) -> Sequence[dict[str, Any]]:
        """What the widget has asked for so far, in order; each has a ``kind``."""
        found: list[dict[str, Any]] = self.page.evaluate("window.host.events")
        return found

    def wait(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait for the ``count``-th event of a kind; its details."""
        event: dict[str, Any] = self.call("seen", kind, count)
        return event

    @property
    def widget(self) -> FrameLocator:
        """The widget's document, to find things in."""
        return self.page.frame_locator("iframe").frame_locator("iframe")

    @property
    def frame(self) -> Frame:
        """The widget's frame, to evaluate things in."""
        handle = self.widget.locator("html").element_handle()
        frame = handle.owner_frame()
        assert frame is not None
        return frame

    def assert_quiet(self) -> None:
        """Check that nobody has complained, with all that the widget has said so far heard.

        Raises:
            AssertionError: there are errors on the console, or the policy has blocked something.
        """
        # A frame of another site has a process of its own: only what itself says last is last.
        with self.page.expect_console_message(lambda said: said.text == LAST_WORDS):
            self.frame.evaluate("words => console.debug(words)", LAST_WORDS)
        assert self.complaints == []

    def shot(self, name: str) -> Path:
        """A screenshot of the widget in its frame."""
        return shot(self.page.locator("iframe"), name)

    def close_widget(self) -> None:
        """Tell the widget to end, wait for its answer where the dialect has one, and remove it."""
        self.call("close")


@contextmanager
def app_bridge_host(
    browser: Browser,
    server_url: str,
    *,
    headers: Mapping[str, str] | None = None,
    era: str = "legacy",
    width: int = 800,
) -> Iterator[WidgetHost]:
    """The official AppBridge, connected to an MCP server.

    Args:
        server_url: its MCP endpoint.
        headers: for every request to it, as ``{"Authorization": "Bearer ..."}``.
        era: how the client agrees on a revision: "legacy" is the handshake up to 2025-11-25,
            "auto" asks first, a revision such as "2026-07-28" insists on it.
        width: of the page, in CSS pixels.
    """
    with _host(browser, "app_bridge_host", server_url, headers, era, width) as host:
        yield host


@contextmanager
def openai_host(
    browser: Browser,
    server_url: str,
    *,
    headers: Mapping[str, str] | None = None,
    era: str = "legacy",
    width: int = 800,
) -> Iterator[WidgetHost]:
    """A host with ``window.openai`` alone; see ``app_bridge_host`` for the arguments."""
    with _host(browser, "openai_host", server_url, headers, era, width) as host:
        yield host


@contextmanager
def _host(
    browser: Browser,
    script: str,
    server_url: str,
    headers: Mapping[str, str] | None,
    era: str,
    width: int,
) -> Iterator[WidgetHost]:
    made = bundle(PAGES / f"{script}.js")
    with serving_app(_pages(made)) as url:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.set_default_timeout(BROWSER_PATIENCE_MS)
        try:
            host = WidgetHost(page, server_url, {"headers": dict(headers or {}), "era": era})
            page.goto(f"{url}/host.html")
            page.wait_for_function("window.host !== undefined")
            # The same server under another name is another origin.
            page.evaluate(
                "origin => { window.host.sandboxOrigin = origin }",
                url.replace("127.0.0.1", "localhost"),
            )
            host.connect()
            yield host
        finally:
            page.close()


def _pages(script: Path) -> Starlette:
    async def host_page(request: Request) -> Response:
        return FileResponse(PAGES / "host.html")

    async def host_script(request: Request) -> Response:
        return FileResponse(script, media_type="text/javascript")

    async def sandbox(request: Request) -> Response:
        policy = {"Content-Security-Policy": request.query_params["csp"]}
        return FileResponse(PAGES / "sandbox.html", headers=policy)

    async def icon(request: Request) -> Response:
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/host.html", host_page),
            Route("/host.js", host_script),
            Route("/sandbox.html", sandbox),
            Route("/favicon.ico", icon),
        ]
    )
