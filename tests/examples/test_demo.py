"""``make demo``, as a process: what it prints, how it ends, and that it leaves nobody behind.

The runs go on beside each other, because each of them waits more than it works.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from examples.shop.demo import is_free

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0

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


def read_until(process: subprocess.Popen[str], pattern: str) -> tuple[str, re.Match[str]]:
    """What comes up to a line with this in it, and what was found there."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if match := re.search(pattern, line):
            return "".join(seen), match
    raise AssertionError(f"{pattern!r} did not come in:\n{''.join(seen)}")


class Ended(NamedTuple):
    """A demo that has run."""

    status: int
    output: str


def run_to_the_end() -> Ended:
    with demo(ONCE="1") as process:
        output, _ = process.communicate(timeout=PATIENCE_S)
    return Ended(process.returncode, output)


def run_with_a_broken_warehouse() -> Ended:
    """The shop stays up, and is found up, until it is told to end."""
    with demo("--rounds", "1", "--seed", LUCKY, BROKEN="warehouse") as process:
        before, up = read_until(process, r"The shop stays up: (http://\S+)/docs")
        with urllib.request.urlopen(f"{up[1]}/docs", timeout=PATIENCE_S) as page:
            assert page.status == 200
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE_S)
    return Ended(process.returncode, before + output)


def run_and_interrupt() -> Ended:
    with demo("--no-kills") as process:
        before, _ = read_until(process, r"^no order demo-03 ")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_S)
    return Ended(process.returncode, before + output)


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Future[Ended]]]:
    with ThreadPoolExecutor() as threads:
        yield {
            run.__name__: threads.submit(run)
            for run in (run_to_the_end, run_with_a_broken_warehouse, run_and_interrupt)
        }


Runs = dict[str, "Future[Ended]"]


def test_killed_three_times_every_order_is_completed_and_the_status_is_0(runs: Runs) -> None:
    status, output = runs["run_to_the_end"].result()
    assert status == 0, output
    assert "All accepted orders (20) were fully processed: 18 paid and shipped, 2 called" in output
    assert output.count("killed: worker, with") == 2
    assert output.count("killed: web, with") == 1
    # The gateway had taken the money when the worker was killed.
    assert "1 killed, had been charged already" in output
    assert re.search(r"discarded +shop\.payment ", output)


def test_without_a_terminal_it_prints_plain_lines_and_each_request_once(runs: Runs) -> None:
    _, output = runs["run_to_the_end"].result()
    assert "\x1b" not in output
    headers = re.findall(r"^(?:order \d+|no order) +(demo-\d\d)  ", output, re.MULTILINE)
    assert sorted(headers) == [f"demo-{number:02}" for number in range(1, 24)]
    assert len(re.findall(r"^  durable   payment ", output, re.MULTILINE)) == 20
    drawn = [line for line in output.splitlines() if re.match(r"order|assistant|  [drtw ]", line)]
    assert max(map(len, drawn)) <= 120
    for glyph in "✗☠◆●":
        assert glyph in output


def test_while_the_gateway_hangs_its_circuit_is_open_and_orders_wait_and_are_paid(
    runs: Runs,
) -> None:
    status, output = runs["run_to_the_end"].result()
    assert status == 0, output
    acts = ("$ kill -STOP ", "circuit open: the worker leaves the payment gateway", "$ kill -CONT ")
    places = [output.index(act) for act in (*acts, "circuit closed: one call tried")]
    assert places == sorted(places)
    spared = re.search(r"^([1-9]\d*) calls spared a gateway that hung", output, re.MULTILINE)
    assert spared is not None
    assert re.search(r"^  durable   payment .*○.*✓", output, re.MULTILINE)
    assert re.search(r"^            circuit .*▒.* open for \d\.\d s$", output, re.MULTILINE)


def test_the_last_customer_comes_by_mcp_and_all_it_wanted_is_found_in_the_file(runs: Runs) -> None:
    _, output = runs["run_to_the_end"].result()
    assert re.search(r"^assistant .* served in \d+\.\d\d s$", output, re.MULTILINE)
    called = re.findall(r"^  (?:widget|tool  ) (\w+) .*✓", output, re.MULTILINE)
    assert called == [
        "find_products",
        "upload_photo",
        "place_order",
        "place_order",
        "order_status",
        "find_products",
    ]
    assert re.search(r"order_status .*●.*✓ .*[1-9] reports?, Paid, and on its way", output)
    assert "The assistant sent its order twice, and it was placed once. Its photo is in" in output


def test_an_order_that_cannot_be_completed_is_named_and_the_status_is_1(runs: Runs) -> None:
    status, output = runs["run_with_a_broken_warehouse"].result()
    assert status == 1, output
    assert "order 1 is needs_attention: warehouse discarded" in output
    assert re.search(r"discarded +shop\.warehouse ", output)
    assert "fully processed" not in output
    assert re.search(r"order_status .* something is stuck|reports, It is paid, and some", output)
    assert "Every process has ended." in output


def test_interrupted_in_the_middle_it_lets_the_shop_finish_what_it_began(runs: Runs) -> None:
    status, output = runs["run_and_interrupt"].result()
    assert status == 128 + signal.SIGINT, output
    assert "which the shop will finish first" in output
    assert re.search(r"All accepted orders \([1-9]\d*\) were fully processed", output)
    assert len(re.findall(r"^demo-", output, re.MULTILINE)) < 14
    assert "find_products" not in output
    assert "Every process has ended." in output


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)
