"""The benchmarks run and say what they compare; what they measure is no test's business."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["schedule", "memory", "imports"])
def test_a_smoke_run_ends_well_and_keeps_its_results(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", name, "--smoke", "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "backstay" in done.stdout
    kept = [json.loads(path.read_text()) for path in tmp_path.rglob("*.json")]
    assert kept


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "schedule" in done.stderr
