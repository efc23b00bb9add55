"""The benchmark of widgets runs: what it measures depends on the machine, that it does does not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.sampling import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="the CPU clock of others is read as on Linux")
def test_every_side_is_called_in_every_era_and_its_samples_are_kept(tmp_path: Path) -> None:
    """The peer that has an environment of its own is left out: it would have to be installed."""
    command = [sys.executable, "-m", "benchmarks.widgets", "--smoke", "--without-fastmcp"]
    done = subprocess.run(
        [*command, "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kept = json.loads((tmp_path / "widgets.json").read_text())["results"]
    assert set(kept["calls"]) == {
        "plain 2025-11-25",
        "sdk 2025-11-25",
        "sdk 2026-07-28",
        "backstay 2025-11-25",
        "backstay 2026-07-28",
    }
    assert all(len(each["samples_ms"][0]) == 2 for each in kept["calls"].values())
    assert "goal <= 1.1" in done.stdout
    assert set(kept["imports"]) >= {"sdk", "backstay.widgets", "WidgetMCPServer"}


def test_state_is_measured_on_every_store_that_is_there(tmp_path: Path) -> None:
    """At least those that need no server."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.state", "--smoke"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ctx.state, sqlite" in done.stdout
    assert "ctx.state, memory" in done.stdout
