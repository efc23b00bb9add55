"""The benchmark of view sets runs: what it measures depends on the machine, that it does does not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.sampling import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="the CPU clock of others is read as on Linux")
def test_every_side_answers_the_same_and_its_samples_are_kept(tmp_path: Path) -> None:
    """The peers that have an environment of their own are left out: they would be installed."""
    command = [sys.executable, "-m", "benchmarks.data", "--smoke", "--without-peers"]
    done = subprocess.run(
        [*command, "--database", "sqlite", "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kept = json.loads((tmp_path / "data.json").read_text())["results"]["sqlite"]
    assert {name for name, each in kept.items() if isinstance(each, list)} == {
        *(f"by_hand {each}" for each in ("list", "page", "create")),
        *(f"ours {each}" for each in ("list", "page", "create")),
        *(f"ours {each} hit" for each in ("early", "routed", "private")),
    }
    assert "by_hand page : our page" in done.stdout
    assert "goal >= 15.0" in done.stdout
