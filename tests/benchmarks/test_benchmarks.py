"""The benchmarks run: what they measure depends on the machine, that they measure does not."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from benchmarks.peers import has_fastapi_tasks
from benchmarks.sampling import ROOT, estimate, run_fresh
from benchmarks.served import APPS
from benchmarks.service_apps import SERVICE_APPS

HERE = [
    pytest.param(name, marks=pytest.mark.skipif(not has_fastapi_tasks(), reason="a peer's app"))
    if name.startswith("fastapi-tasks")
    else name
    for name in APPS
]


def run(*arguments: str, results: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments, "--smoke", "--results", str(results)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("schedule", "backstay tasks.schedule"),
        ("imports", "import backstay"),
        ("stability", "all seven patterns"),
        pytest.param(
            "memory",
            "after_response, backstay",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
        ),
    ],
)
def test_a_benchmark_prints_a_table_and_keeps_its_samples(
    name: str, ours: str, tmp_path: Path
) -> None:
    """The row that has the goal is there, and so are the samples it was made from."""
    printed = run(name, results=tmp_path)

    [row] = [line for line in printed.splitlines() if line.strip().startswith(ours + "  ")][:1]
    assert re.search(r"\d", row.replace(ours, ""))
    kept = json.loads((tmp_path / f"{name}.json").read_text())
    assert kept["run"]["python"] == sys.version
    assert ours in json.dumps(kept["results"])
    if not has_fastapi_tasks():
        assert "is not installed" in printed


def test_an_unknown_benchmark_is_refused(tmp_path: Path) -> None:
    """A misspelt name says which names there are."""
    with pytest.raises(
        AssertionError,
        match="'schedule', 'requests', 'service', 'stability', 'memory', 'imports'",
    ):
        run("shedule", results=tmp_path)


@pytest.mark.parametrize("name", HERE)
def test_every_app_that_is_measured_answers(name: str) -> None:
    """A mode that answered with an error would measure something else."""
    with TestClient(APPS[name]()) as client:
        assert client.get("/x").json() == {"ok": True}


@pytest.mark.parametrize("name", SERVICE_APPS)
def test_every_service_that_is_measured_answers(name: str) -> None:
    """With the headers that it is asked with, for an error would cost something else."""
    with TestClient(SERVICE_APPS[name]()) as client:
        if name == "base_pattern, jwt_auth":
            assert client.get("/x").status_code == 401
            assert client.portal is not None
            grant = client.portal.call(client.app.state.auth_jwt.issue, "ada")  # type: ignore[attr-defined]  # FastAPI's
            client.headers["authorization"] = f"Bearer {grant.access_token}"
        assert client.get("/x").json() == {"ok": True}


def test_tokens_are_verified_in_a_process_of_their_own() -> None:
    """Both sides say how long a token took."""
    found = run_fresh("benchmarks.service", 1, 0)
    assert {name: len(turns) for name, turns in found.items()} == {
        "backstay": 1,
        "joserfc by hand": 1,
    }


def test_the_interval_holds_the_median() -> None:
    """The estimate is the median of all samples, between the ends of its interval."""
    found = estimate([[1.0, 2.0], [3.0], [4.0, 5.0]])

    assert found.value == 3.0
    assert found.low <= found.value <= found.high


def test_samples_of_one_process_count_as_one() -> None:
    """Two processes that disagree give a wide interval, however often each was asked."""
    found = estimate([[1.0] * 100, [2.0] * 100])

    assert (found.low, found.high) == (1.0, 2.0)
