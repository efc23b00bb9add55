"""A running ``backstay widgets dev``, and its inspector in a browser."""

from __future__ import annotations

import queue
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser.browsing import BROWSER_PATIENCE_MS, Complaints
from tests.support import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FrameLocator, Page

__all__ = ["FILES", "HARBOUR", "Inspector", "Run"]

HARBOUR = '''
from typing import Any
from fastapi import FastAPI
from pydantic import BaseModel, Field
from backstay.widgets import BaseWidget, WidgetContext, WidgetMCPServer

class Wanted(BaseModel):
    city: str = Field(description="Which harbour.")
    days: int = Field(3, ge=1, le=7)

class Tides(BaseWidget):
    identifier = "tides"
    title = "Tide table"
    input_schema = Wanted
    html = "tides.html"

    async def execute(self, inputs: Wanted, ctx: WidgetContext) -> dict[str, Any]:
        if inputs.city == "Atlantis":
            raise RuntimeError("no such place on any chart")
        return {"line": f"{inputs.city}: {inputs.days} days"}

app = FastAPI()
server = WidgetMCPServer("harbour", [Tides], title="Harbour guide", version="2.4")

@server.tool(read_only=True)
def depth(station: str = "quay") -> dict[str, float]:
    """How deep it is, in metres."""
    return {"metres": 4.5}

server.mount(app, "/mcp")
'''

TIDES = """<p id="line">waiting</p><p id="theme"></p><p id="dialect"></p>
<button id="ask">How deep?</button><p id="deep"></p>
<script>
const say = (id, text) => { document.getElementById(id).textContent = text; };
const looks = () => { say("theme", backstay.theme); say("dialect", backstay.dialect); };
backstay.on("props", (props) => say("line", props.line));
backstay.on("host", looks);
backstay.ready.then(looks);
document.getElementById("ask").onclick = async () => {
  const result = await backstay.callTool("depth", { station: "pier" });
  say("deep", result.structuredContent.metres);
};
</script>
"""

FILES = {"harbour.py": HARBOUR, "tides.html": TIDES}


class Run:
    """The process and its ports."""

    def __init__(
        self, process: subprocess.Popen[str], folder: Path, port: int, app_port: int
    ) -> None:
        self.process = process
        self.folder = folder
        self.port = port
        self.app_port = app_port
        self.said: list[str] = []
        self._new: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._new.put(line)
        self._new.put(None)

    def wait_for(self, text: str) -> None:
        """Wait until it has said this since the last time that was asked."""
        while True:
            line = self._new.get(timeout=PATIENCE_S)
            assert line is not None, "".join(self.said)
            self.said.append(line)
            if text in line:
                return

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def end(self, number: signal.Signals) -> int:
        """Ask it to end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


class Inspector:
    """The inspector's page."""

    def __init__(self, browser: Browser, run: Run, *, width: int = 1280, **media: Any) -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": 800}, **media)
        self.page.set_default_timeout(BROWSER_PATIENCE_MS)
        self.complaints = Complaints(self.page)
        self.page.goto(run.url)

    @property
    def widget(self) -> FrameLocator:
        return self.page.frame_locator("#frame iframe").frame_locator("iframe")

    def choose(self, tool: str) -> None:
        self.page.locator(f'[data-tool="{tool}"]').click()

    def fill(self, field: str, text: str) -> None:
        self.page.get_by_label(field, exact=False).first.fill(text)

    def call(self) -> None:
        self.page.locator("#call").click()

    def press(self, group: str, label: str) -> None:
        self.page.locator(f"#{group}").get_by_role("button", name=label, exact=True).click()

    def shows(self, place: str, text: str) -> None:
        """Wait until an element of the widget has this text."""
        from playwright.sync_api import expect

        expect(self.widget.locator(place)).to_have_text(text)
