"""The program: its commands, how it ends, and that it never shows a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import backstay as package
from backstay.cli.program import Program, program
from backstay.errors import BackstayError, LedgerMismatch, LedgerUnavailable, NotInstalled
from tests.cli.terminal import backstay, job, write
from tests.test_import import run_python

COMMANDS = [
    ("worker",),
    ("top",),
    ("workers",),
    ("py2dantic",),
    *(("jobs", each) for each in ("list", "show", "retry", "cancel", "prune", "watch")),
    *(("events", each) for each in ("list", "show", "prune", "top")),
    *(("queues", each) for each in ("list", "pause", "resume")),
    *(("widgets", each) for each in ("build", "dev")),
    *(
        ("db", each)
        for each in (
            *("init", "revision", "upgrade", "downgrade"),
            *("stamp", "check", "current", "history"),
        )
    ),
]


def run_module(*arguments: str, here: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "backstay", *arguments],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("columns", [40, 80])
def test_every_command_has_help(command: tuple[str, ...], columns: int) -> None:
    outcome = backstay(*command, "--help", columns=columns)
    assert outcome.code == 0
    assert "Usage" in outcome.out


def test_the_help_documents_exit_codes() -> None:
    outcome = backstay("--help")
    assert "Exit codes: 0 done; 1 what was asked for failed; 2 wrong usage" in outcome.out


def test_the_version_is_that_of_the_package() -> None:
    assert backstay("--version").out == f"backstay {package.__version__}\n"


def test_commands_that_are_not_there_are_misuse() -> None:
    outcome = backstay("jbos")
    assert outcome.code == 2
    assert "No such command" in outcome.err


def test_shell_completion_is_offered() -> None:
    assert "--install-completion" in backstay("--help").out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LedgerUnavailable("the disk is full"), 2),
        (LedgerMismatch("tables of version 9"), 2),
        (NotInstalled("not switched on"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_are_a_line_and_an_exit_code(error: BaseException, code: int) -> None:
    failing = typer.Typer(cls=Program)

    @failing.callback()
    def root() -> None: ...

    @failing.command("fail")
    def fail() -> None:
        raise error

    result = CliRunner().invoke(failing, ["fail"])
    assert result.exit_code == code
    assert "Traceback" not in result.stderr
    if isinstance(error, BackstayError):
        assert result.stderr == f"backstay: {error}\n"


def test_the_commands_are_those_that_are_promised() -> None:
    assert {each.name for each in program.registered_groups} == {
        "db",
        "events",
        "jobs",
        "queues",
        "widgets",
    }


# ------------------------------------------------------------------ in processes of their own


def test_the_module_can_be_run(here: Path) -> None:
    (job_id,) = write(here / "backstay.db", job("größe"))
    done = run_module("jobs", "list", here=here)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(job_id) in done.stdout
    assert "\x1b" not in done.stdout


def test_a_missing_database_is_one_line_and_makes_no_file(here: Path) -> None:
    done = run_module("jobs", "list", "--database", "sqlite:///nowhere.db", here=here)
    assert done.returncode == 2
    assert done.stderr.startswith(f"backstay: there is no file {here / 'nowhere.db'}")
    assert len(done.stderr.splitlines()) == 1
    assert list(here.iterdir()) == []


def test_missing_packages_are_one_line_that_names_the_extra() -> None:
    for package_name in ("typer", "rich"):
        done = run_python(
            """
            import sys
            sys.argv = ["backstay", "jobs", "list"]
            from backstay.cli import main
            sys.exit(main())
            """,
            blocked=(package_name,),
        )
        assert done.returncode == 2
        assert done.stderr == (
            f"backstay: the command line needs the package '{package_name}': "
            'pip install "backstay[cli]"\n'
        )


def test_a_terminal_that_cannot_write_a_name_gets_it_escaped(here: Path) -> None:
    write(here / "backstay.db", job("größe-日本"))
    done = subprocess.run(
        [sys.executable, "-m", "backstay", "jobs", "list"],
        cwd=here,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "gr\\xf6\\xdfe-\\u65e5\\u672c" in done.stdout


def test_a_reader_that_has_had_enough_is_no_error(here: Path) -> None:
    write(here / "backstay.db", *(job() for _ in range(3_000)))
    done = subprocess.run(
        f'"{sys.executable}" -m backstay jobs list -n 3000 | head -n 1',
        shell=True,
        cwd=here,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("ID")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's here")
def test_ctrl_c_ends_a_watch_without_a_traceback(here: Path) -> None:
    (job_id,) = write(here / "backstay.db", job())
    watching = subprocess.Popen(
        [sys.executable, "-m", "backstay", "jobs", "watch", str(job_id)],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("available")
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=30)
    assert (watching.returncode, said) == (130, "")
