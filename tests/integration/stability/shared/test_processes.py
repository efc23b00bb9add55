"""Real processes: one of all of them tries, and no death or sleep of one stops or fools the others."""

import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise

import pytest

from tests.chaos.processes import Program, wait_until
from tests.integration.stability.shared.shared_stores import EVERY_PLACE, a_place
from tests.support import PATIENCE_S

CALLING = "tests.integration.stability.shared.calling"

every_place = pytest.mark.parametrize("kind", EVERY_PLACE)


class Upstream:
    """A service on a port.

    Attributes:
        calls: the process and the time of each request.
        answer: what it answers.
        holds: whether it lets requests wait.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[int, float]] = []
        self.answer = "answer"
        self.running: list[int] = []
        self.most = 0
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()
        upstream = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline()
                if line:
                    upstream.serve(int(line), self.wfile.write)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 200

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def hold(self) -> threading.Event:
        """From now on requests wait until what this returns is set."""
        self.gate = threading.Event()
        return self.gate

    def serve(self, pid: int, write: Callable[[bytes], object]) -> None:
        gate = self.gate
        with self._lock:
            self.calls.append((pid, time.monotonic()))
            self.running.append(pid)
            self.most = max(self.most, len(self.running))
        gate.wait(PATIENCE_S)
        with self._lock:
            self.running.remove(pid)
        with suppress(OSError):  # it is dead
            write(f"{self.answer}\n".encode())

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def an_upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    try:
        yield upstream
    finally:
        upstream.close()


@contextmanager
def callers(
    kind: str, upstream: Upstream, *, count: int = 3, reset_s: float, lease_s: float = 1.0
) -> Iterator[list[Program]]:
    """Processes that call, and have all had an answer."""
    with ExitStack() as stack:
        url, prefix = stack.enter_context(a_place(kind))
        programs = []
        for _ in range(count):
            options = [url, prefix, str(upstream.port), str(reset_s), str(lease_s)]
            program = Program([sys.executable, "-m", CALLING, *options], {})
            stack.callback(program.close)
            programs.append(program)
        for each in programs:
            each.wait_for("^answer$")
        yield programs


def last_word(program: Program) -> str:
    return program.lines[-1] if program.lines else ""


def all_say(programs: list[Program], word: str) -> None:
    wait_until(lambda: all(last_word(each) == word for each in programs), f"all to say {word!r}")


@every_place
def test_of_all_processes_one_tries_at_a_time_and_all_hear_of_the_end(kind: str) -> None:
    reset_s = 0.3
    with an_upstream() as upstream, callers(kind, upstream, reset_s=reset_s) as programs:
        upstream.answer = "failed"
        wait_until(lambda: all(each.said("refused") for each in programs), "all to be refused")
        wait_until(lambda: upstream.running == [], "what was under way to end")
        seen = len(upstream.calls)
        upstream.most = 0
        wait_until(lambda: len(upstream.calls) >= seen + 8, "eight probes")
        assert upstream.most == 1
        probes = [at for _, at in upstream.calls[seen:]]
        gaps = [after - before for before, after in pairwise(probes)]
        # The time between them is by the store's clock, and they arrive here a little later.
        assert min(gaps) > reset_s * 0.95, gaps
        upstream.answer = "answer"
        all_say(programs, "answer")
        upstream.calls.clear()
        wait_until(lambda: len({pid for pid, _ in upstream.calls}) == 3, "all to call again")


@every_place
def test_when_the_one_that_tries_is_killed_another_one_does(kind: str) -> None:
    with an_upstream() as upstream, callers(kind, upstream, reset_s=0.3) as programs:
        upstream.answer = "failed"
        wait_until(lambda: all(each.said("refused") for each in programs), "all to be refused")
        gate = upstream.hold()
        wait_until(lambda: len(upstream.running) == 1, "somebody to try")
        [prober] = upstream.running
        all_say([each for each in programs if each.pid != prober], "refused")
        os.kill(prober, signal.SIGKILL)
        wait_until(lambda: len(upstream.running) == 2, "another one to try")
        assert upstream.running[1] != prober
        upstream.answer = "answer"
        gate.set()
        all_say([each for each in programs if each.pid != prober], "answer")


@every_place
def test_who_slept_through_its_lease_and_comes_back_with_a_success_changes_nothing(
    kind: str,
) -> None:
    with an_upstream() as upstream, callers(kind, upstream, reset_s=0.5, lease_s=0.5) as programs:
        upstream.answer = "failed"
        wait_until(lambda: all(each.said("refused") for each in programs), "all to be refused")
        gate = upstream.hold()
        wait_until(lambda: len(upstream.running) == 1, "somebody to try")
        [sleeper] = upstream.running
        [zombie] = [each for each in programs if each.pid == sleeper]
        others = [each for each in programs if each.pid != sleeper]
        zombie.signal(signal.SIGSTOP)
        upstream.answer = "answer"
        second_gate = upstream.hold()
        gate.set()  # its answer waits for it
        wait_until(lambda: any(pid != sleeper for pid in upstream.running), "another one to try")
        upstream.answer = "failed"
        second_gate.set()
        before = len(upstream.calls)
        heard = len(zombie.lines)
        upstream.most = 0
        zombie.signal(signal.SIGCONT)
        wait_until(lambda: "answer" in zombie.lines[heard:], "the sleeper to have its answer")
        wait_until(lambda: len(upstream.calls) >= before + 4, "others to try")
        assert upstream.most == 1
        for each in others:
            assert "answer" not in each.lines[each.lines.index("refused") :]
        probes = [at for _, at in upstream.calls[before:]]
        gaps = [after - before_ for before_, after in pairwise(probes)]
        assert min(gaps) > 0.5 * 0.95, gaps


@every_place
def test_all_processes_together_are_as_fast_as_was_said_and_no_faster(kind: str) -> None:
    rate, burst, count, each_makes = 200, 20, 4, 60
    with a_place(kind) as (url, prefix):
        options = [url, prefix, "0", "throttle", str(rate), str(burst), str(each_makes)]
        programs = [
            subprocess.Popen(
                [sys.executable, "-m", CALLING, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(count)
        ]
        try:
            for each in programs:
                assert each.stdout is not None
                assert each.stdout.readline() == "ready\n"
            begun = time.monotonic()
            for each in programs:
                assert each.stdin is not None
                each.stdin.write("\n")
                each.stdin.flush()
            for each in programs:
                assert each.stdout is not None
                assert each.stdout.readline() == "done\n"
            took_s = time.monotonic() - begun
        finally:
            for each in programs:
                each.kill()
                each.communicate()
    # Faster is what cannot be; how much slower it is, is the machine's.
    assert count * each_makes <= burst + rate * took_s
