"""The conformance suite as a whole: what it is made of, and how it is run."""

import inspect
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from backstay.testing.ledger_conformance import LedgerConformance
from tests.support import PATIENCE_S

PARTS = LedgerConformance.__bases__
TESTS = [name for name in dir(LedgerConformance) if name.startswith("test_")]


def test_the_suite_is_the_sum_of_its_parts() -> None:
    named = [name for part in PARTS for name in vars(part) if name.startswith("test_")]
    assert sorted(named) == sorted(TESTS), "two parts have a test of the same name"
    assert len(TESTS) > 200


@pytest.mark.parametrize("part", PARTS)
def test_every_part_says_what_it_is_about(part: type) -> None:
    assert inspect.getdoc(part)
    assert inspect.getdoc(inspect.getmodule(part))


@pytest.mark.parametrize("part", PARTS)
def test_whatever_a_part_calls_a_test_is_one(part: type) -> None:
    for name, value in vars(part).items():
        if inspect.isfunction(value) and not name.startswith("_"):
            assert name.startswith("test_"), name
            assert list(inspect.signature(value).parameters) == ["self"], name


def test_authors_of_engines_run_it_with_a_subclass_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        textwrap.dedent(
            """
            from backstay.ledger.sqlite import SqliteLedger
            from backstay.testing.ledger_conformance import LedgerConformance

            class TestMine(LedgerConformance):
                def new_ledger(self, now):
                    return SqliteLedger("memory://", now=now)
            """
        )
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "priority or transaction", "test_mine.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S * 2,
    )
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout
    assert " skipped" in ran.stdout, "what needs a transaction cannot run in memory"


def test_the_suite_imports_without_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None; "
        "import backstay.testing.ledger_conformance as suite; suite.LedgerConformance()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
