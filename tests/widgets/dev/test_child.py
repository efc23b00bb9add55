"""The app's own process ends with the one that started it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.support import PATIENCE_S
from tests.widgets.dev.test_app_process import APP


def test_it_ends_when_whoever_started_it_is_gone(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(APP)
    heard, told = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "backstay.widgets.dev.child",
                "tiny:app",
                str(listener.fileno()),
                str(told),
            ],
            cwd=tmp_path,
            pass_fds=(listener.fileno(), told),
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "BACKSTAY_WIDGETS_DEV": "1"},
        )
        os.close(told)
        with os.fdopen(heard) as status:
            assert status.readline() == "ready\n"
            assert child.stdin is not None
            child.stdin.close()
            assert child.wait(PATIENCE_S) == 0


def test_an_app_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "backstay.widgets.dev.child",
                "nowhere:app",
                str(listener.fileno()),
                "2",
            ],
            cwd=tmp_path,
            pass_fds=(listener.fileno(),),
            input=b"",
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode != 0
    assert b"nowhere" in done.stderr
