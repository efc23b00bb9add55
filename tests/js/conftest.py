"""What the tests of the hooks share: a browser, and a server whose widget uses every hook."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from backstay.widgets import BaseWidget, WidgetContext, WidgetMCPServer
from backstay.widgets.build import find_components
from tests.browser.fixtures import browser
from tests.browser.serving import serving_app
from tests.js.toolchain import require_builder

__all__ = ["browser", "every_hook_page", "every_hook_url"]

FACES = Path(__file__).resolve().parent / "faces"


class Summands(BaseModel):
    """What is added."""

    a: int
    b: int


@pytest.fixture(scope="session")
def every_hook_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The face in ``faces/every-hook``, built."""
    folder = tmp_path_factory.mktemp("faces")
    shutil.copytree(FACES, folder, dirs_exist_ok=True)
    (outcome,) = require_builder().build(find_components(folder))
    assert outcome.problems == ()
    outcome.write()
    return outcome.component.page


@pytest.fixture(scope="module")
def every_hook_url(every_hook_page: Path) -> Iterator[str]:
    """The endpoint of a server with that face."""

    class AddUp(BaseWidget):
        identifier = "add_up"
        title = "Sum"
        input_schema = Summands
        html = every_hook_page

        async def execute(self, inputs: Summands, ctx: WidgetContext) -> dict[str, Any]:
            if inputs.a == 666:
                raise ValueError("not a number for sums")
            await ctx.progress(1, 2, "half way")
            return {"total": inputs.a + inputs.b}

    with serving_app(WidgetMCPServer("sums", [AddUp]).asgi("/mcp")) as url:
        yield f"{url}/mcp"
