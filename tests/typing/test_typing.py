"""What type checkers make of code that uses backstay: right code passes, wrong lines do not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

Reports = dict[str, set[tuple[int, str]]]


@pytest.fixture(scope="module")
def reported() -> Reports:
    """Line and code of every error mypy finds, by file. One run serves all tests here."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-pretty",
            "--no-error-summary",
            str(HERE / "right.py"),
            str(HERE / "wrong.py"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stderr == ""
    found: Reports = {}
    for line in done.stdout.splitlines():
        error = re.fullmatch(r"(.+?):(\d+)(?::\d+)?: error: .*\[([a-z-]+)\]", line)
        if error:
            found.setdefault(Path(error[1]).name, set()).add((int(error[2]), error[3]))
        else:
            assert re.search(r": note: |^ ", line), line
    return found


def marked(path: Path) -> set[tuple[int, str]]:
    """The lines that say in a comment how they are wrong."""
    return {
        (number, code)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if (comment := re.search(r"# error: (.+)$", line))
        for code in comment[1].split(", ")
    }


def test_right_code_passes(reported: Reports) -> None:
    assert reported.get("right.py", set()) == set()


def test_every_wrong_line_is_refused_and_no_other(reported: Reports) -> None:
    expected = marked(HERE / "wrong.py")
    assert len(expected) > 50
    assert reported["wrong.py"] == expected


def test_no_other_file_is_to_blame(reported: Reports) -> None:
    assert set(reported) <= {"right.py", "wrong.py"}
