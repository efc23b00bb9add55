"""Node, its packages and Chromium are found or told missing; programs end with who started them."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.bench import (
    FOLDER,
    NODE_PATIENCE_S,
    bundle,
    free_ports,
    node_modules,
    require_chromium,
    require_node,
    run_node,
    running_node,
)

ROOT = FOLDER.parent.parent


def script(folder: Path, text: str) -> Path:
    path = folder / "script.mjs"
    path.write_text(text)
    return path


def test_node_is_the_one_that_the_virtual_environment_brings() -> None:
    assert require_node().is_relative_to(sys.prefix)


def test_the_packages_are_those_of_the_lock_file() -> None:
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        installed = json.loads((node_modules() / name / "package.json").read_text())
        assert version.endswith(installed["version"])
        assert version.removeprefix("npm:@modelcontextprotocol/conformance@")[0].isdigit(), (
            "versions are exact"
        )


@pytest.mark.parametrize("lock", ["package-lock.json", "requirements.lock"])
def test_the_lock_files_name_no_registry(lock: str) -> None:
    text = (FOLDER / lock).read_text()
    assert "://" not in text
    assert "resolved" not in text


def test_every_locked_package_has_a_hash() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    without = [name for name, each in lock["packages"].items() if name and not each["integrity"]]
    assert len(lock["packages"]) > 100
    assert without == []


@pytest.mark.parametrize(
    ("ci", "outcome"), [("false", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_a_browser_that_is_missing_skips_the_test_and_fails_it_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    require_chromium()
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("BACKSTAY_CHROMIUM", "/nowhere/chromium")
    with pytest.raises(outcome, match="looked for /nowhere/chromium; install one"):
        require_chromium()


def test_a_script_gets_its_arguments_and_gives_both_outputs_and_its_status(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        "console.log(process.argv.slice(2).join(), process.env.WHAT);"
        "console.error('wrong'); process.exitCode = 3;",
    )
    done = run_node(path, "a", "b", environment={"WHAT": "é"})
    assert (done.stdout, done.stderr, done.returncode) == ("a,b é", "wrong", 3)


def test_a_script_that_hangs_is_ended(tmp_path: Path) -> None:
    path = script(tmp_path, "setInterval(() => {}, 1000);")
    with pytest.raises(AssertionError, match=r"not done after 0\.5 s"):
        run_node(path, timeout_s=0.5)


def test_waiting_for_what_a_program_never_says_ends_when_it_does(tmp_path: Path) -> None:
    path = script(tmp_path, "console.log('something else');")
    with running_node(path) as program, pytest.raises(AssertionError, match="something else"):
        program.wait_for("never")


def test_a_program_and_what_it_has_started_are_gone_when_with_ends(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        "import { spawn } from 'node:child_process';"
        "const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);"
        "console.log('pids', process.pid, child.pid); setInterval(() => {}, 1000);",
    )
    with running_node(path) as program:
        pids = program.wait_for(r"pids (\d+) (\d+)").groups()
    for pid in map(int, pids):
        assert gone(pid)


def test_a_program_ends_when_the_tests_process_is_killed(tmp_path: Path) -> None:
    path = script(tmp_path, "console.log('pid', process.pid); setInterval(() => {}, 1000);")
    program = (
        "import pathlib, signal, sys\n"
        "from tests.browser.bench import running_node\n"
        "with running_node(pathlib.Path(sys.argv[1])) as node:\n"
        "    print(node.wait_for('pid (.*)')[1], flush=True)\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        watched = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        parent.kill()
        parent.wait(NODE_PATIENCE_S)
    if watched is None:
        pytest.skip("no pidfd here to wait for the end of another's child with")
    try:
        signalled = wait_readable(watched)
    finally:
        os.close(watched)
    assert signalled, f"{pid} is still there"


def wait_readable(descriptor: int) -> bool:
    """A pidfd is readable once its process has ended."""
    import select

    ready, _, _ = select.select([descriptor], [], [], NODE_PATIENCE_S)
    return bool(ready)


def gone(pid: int) -> bool:
    """Killed, or about to be: whoever is told to die takes a moment to."""
    if hasattr(os, "pidfd_open"):
        try:
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        ended, _, _ = select.select([watched], [], [], NODE_PATIENCE_S)
        os.close(watched)
        return bool(ended)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_a_bundle_is_made_once_for_each_state_of_its_modules(tmp_path: Path) -> None:
    entry = tmp_path / "entry.js"
    entry.write_text('import { one } from "./one.js"; console.log(one);')
    (tmp_path / "one.js").write_text("export const one = 1;")
    first = bundle(entry)
    assert "one = 1" in first.read_text()
    made = first.stat().st_mtime_ns
    assert bundle(entry) == first
    assert first.stat().st_mtime_ns == made
    (tmp_path / "one.js").write_text("export const one = 2;")
    second = bundle(entry)
    assert "one = 2" in second.read_text()
    for path in (first, second):
        path.unlink()


def test_what_cannot_be_bundled_says_why(tmp_path: Path) -> None:
    entry = tmp_path / "entry.js"
    entry.write_text('import "./missing.js";')
    with pytest.raises(AssertionError, match=r"missing\.js"):
        bundle(entry)


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(5))) == 5


def test_signals_are_not_kept_from_a_program(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        "process.on('SIGTERM', () => { console.log('bye'); process.exit(0); });"
        "console.log('up'); setInterval(() => {}, 1000);",
    )
    with running_node(path) as program:
        program.wait_for("up")
        program.process.send_signal(signal.SIGTERM)
        program.wait_for("bye")
        assert program.process.wait(NODE_PATIENCE_S) == 0
