"""An empty store for every side: a file, a database on the PostgreSQL server, a NATS server.

The PostgreSQL server is the one of ``BENCH_POSTGRES`` (default: 127.0.0.1:5432, user postgres),
whose user may create databases.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from benchmarks.sampling import Unavailable

__all__ = ["Stores", "await_none"]

POSTGRES = os.environ.get("BENCH_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
START_S = 10.0
ASK_S = 0.005


class Stores:
    """Makes stores, and removes them all at the end.

    Args:
        folder: for files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._databases: list[str] = []
        self._servers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Stores:
        self._folder.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.terminate()
            server.wait()
        for name in self._databases:
            _execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        shutil.rmtree(self._folder, ignore_errors=True)

    def make(self, store: str, name: str) -> str:
        """The URL of an empty store.

        Raises:
            Unavailable: there is no such server here.
        """
        if store == "postgresql":
            return self._database(name)
        if store == "nats":
            return self._nats(name)
        (self._folder / name).mkdir(exist_ok=True)
        return f"sqlite:///{self._folder / name / 'bench.db'}"

    def _database(self, name: str) -> str:
        database = f"backstay_bench_{os.getpid()}_{name}".replace("-", "_").replace(" ", "_")
        _execute(f'CREATE DATABASE "{database}"')
        self._databases.append(database)
        return urlunsplit(urlsplit(POSTGRES)._replace(path=f"/{database}"))

    def _nats(self, name: str) -> str:
        program = shutil.which("nats-server")
        if program is None:
            raise Unavailable("nats-server is not installed (Debian: apt-get install nats-server)")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [program, "-js", "-a", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(
            [*command, "-sd", str(self._folder / name)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._servers.append(server)
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return f"nats://127.0.0.1:{port}"
        raise Unavailable(f"nats-server does not answer on port {port}")

    def describe(self) -> dict[str, str]:
        """What the PostgreSQL server promises, and where the files are."""
        try:
            found = {name: _execute(f"SHOW {name}") for name in ("server_version", *_SETTINGS)}
        except Unavailable as reason:
            found = {"unavailable": str(reason)}
        disk = subprocess.run(
            ["stat", "-f", "-c", "%T", str(self._folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        return {**found, "files": f"{self._folder} ({disk.stdout.strip() or 'unknown'})"}


def await_none(url: str, counting: str, patience_s: float) -> int:
    """Ask a store every few milliseconds until a count is zero; what it was last.

    Args:
        url: a SQLite file or a PostgreSQL database.
        counting: SQL that gives one number.
        patience_s: how long to ask.
    """
    end = time.monotonic() + patience_s
    if url.startswith("sqlite:///"):
        file = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)
        try:
            while (left := int(file.execute(counting).fetchone()[0])) and time.monotonic() < end:
                time.sleep(ASK_S)
            return left
        finally:
            file.close()

    async def ask() -> int:
        connection = await asyncpg.connect(url)
        try:
            while (left := int(await connection.fetchval(counting))) and time.monotonic() < end:
                await asyncio.sleep(ASK_S)
            return left
        finally:
            await connection.close()

    return asyncio.run(ask())


_SETTINGS = ("fsync", "synchronous_commit", "wal_sync_method", "shared_buffers")


def _execute(statement: str) -> str:
    async def execute() -> str:
        connection = await asyncpg.connect(POSTGRES)
        try:
            return str(await connection.fetchval(statement))
        finally:
            await connection.close()

    try:
        return asyncio.run(execute())
    except (OSError, asyncpg.PostgresError) as failure:
        raise Unavailable(f"PostgreSQL ({POSTGRES}): {failure}") from failure
