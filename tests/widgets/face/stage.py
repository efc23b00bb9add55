"""Pages in a real Chromium, inside a host page of ours."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from backstay.widgets.face import compose, template
from tests.browser.browsing import BROWSER_PATIENCE_MS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Page, Route

__all__ = ["Stage"]

HOST = (Path(__file__).resolve().parent / "host.html").read_text(encoding="utf-8")
ADDRESS = "http://host.test/"


def _awaited(js: str) -> str:
    # Playwright's own wait_for_function evaluates text in the page, which the page's policy forbids.
    return f"""new Promise((resolve, reject) => {{
        const until = performance.now() + {BROWSER_PATIENCE_MS};
        const look = () => {{
            if ({js}) resolve();
            else if (performance.now() > until) reject(new Error({json.dumps(f"never came true: {js}")}));
            else setTimeout(look, 15);
        }};
        look();
    }})"""


class Stage:
    """One page in one host; ``open`` shows it, the rest acts on what is shown.

    Nothing leaves the machine: the host page is handed to the browser, and every other request is
    refused and written down.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._page: Page | None = None
        self._problems: list[str] = []

    @property
    def page(self) -> Page:
        assert self._page is not None
        return self._page

    @property
    def inner(self) -> Frame:
        """The widget's own frame."""
        return self.page.frames[1]

    def close(self) -> None:
        if self._page is not None:
            self._page.close()
            self._page = None

    def open(
        self,
        html: str,
        props: Any = None,
        *,
        dialect: str = "ui",
        answers: dict[str, list[Any]] | None = None,
        context: dict[str, Any] | None = None,
        setup: dict[str, Any] | None = None,
        width: int = 1000,
        color_scheme: Literal["light", "dark"] = "light",
        reduced_motion: Literal["reduce", "no-preference"] = "no-preference",
    ) -> None:
        """Show a page whose tool has returned ``props``; ``None``: the call is still running."""
        context = {"theme": "light", "locale": "en-US", **(context or {})}
        result = None if props is None else {"content": [], "structuredContent": props}
        setup = setup or {}
        host: dict[str, Any] = {"answers": answers or {}, **setup}
        if dialect in {"ui", "both"}:
            host["ui"] = {"context": context, "result": result, **setup.get("ui", {})}
        if dialect in {"openai", "both"}:
            host["openai"] = {"toolOutput": props, **context, **setup.get("openai", {})}
        if self._page is None:
            self._page = self._new_page()
        self._page.set_viewport_size({"width": width, "height": 700})
        self._page.emulate_media(color_scheme=color_scheme, reduced_motion=reduced_motion)
        self._page.goto(ADDRESS)
        self._problems.clear()
        self._page.evaluate("([html, setup]) => window.show(html, setup)", [html, host])
        self._page.wait_for_selector("iframe")
        self.until("location.href === 'about:srcdoc' && document.readyState === 'complete'")

    def _new_page(self) -> Page:
        page = self._browser.new_page()
        page.set_default_timeout(BROWSER_PATIENCE_MS)
        problems = self._problems

        def answer(route: Route) -> None:
            if route.request.url == ADDRESS:
                route.fulfill(content_type="text/html", body=HOST)
            else:
                problems.append(f"asked for {route.request.url}")
                route.abort()

        page.on(
            "console",
            lambda said: problems.append(said.text) if said.type in {"error", "warning"} else None,
        )
        page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
        page.route("**/*", answer)
        return page

    def template(self, name: str, props: Any = None, **options: Any) -> None:
        """Show a ready template."""
        self.open(compose(template(name), title=name), props, **options)

    def frame(self, js: str) -> Any:
        """Evaluate in the widget's page."""
        return self.inner.evaluate(js)

    def host(self, js: str) -> Any:
        """Evaluate in the host's page."""
        return self.page.evaluate(js)

    def until(self, js: str) -> None:
        self.inner.evaluate(_awaited(js))

    def until_host(self, js: str) -> None:
        self.page.evaluate(_awaited(js))

    def until_text(self, text: str) -> None:
        self.until(f"document.body.innerText.includes({json.dumps(text)})")

    def text(self) -> str:
        found: str = self.frame("document.body.innerText")
        return found

    def click(self, selector: str) -> None:
        self.inner.locator(selector).first.click()

    def fill(self, selector: str, text: str) -> None:
        self.inner.locator(selector).first.fill(text)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def files(self, selector: str, *files: tuple[str, str, bytes]) -> None:
        """Choose files, each (name, type, content)."""
        self.inner.locator(selector).first.set_input_files(
            [{"name": name, "mimeType": kind, "buffer": data} for name, kind, data in files]
        )

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Have the host tell the page something, as MCP Apps does."""
        self.page.evaluate("([method, params]) => window.notify(method, params)", [method, params])

    def globals(self, **changed: Any) -> None:
        """Have the host change ``window.openai``, and say so."""
        self.page.evaluate(
            "(globals) => window.view.contentWindow.postMessage({ globals }, '*')", changed
        )

    def calls(self) -> list[dict[str, Any]]:
        """The tool calls that reached the host."""
        found: list[dict[str, Any]] = self.host("window.log")
        return found

    def sent(self, method: str) -> list[dict[str, Any]]:
        """What the page sent of that method, in either dialect."""
        return [
            each
            for each in self.host("window.sent")
            if method in {each.get("method"), each.get("openai")}
        ]

    def problems(self) -> list[str]:
        """Errors and warnings of the console, CSP violations among them, and requests made."""
        return list(self._problems)

    def width_to_spare(self) -> int:
        """How much wider the content is than the window; above 0 there is a scroll bar."""
        found: int = self.frame("document.documentElement.scrollWidth - window.innerWidth")
        return found

    def shot(self, name: str) -> None:
        """A picture of the whole page, where BACKSTAY_SHOTS says; nowhere if it says nothing."""
        if folder := os.environ.get("BACKSTAY_SHOTS"):
            width, height = self.host(
                "[window.innerWidth, Math.ceil(window.view.getBoundingClientRect().height)]"
            )
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.screenshot(path=Path(folder) / f"{name}.png")
