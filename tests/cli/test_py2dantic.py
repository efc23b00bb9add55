"""``backstay py2dantic``: samples from files and standard input, models to a file or out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import backstay
from tests.integration.sample_models.generated import classes


@pytest.fixture
def order(here: Path) -> Path:
    file = here / "order.json"
    file.write_text('{"id": 1, "status": "paid"}')
    return file


def test_models_are_written_to_standard_output_and_named_by_the_file(order: Path) -> None:
    outcome = backstay("py2dantic", order)
    assert (outcome.code, outcome.err) == (0, "")
    assert classes(outcome.out) == {"Order": ["id: int", "status: str"]}


def test_several_files_and_standard_input_are_several_samples(order: Path) -> None:
    outcome = backstay("py2dantic", order, "-", "--name", "Deal", typed='{"id": null}\n{"x": 1}')
    assert classes(outcome.out) == {
        "Deal": ["id: int | None = None", "status: str | None = None", "x: int | None = None"]
    }
    alone = backstay("py2dantic", "-", typed='{"id": 1}')
    assert classes(alone.out) == {"RootModel": ["id: int"]}


def test_an_array_is_many_samples_or_a_model_as_is_said(here: Path) -> None:
    (here / "orders.json").write_text('[{"id": 1}, {"note": "x"}]')
    assert list(classes(backstay("py2dantic", "orders.json").out)) == ["Orders"]
    outcome = backstay("py2dantic", "orders.json", "--name", "Order", "--as-list")
    assert list(classes(outcome.out)) == ["Order", "OrderList"]


def test_the_options_of_the_function_are_options_here(here: Path) -> None:
    (here / "rates.json").write_text(
        '{"baseRate": "EUR", "rates": {"USD": {"at": {"v": 1}}}, "days": {"2024-01-01": 1}}'
    )
    outcome = backstay(
        *("py2dantic", "rates.json", "--enum", "baseRate", "--map", "rates", "--depth", "3"),
        *("--snake-case", "--base", "shop.models.Model", "--no-find-maps"),
    )
    assert classes(outcome.out) == {
        "BaseRate": ["EUR = 'EUR'"],
        "Rate": ["at: dict[str, Any]"],
        "Days": ["field_2024_01_01: int = Field(..., alias='2024-01-01')"],
        "Rates": [
            "base_rate: BaseRate = Field(..., alias='baseRate')",
            "rates: dict[str, Rate]",
            "days: Days",
        ],
    }
    assert "from shop.models import Model" in outcome.out


def test_a_file_is_written_and_never_over_another_unless_forced(here: Path, order: Path) -> None:
    wrote = backstay("py2dantic", order, "-o", "models.py")
    assert (wrote.code, wrote.out, wrote.err) == (0, "", "wrote models.py\n")
    written = (here / "models.py").read_bytes()
    assert b"\r" not in written
    again = backstay("py2dantic", order, "-o", "models.py")
    assert (again.code, again.err) == (0, "models.py is up to date\n")
    (here / "models.py").write_text("mine = 1\n")
    refused = backstay("py2dantic", order, "-o", "models.py")
    assert refused.code == 2
    assert refused.err == "backstay: models.py is there already\n  --force overwrites it\n"
    assert (here / "models.py").read_text() == "mine = 1\n"
    assert backstay("py2dantic", order, "-o", "models.py", "--force").code == 0
    assert (here / "models.py").read_bytes() == written


def test_check_writes_nothing_and_fails_until_the_file_is_what_would_be_written(
    here: Path, order: Path
) -> None:
    missing = backstay("py2dantic", order, "-o", "models.py", "--check")
    assert (missing.code, missing.err) == (1, "models.py is not what would be written\n")
    assert not (here / "models.py").exists()
    assert backstay("py2dantic", order, "-o", "models.py").code == 0
    assert backstay("py2dantic", order, "-o", "models.py", "--check").code == 0
    order.write_text('{"id": "x"}')
    assert backstay("py2dantic", order, "-o", "models.py", "--check").code == 1


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["nowhere.json"], 2, "there is no file nowhere.json"),
        (["."], 1, ". cannot be read: Is a directory"),
        (["order.json", "--check"], 2, "--check and --force are about a file"),
        (["-", "-"], 2, "standard input can be read once only"),
        (["order.json", "-o", "no/models.py"], 2, "no/models.py cannot be written: No such file"),
        (["order.json", "--name", "class"], 1, "is no name for a class"),
        (["order.json", "--enum", "stauts"], 1, "names 'stauts', and no field"),
        (["-"], 1, "the sample, line 2, column 7: this is no JSON: Expecting value"),
        ([], 2, "Missing argument"),
    ],
    ids=[str(number) for number in range(9)],
)
@pytest.mark.usefixtures("order")
def test_what_cannot_be_done_is_a_line_and_an_exit_code(
    given: list[str], code: int, said: str
) -> None:
    outcome = backstay("py2dantic", *given, typed='{"a": 1,\n "b": }')
    assert outcome.code == code
    assert said in outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err


def test_names_of_files_that_make_no_class_make_root_models(here: Path) -> None:
    for name, wanted in (("2024-01.json", "Model202401"), ("any.json", "RootModel")):
        (here / name).write_text('{"a": 1}')
        assert list(classes(backstay("py2dantic", name).out)) == [wanted]


def test_piped_output_is_the_module_and_nothing_else(order: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "backstay", "py2dantic", str(order)],
        env={**os.environ, "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert list(classes(done.stdout)) == ["Order"]
