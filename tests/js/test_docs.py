"""The components of docs/widgets-dev.md are built, and its table names every hook."""

from __future__ import annotations

import re
from pathlib import Path

from backstay.widgets.build import find_components
from tests.js.toolchain import require_builder

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "widgets-dev.md").read_text(encoding="utf-8")


def test_every_component_of_the_page_is_built(tmp_path: Path) -> None:
    blocks = re.findall(r"^```jsx\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert blocks
    for number, code in enumerate(blocks):
        home = tmp_path / f"face-{number}"
        home.mkdir()
        (home / "index.jsx").write_text(code, encoding="utf-8")
    for outcome in require_builder().build(find_components(tmp_path)):
        assert outcome.problems == ()


def test_every_hook_is_in_the_table() -> None:
    source = (ROOT / "js" / "index.js").read_text(encoding="utf-8")
    for name in re.findall(r"^export function (\w+)", source, re.MULTILINE):
        assert f"`{name}(" in PAGE, name
