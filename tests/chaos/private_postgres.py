"""A PostgreSQL of one's own, to be killed in the middle: from installed binaries, for one test."""

import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

from tests.chaos.databases import PostgresDatabase
from tests.chaos.processes import free_port, wait_until

__all__ = ["PrivatePostgres", "private_postgres"]


class PrivatePostgres:
    """A server on a free port with its data in a directory."""

    def __init__(self, binaries: Path, directory: Path, user: str | None) -> None:
        self._binaries = binaries
        self._directory = directory
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._log = directory / "log"
        self.port = free_port()
        self.database = PostgresDatabase(f"postgresql://chaos@127.0.0.1:{self.port}/postgres")

    def _popen(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [str(self._binaries / arguments[0]), *arguments[1:]],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                user=self._user,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                start_new_session=True,
            )

    def init(self) -> None:
        """Make the cluster."""
        data = str(self._directory / "data")
        options = ["--auth=trust", "--username=chaos", "--encoding=UTF8", "--locale=C", "--no-sync"]
        assert self._popen("initdb", "-D", data, *options).wait(60) == 0, self._log.read_text()

    def start(self) -> None:
        """Run it, and wait until it answers."""
        options = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self._directory}",
            "shared_buffers=16MB",
        ]
        flags = [flag for option in options for flag in ("-c", option)]

        def answers() -> bool:
            # What is left of the one that was killed may hold its shared memory for a moment.
            if self._process is None or self._process.poll() is not None:
                self._process = self._popen("postgres", "-D", str(self._directory / "data"), *flags)
            try:
                self.database.rows("SELECT 1")
            except psycopg.OperationalError:
                return False
            return True

        wait_until(answers, "the private PostgreSQL to answer")

    def kill(self, number: signal.Signals) -> None:
        """SIGKILL for the postmaster, or SIGQUIT: what ``pg_ctl stop -m immediate`` sends."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(30)

    def close(self) -> None:
        """Leave no process behind."""
        if self._process is not None and self._process.poll() is None:
            self.kill(signal.SIGQUIT)


@contextmanager
def private_postgres() -> Iterator[PrivatePostgres]:
    """A running server; skips the test, saying why, where none can be had."""
    binaries = _binaries()
    if binaries is None:
        _skip("no PostgreSQL server's binaries (initdb, postgres) were found")
    user = None
    if os.geteuid() == 0:
        user = next((each for each in ("postgres", "nobody") if _exists(each)), None)
        if user is None:
            _skip(f"PostgreSQL refuses to run as {getpass.getuser()}, and there is nobody else")
    directory = Path(tempfile.mkdtemp(prefix="backstay-postgres-"))
    try:
        if user is not None:
            shutil.chown(directory, user)
        server = PrivatePostgres(binaries, directory, user)
        try:
            server.init()
            server.start()
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    candidates = [Path(found).parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((each for each in candidates if (each / "postgres").exists()), None)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _skip(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
