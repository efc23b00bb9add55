"""Every Python block of the README and of docs/ runs, and its tests pass."""

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from backstay.testing import running
from tests.support import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets() -> list[Any]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            line = text[: match.start()].count("\n") + 2
            name = f"{page.relative_to(ROOT)}:{line}"
            # As many empty lines in front as there are in the page, so that tracebacks point there.
            found.append(pytest.param(page, "\n" * (line - 1) + match.group(1), id=name))
    return found


@pytest.mark.parametrize(("page", "source"), snippets())
def test_the_snippet_runs(
    page: Path, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # some make databases
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(source, str(page), "exec"), names)

    async def run() -> None:
        async with asyncio.timeout(PATIENCE_S):
            tests = [value for name, value in names.items() if name.startswith("test_")]
            for test in tests:
                answer = test()
                if inspect.isawaitable(answer):
                    await answer
            if not tests and "app" in names:
                async with running(names["app"]) as client:
                    assert (await client.get("/openapi.json")).status_code == 200

    asyncio.run(run())


def test_every_page_is_reached_from_the_readme_and_every_link_leads_somewhere() -> None:
    reached = set()
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            linked = (page.parent / target).resolve()
            assert linked.exists(), f"{page.name} links to {target}, which is not there"
            if page.name == "README.md":
                reached.add(linked)
    assert set(PAGES[1:]) <= reached
