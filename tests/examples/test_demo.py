"""``make demo``, as a process: what it prints, how it ends, and that it leaves nobody behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from examples.shop.demo import is_free

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0

LUCKY = "9"
"""A seed with which nothing goes wrong for the first order, so that a test takes less time."""


@contextmanager
def demo(*arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """The demo, its output piped. All its processes carry a mark, and have to end with it."""
    mark = f"DEMO_TEST_MARK={uuid4().hex}"
    name, _, value = mark.partition("=")
    inherited = {
        key: each
        for key, each in os.environ.items()
        if key not in ("ONCE", "SEED", "BROKEN", "COLUMNS", "FORCE_COLOR")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.shop.demo", "--port", "0", "--pace", "0", *arguments],
        cwd=ROOT,
        env={**inherited, "PYTHONIOENCODING": "utf-8", **env, name: value},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    try:
        with process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise
        assert carrying(mark) == []
    finally:
        for pid in carrying(mark):
            os.kill(pid, signal.SIGKILL)


def carrying(mark: str) -> list[int]:
    """The processes with ``mark`` in their environment; none where there is no /proc to ask."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
        except OSError:
            continue  # gone meanwhile, or another user's
    return found


def read_until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if match := re.search(pattern, line):
            return match
    raise AssertionError(f"{pattern!r} did not come in:\n{''.join(seen)}")


def test_with_once_it_ends_with_0_and_prints_plain_lines() -> None:
    with demo(ONCE="1") as process:
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    assert "All accepted orders (11) were fully processed: 9 shipped, 2 called off" in output
    assert "\x1b" not in output
    assert max(map(len, output.splitlines())) <= 120
    # Every request once, each task of an order on a line of its own.
    headers = re.findall(r"^(?:order \d+|no order) +(demo-\d\d)  ", output, re.MULTILINE)
    assert sorted(headers) == [f"demo-{number:02}" for number in range(1, 15)]
    assert len(re.findall(r"^  route +inventory ", output, re.MULTILINE)) >= 11
    assert "✗╌" in output
    assert "◆" in output


def test_an_order_that_cannot_be_completed_is_named_and_the_status_is_1() -> None:
    with demo("--once", "--rounds", "1", "--seed", LUCKY, BROKEN="warehouse") as process:
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, output
    assert "order 1 is needs_attention: warehouse given_up" in output
    assert "fully processed" not in output


def test_it_leaves_the_shop_up_until_it_is_told_to_end() -> None:
    with demo("--rounds", "1", "--seed", LUCKY) as process:
        url = read_until(process, r"The shop stays up: (http://\S+)/docs")[1]
        with urllib.request.urlopen(f"{url}/docs", timeout=PATIENCE_S) as page:
            assert page.status == 200
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    assert "Every process has ended." in output


def test_interrupted_in_the_middle_it_lets_the_shop_finish_what_it_began() -> None:
    with demo() as process:
        read_until(process, r"^no order demo-03 ")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGINT, output
    assert "which the shop will finish first" in output
    assert re.search(r"All accepted orders \([1-9]\d*\) were fully processed", output)
    assert len(re.findall(r"^demo-", output, re.MULTILINE)) < 14
    assert "Every process has ended." in output


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)
