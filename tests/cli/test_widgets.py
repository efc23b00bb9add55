"""``backstay widgets``: building React faces, and starting the inspector."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.terminal import backstay
from tests.js.toolchain import CACHE, require_builder

GOOD = "export default () => <b>good</b>;\n"
BAD = "export default () => (\n  <b>oops</i>\n);\n"


def face(here: Path, name: str, code: str) -> Path:
    home = here / "widgets" / name
    home.mkdir(parents=True, exist_ok=True)
    (home / "index.jsx").write_text(code)
    return home / "dist" / "index.html"


@pytest.fixture
def toolchain(monkeypatch: pytest.MonkeyPatch) -> None:
    require_builder()
    monkeypatch.setenv("BACKSTAY_CACHE", str(CACHE))


@pytest.mark.usefixtures("toolchain")
def test_faces_are_built_into_their_folders(here: Path) -> None:
    page = face(here, "board", GOOD)
    outcome = backstay("widgets", "build")
    assert outcome.code == 0
    assert outcome.out.startswith("✓ board  widgets/board/dist/index.html")
    assert "<script>" in page.read_text()
    again = backstay("widgets", "build")
    assert (again.code, "up to date" in again.out) == (0, True)


@pytest.mark.usefixtures("toolchain")
def test_a_fault_is_shown_with_file_line_and_code_and_the_others_are_built(here: Path) -> None:
    face(here, "bad", BAD)
    page = face(here, "board", GOOD)
    outcome = backstay("widgets", "build")
    assert outcome.code == 1
    assert "✗ bad" in outcome.err
    assert "widgets/bad/index.jsx:2:12: " in outcome.err
    assert "<b>oops</i>" in outcome.err
    assert page.is_file()


@pytest.mark.usefixtures("toolchain")
def test_check_writes_nothing_and_fails_until_pages_are_what_would_be_built(here: Path) -> None:
    page = face(here, "board", GOOD)
    missing = backstay("widgets", "build", "--check")
    assert missing.code == 1
    assert "is not what would be built" in missing.err
    assert "backstay widgets build widgets" in missing.err
    assert not page.exists()
    assert backstay("widgets", "build").code == 0
    assert backstay("widgets", "build", "--check").code == 0
    face(here, "board", GOOD.replace("good", "better"))
    assert backstay("widgets", "build", "--check").code == 1
    assert "better" not in page.read_text()


@pytest.mark.usefixtures("toolchain")
def test_json_says_what_became_of_each(here: Path) -> None:
    face(here, "bad", BAD)
    face(here, "board", GOOD)
    outcome = backstay("widgets", "build", "--json")
    bad, board = outcome.json
    assert outcome.code == 1
    assert (bad["status"], bad["problems"][0]["line"]) == ("failed", 2)
    assert (board["identifier"], board["status"], board["problems"]) == ("board", "built", [])


@pytest.mark.usefixtures("toolchain")
def test_only_those_named_are_built(here: Path) -> None:
    one, other = face(here, "one", GOOD), face(here, "other", GOOD)
    assert backstay("widgets", "build", "--only", "other").code == 0
    assert (one.exists(), other.exists()) == (False, True)


def test_a_folder_without_faces_says_where_one_would_be(here: Path) -> None:
    (here / "widgets").mkdir()
    outcome = backstay("widgets", "build")
    assert outcome.code == 2
    assert "widgets has no React faces" in outcome.err
    assert "widgets/my-widget/index.jsx" in outcome.err


def test_a_folder_that_is_not_there_is_a_line(here: Path) -> None:
    outcome = backstay("widgets", "build", "nowhere")
    assert (outcome.code, "there is no folder nowhere" in outcome.err) == (1, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["shop"], "is no reference to an app"),
        (["shop:app", "--mcp-path", "mcp"], "is no path"),
        (["shop:app", "--port", "9000", "--app-port", "9000"], "choose another"),
    ],
)
def test_an_inspector_that_could_not_run_is_refused(given: list[str], said: str) -> None:
    outcome = backstay("widgets", "dev", *given)
    assert outcome.code == 2
    assert said in outcome.err


def test_a_port_that_is_taken_is_said_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = backstay("widgets", "dev", "shop:app", "--port", port)
    assert outcome.code == 2
    assert "cannot be had" in outcome.err
    assert "--port and --app-port name others" in outcome.err
