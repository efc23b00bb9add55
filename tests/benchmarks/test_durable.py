"""The benchmark of durable tasks runs, and what it says is what its samples say.

How fast anything is depends on the machine; that every job was finished does not.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.durable.goals import GOALS, LIMITS, Goal, judged
from benchmarks.durable.home import PEERS
from benchmarks.durable.marks import Mark, read_marks
from benchmarks.durable.samples import Samples, Spread
from benchmarks.durable.scenarios import COLUMNS, NAMES
from benchmarks.durable.sides import OURS, SIDES
from benchmarks.durable.stand import Worker, cpu_seconds, stop
from benchmarks.sampling import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def run(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.durable", *arguments],
        cwd=ROOT,
        env={**os.environ, "BENCH_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], Path]:
    """What a run of our side on SQLite prints and keeps; a peer is asked for but not set up."""
    home = tmp_path_factory.mktemp("bench")
    kept = home / "kept" / "durable.json"
    done = run("--smoke", "--sides", "ours-sqlite,huey", "--json", str(kept), home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(kept.read_text()), home


def test_every_scenario_prints_its_row_and_keeps_its_samples(
    smoke: tuple[str, dict[str, Any], Path],
) -> None:
    """Each figure a table has a column for was measured; the goals are listed with what was found."""
    printed, kept, _ = smoke

    for name in NAMES:
        row = LIMITS if name == "limits" else "ours-sqlite"
        found = kept["results"][name]["samples"][row]
        wanted = {metric for metric, _, _ in COLUMNS[name]}
        if name in {"limits", "store"}:  # the server's, if there is none here
            wanted = {metric for metric in wanted if not metric.startswith("asyncpg")}
        assert wanted <= set(found), name
    assert re.search(r"ours-sqlite: from sync : raw inserts +>= 0\.70 +\d", printed)
    assert sys.version.split()[0] in kept["run"]["python"]


def test_every_job_is_done_once_whatever_is_measured(
    smoke: tuple[str, dict[str, Any], Path],
) -> None:
    """No drain leaves a job or runs one twice; nothing is lost by kill -9."""
    results = smoke[1]["results"]

    drained = results["drain"]["samples"]["ours-sqlite"]
    assert (drained["unfinished"], drained["twice"]) == ([0.0], [0.0])
    assert results["history"]["samples"]["ours-sqlite, history"]["unfinished"] == [0.0]
    assert results["latency"]["samples"]["ours-sqlite"]["missing"] == [0.0]
    assert results["latency"]["samples"]["ours-sqlite"]["embedded missing"] == [0.0]
    assert results["rescue"]["samples"]["ours-sqlite"]["lost"] == [0.0]
    assert results["rescue"]["samples"]["ours-sqlite"]["in flight"][0] >= 1


def test_a_peer_that_is_not_set_up_is_said_to_be(
    smoke: tuple[str, dict[str, Any], Path],
) -> None:
    """A table without a peer would look as if there were none."""
    printed, kept, _ = smoke

    assert "huey: not set up: python -m benchmarks.durable setup" in printed
    assert "not set up" in kept["results"]["drain"]["missing"]["huey"]


def test_a_run_leaves_nothing_behind(smoke: tuple[str, dict[str, Any], Path]) -> None:
    """Stores and logs are gone; what was asked to be kept is there."""
    assert [each.name for each in smoke[2].iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "drains"), "no scenario is named drains"),
        (("--sides", "celery"), "no side is named celery"),
        (("--python", "/nowhere/python"), "no interpreter there"),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    """Misspelt names and interpreters are refused before anything is measured."""
    done = run(*arguments, home=tmp_path)

    assert done.returncode != 0
    assert said in done.stderr


def test_every_peer_has_pinned_packages() -> None:
    """A peer is what its list says, and no other version."""
    for side in SIDES.values():
        if side.peer:
            pins = (PEERS / f"{side.peer}.txt").read_text().split()
            assert pins
            assert all("==" in pin for pin in pins)


def test_goals_are_about_what_is_measured() -> None:
    """No promise names a side or a figure that does not exist."""
    for goal in GOALS:
        known = {metric for metric, _, _ in COLUMNS[goal.scenario]} | {"lost", "twice", "drain us"}
        assert goal.metric in known, goal
        assert goal.side.removesuffix(", history") in OURS
        if goal.of:
            assert goal.of[0] in SIDES


def samples(*rounds: dict[tuple[str, str], float]) -> Samples:
    found = Samples()
    for number, figures in enumerate(rounds):
        for (side, metric), value in figures.items():
            found.add(side, number, {metric: value})
    return found


def test_a_ratio_is_made_round_by_round() -> None:
    """A moment in which the disk was slow for both sides does not count against one."""
    ours, limit = ("ours-sqlite", "awaited"), ("ours-sqlite", "raw")
    found = samples({ours: 5.0, limit: 10.0}, {ours: 1.0, limit: 2.0})

    assert found.ratio(ours, limit) == Spread(0.5, 0.5, 0.5)
    assert found.spread(*ours) == Spread(3.0, 1.0, 5.0)
    assert found.ratio(ours, ("huey", "blocking")) is None


@pytest.mark.parametrize(
    ("rounds", "verdict"),
    [((0.5, 0.6), "met"), ((0.3, 0.6), "open"), ((0.1, 0.2), "missed")],
)
def test_a_goal_is_met_when_every_round_meets_it(rounds: tuple[float, ...], verdict: str) -> None:
    """Some rounds are not enough, and none is a miss."""
    ours, limit = ("ours-sqlite", "awaited"), ("ours-sqlite", "raw")
    rows = list(judged({"enqueue": samples(*({ours: one, limit: 1.0} for one in rounds))}))

    [row] = [row for row in rows if row[0] == "ours-sqlite: one by one : raw inserts"]
    assert row[3] == verdict


def test_the_best_peer_is_named_beside_a_goal() -> None:
    """The least where less is better, the most where more is."""
    found = samples(
        {
            ("ours-postgres", "drain"): 20.0,
            ("pgqueuer", "drain"): 10.0,
            ("saq", "drain"): 5.0,
            ("ours-postgres", "drain us"): 20.0,
            ("pgqueuer", "drain us"): 40.0,
            ("saq", "drain us"): 90.0,
        }
    )

    rows = {row[0]: row for row in judged({"drain": found})}

    assert rows["ours-postgres: drain, one process, jobs/s"][4:] == ("pgqueuer 10.0", "2.00")
    assert rows["ours-postgres: drain, worker CPU us/job"][4:] == ("pgqueuer 40.0", "0.50")


def test_an_unmeasured_goal_says_so() -> None:
    """A side that failed has its goals listed without a verdict."""
    found = Samples()
    found.missing["ours-sqlite"] = "failed: the reason"

    [row, *_] = judged({"drain": found})

    assert row[2:4] == ("not measured", "")


def test_a_goal_cannot_be_built_by_position() -> None:
    """Six numbers and names in a row would be read wrongly."""
    with pytest.raises(TypeError):
        Goal("text", "drain", "ours-sqlite", "drain", 1.0)  # type: ignore[misc]


def test_half_a_mark_is_not_read(tmp_path: Path) -> None:
    """A worker that is being killed may have written a part of one."""
    file = tmp_path / "marks"
    program = (
        "import os; from benchmarks.durable import marks; marks.finish(7.0); "
        "os.write(marks._file('BENCH_FINISHED'), b'half')"
    )
    before = time.time()
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "BENCH_FINISHED": str(file)},
        check=True,
    )

    [mark] = read_marks(file)

    assert mark == Mark(7.0, mark.at)
    assert before <= mark.at <= time.time()
    assert read_marks(tmp_path / "none") == []


def test_cpu_time_is_that_of_the_worker_and_its_children(tmp_path: Path) -> None:
    """A worker that lets others work does not look free."""
    child = "import time, sys\nwhile time.process_time() < 0.3: pass\nprint()\ntime.sleep(60)"
    parent = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    log = tmp_path / "log"
    worker = Worker([sys.executable, "-c", parent], dict(os.environ), log)
    try:
        end = time.monotonic() + 20
        while "ready" not in log.read_text() and time.monotonic() < end:
            time.sleep(0.01)
        used = cpu_seconds([worker])
    finally:
        stop([worker])

    assert used >= 0.3
    assert worker.gone
