"""Kills a process between any two statements of the SQLite engine, and looks at what is left.

Run as ``python -m tests.ledger.crashing DIRECTORY FIRST STEP``: prints one line of JSON for every
STEP-th operation from the FIRST one on.
A program and not a test, because it forks, which only a process without threads may do.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from backstay.ledger.sqlite import SqliteLedger
from tests.ledger.operations import NOW, OPERATIONS, Operation, prepare

__all__ = ["Report", "dump", "main"]

Report = dict[str, Any]
MOST_STATEMENTS = 200


def dump(file: Path) -> str:
    """Everything that is in a database file, read as the next process would."""
    with closing(sqlite3.connect(file)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
        rows = {name: connection.execute(f'SELECT * FROM "{name}"') for (name,) in names.fetchall()}
        return repr({name: sorted(map(repr, each)) for name, each in rows.items()})


def in_a_process_of_its_own(work: Callable[[], None]) -> int:
    """Fork, work, and exit; how it ended, as ``os.waitstatus_to_exitcode`` says it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def crash(file: Path, operation: Operation, at: int) -> None:
    """Do the operation, and be killed before its ``at``-th statement. Does not return if it was."""
    armed = threading.Event()
    count = 0

    def trace(statement: str) -> None:
        nonlocal count
        if not armed.is_set():
            return
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    connect = sqlite3.connect

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)
        connection.set_trace_callback(trace)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]

    async def run() -> None:
        ledger = SqliteLedger(f"sqlite:///{file}", now=lambda: NOW)
        await ledger.open()
        armed.set()
        await operation.run(ledger)
        armed.clear()
        await ledger.close()

    asyncio.run(run())


def crashes_of(directory: Path, operation: Operation) -> Report:
    """Kill an operation before every statement that it has."""
    start = directory / "start.db"

    def fresh() -> None:
        async def run() -> None:
            ledger = SqliteLedger(f"sqlite:///{start}", now=lambda: NOW)
            await ledger.open()
            await prepare(ledger)
            await ledger.close()

        asyncio.run(run())

    if in_a_process_of_its_own(fresh) != 0:
        return {"name": operation.name, "torn": ["the start could not be made"]}
    image = start.read_bytes()
    before = dump(start)

    def scenario(number: int) -> Path:
        file = directory / f"{operation.name}-{number}.db"
        file.write_bytes(image)
        return file

    whole = scenario(0)
    if in_a_process_of_its_own(partial(crash, whole, operation, 0)) != 0:
        return {"name": operation.name, "torn": ["it fails even if nobody kills it"]}
    after = dump(whole)
    report: Report = {"name": operation.name, "before": 0, "after": 0, "torn": []}
    if before == after:
        report["torn"].append("it changes nothing")
    for at in range(1, MOST_STATEMENTS):
        file = scenario(at)
        code = in_a_process_of_its_own(partial(crash, file, operation, at))
        left = dump(file)
        if code == 0:
            report["statements"] = at - 1
            if left != after:
                report["torn"].append("it was not killed, and yet it is not what it was")
            break
        if code != -signal.SIGKILL:
            report["torn"].append(f"statement {at}: ended with {code}")
        elif left == before:
            report["before"] += 1
        elif left == after:
            report["after"] += 1
        else:
            report["torn"].append(f"statement {at}: {left}")
        if at % 3:
            continue
        # And whoever comes next can do it, or finds it done.
        if in_a_process_of_its_own(partial(crash, file, operation, 0)) != 0:
            report["torn"].append(f"statement {at}: afterwards it cannot be done")
        elif operation.repeatable and dump(file) != after:
            report["torn"].append(f"statement {at}: done again, it is not what it should be")
    return report


def main(directory: Path, first: int, step: int) -> None:
    """Report on some operations, so that several processes share the work."""
    for operation in OPERATIONS[first::step]:
        folder = directory / operation.name
        folder.mkdir()
        print(json.dumps(crashes_of(folder, operation)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
