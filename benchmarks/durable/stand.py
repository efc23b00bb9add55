"""A side at its stand: its interpreter, its store, its processes and the marks of its jobs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.durable.marks import Mark, count_marks, read_marks
from benchmarks.durable.sides import Side
from benchmarks.sampling import ROOT

__all__ = ["Stand", "Worker", "cpu_seconds", "run_json", "stop"]

COMMAND_S = 300.0
STOP_S = 5.0
_LOG_LINES = 15


class Worker:
    """A worker process, with all that it starts, in a session of its own.

    Args:
        command: what to run.
        environ: the whole environment.
        log: where its output goes, appended.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def gone(self) -> bool:
        return self.process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """To the process and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.process.wait()


def stop(workers: Sequence[Worker]) -> None:
    """SIGTERM, and SIGKILL for those that take too long."""
    for worker in workers:
        worker.signal(signal.SIGTERM)
    end = time.monotonic() + STOP_S
    for worker in workers:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(max(0.1, end - time.monotonic()))
        worker.kill()


def cpu_seconds(workers: Sequence[Worker]) -> float:
    """CPU time so far of workers and all that they started and that still runs."""
    sessions = {worker.process.pid for worker in workers}
    total = 0.0
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            status = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            if int(status[3]) in sessions and status[0] != "Z":
                # Linux's clock of another process (see clock_getcpuclockid(3)): no ticks of 10 ms
                total += time.clock_gettime((~int(entry) << 3) | 2)
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return total


def run_json(
    command: Sequence[str], arguments: Sequence[object], environ: Mapping[str, str] | None = None
) -> Any:
    """Run a command; return the JSON of the last line it printed.

    Raises:
        RuntimeError: it failed; with the last lines it printed.
    """
    whole = [*command, *map(str, arguments)]
    try:
        done = subprocess.run(
            whole,
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
    except subprocess.TimeoutExpired as failure:
        raise RuntimeError(f"{' '.join(whole)} took over {COMMAND_S:.0f} s") from failure
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-_LOG_LINES:])
        raise RuntimeError(f"{' '.join(whole)} ended with status {done.returncode}:\n{said}")
    return json.loads(lines[-1])


class Stand:
    """Where one side is measured.

    Args:
        side: who.
        label: what it is called in the tables.
        python: the interpreter of its environment.
        url: its store, empty and its own.
        folder: for its files.
    """

    def __init__(self, side: Side, label: str, python: str, url: str, folder: Path) -> None:
        self.side = side
        self.label = label
        self.python = python
        self.url = url
        self.folder = folder
        self.finished = folder / "finished"
        self.started = folder / "started"
        folder.mkdir(parents=True, exist_ok=True)
        self.produce("create")

    def run(self, module: str, *arguments: object, **environ: str) -> Any:
        """Run ``python -m module``; return the JSON of the last line it printed."""
        try:
            return run_json([self.python, "-m", module], arguments, self._environ(environ))
        except RuntimeError as failure:
            raise RuntimeError(f"{self.label}: {failure}") from failure

    def produce(self, command: str, *numbers: float, **environ: str) -> dict[str, float]:
        """Run the producer."""
        figures: dict[str, float] = self.run(
            "benchmarks.durable.producer", self.side.module, command, *numbers, **environ
        )
        return figures

    def work(self, number: int = 0, **environ: str) -> Worker:
        """Start a worker."""
        return Worker(
            [self.python, *(self.side.worker or ("-m", self.side.module))],
            self._environ(environ | {"DBOS__VMID": f"w{number}"}),
            self.folder / f"worker-{number}.log",
        )

    def forget_marks(self) -> None:
        """Before a measurement, while no worker runs."""
        self.finished.unlink(missing_ok=True)
        self.started.unlink(missing_ok=True)

    def done(self) -> int:
        """How many jobs have left their mark."""
        return count_marks(self.finished)

    def marks(self) -> list[Mark]:
        return read_marks(self.finished)

    def await_marks(self, jobs: int, patience_s: float, workers: Sequence[Worker]) -> int:
        """Wait until so many jobs are done; how many are, when patience or the workers end."""
        end = time.monotonic() + patience_s
        while (done := self.done()) < jobs and time.monotonic() < end:
            if workers and all(worker.gone for worker in workers):
                raise RuntimeError(self.complaint("its worker has ended", workers))
            time.sleep(0.005)
        return done

    def complaint(self, what: str, workers: Sequence[Worker]) -> str:
        """What went wrong, with the last lines of the workers' logs."""
        lines = [f"{self.label}: {what}"]
        for worker in workers:
            lines += worker.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join(lines)

    def _environ(self, more: Mapping[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "BENCH_URL": self.url,
            "BENCH_FINISHED": str(self.finished),
            "BENCH_STARTED": str(self.started),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            **self.side.environ,
            **more,
        }
