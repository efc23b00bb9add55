"""Stopping real servers: whatever was accepted is finished, or said not to be."""

import signal
import threading

import httpx
import pytest

from tests.chaos.server import serving


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_sigterm_lets_tasks_finish_before_the_apps_pool_closes(loop: str) -> None:
    with serving("tests.chaos.service:app", "--loop", loop) as server:
        server.client.post("/work/a", params={"seconds": 0.3})
        server.wait_for("started a")
        server.signal(signal.SIGTERM)
        server.wait()
        assert server.said("finished a") < server.said("pool closed")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_drain_begins_at_the_signal_and_not_when_the_last_stream_ends(loop: str) -> None:
    # uvicorn waits for the open stream for ever, and starts the lifespan's end only after it.
    with serving("tests.chaos.service:app", "--loop", loop, GRACE_S="0.2") as server:
        with server.client.stream("GET", "/stream") as stream:
            next(stream.iter_raw())
            server.client.post("/work/slow", params={"seconds": 60})
            server.wait_for("started slow")
            server.signal(signal.SIGTERM)
            server.wait_for("told slow TaskCancelled")
        server.wait()
        assert server.said("told slow") < server.said("pool closed")


def test_the_shutdown_of_endless_tasks_is_bounded_and_handlers_are_told() -> None:
    with serving(GRACE_S="0.2", SHIELD_GRACE_S="0.2") as server:
        server.client.post("/work/plain", params={"seconds": 600})
        server.client.post("/work/shielded", params={"seconds": 600, "shield": True})
        server.client.post("/block/thread", params={"seconds": 600})
        server.wait_for("started", count=3)
        server.signal(signal.SIGTERM)
        server.wait()
        for name in ("plain", "shielded", "thread"):
            assert server.said(f"told {name} TaskCancelled") < server.said("pool closed")
        assert server.said("told plain") < server.said("told shielded")


def test_a_shielded_task_finishes_in_its_second_grace() -> None:
    with serving(GRACE_S="0.1") as server:
        server.client.post("/work/plain", params={"seconds": 600})
        server.client.post("/work/shielded", params={"seconds": 0.6, "shield": True})
        server.wait_for("started", count=2)
        server.signal(signal.SIGTERM)
        server.wait()
        assert server.said("told plain TaskCancelled") < server.said("finished shielded")
        assert server.said("finished shielded") < server.said("pool closed")


def test_a_second_sigterm_ends_the_grace_and_a_third_the_shielded_one() -> None:
    with serving(GRACE_S="600", SHIELD_GRACE_S="600") as server:
        server.client.post("/work/plain", params={"seconds": 600})
        server.client.post("/work/shielded", params={"seconds": 600, "shield": True})
        server.wait_for("started", count=2)
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGCONT)  # harmless, and lets the first one be handled by itself
        server.wait_for("Shutting down")
        server.signal(signal.SIGTERM)
        server.wait_for("told plain TaskCancelled")
        server.signal(signal.SIGTERM)
        server.wait_for("told shielded TaskCancelled")
        server.wait()
        assert server.said("told shielded") < server.said("pool closed")


def test_fastapis_background_tasks_are_drained_and_cannot_hold_up_the_stop_for_ever() -> None:
    with serving(GRACE_S="0.5") as server:
        server.client.post("/background/short", params={"seconds": 0.1})
        server.client.post("/background/endless", params={"seconds": 600})
        server.wait_for("started endless")
        server.signal(signal.SIGTERM)
        server.wait()
        server.said("finished short")
        server.said("'work' was cancelled")
        server.said("pool closed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_every_worker_of_several_drains(number: signal.Signals) -> None:
    with serving("tests.chaos.service:app", "--workers", "2") as server:
        server.wait_for("Application startup complete", count=2)
        pids: set[int] = set()
        for attempt in range(200):
            with httpx.Client(base_url=server.client.base_url) as client:  # a fresh connection
                pids.add(client.post(f"/work/{attempt}", params={"seconds": 0.5}).json())
            if len(pids) == 2:
                break
        assert len(pids) == 2, "both workers took a task"
        server.wait_for("started", count=attempt + 1)
        server.signal(number)
        server.wait()
        finished = [line for line in server.lines if "finished" in line]
        assert len(finished) == attempt + 1
        assert sum("pool closed" in line for line in server.lines) == 2


def test_a_client_that_hangs_up_in_the_middle_of_a_stream_loses_no_task() -> None:
    with serving() as server:
        with server.client.stream("GET", "/stream") as stream:
            next(stream.iter_raw())
        server.wait_for("finished after the stream")


def test_requests_under_load_keep_every_promise_through_a_stop() -> None:
    with serving() as server:
        accepted: list[str] = []
        stop = threading.Event()

        def order(worker: int) -> None:
            number = 0
            with httpx.Client(base_url=server.client.base_url, timeout=30) as client:
                while not stop.is_set():
                    name = f"order-{worker}-{number}"
                    number += 1
                    try:
                        answer = client.post(f"/work/{name}", params={"seconds": 0.05})
                    except httpx.HTTPError:
                        return  # refused: the server is stopping and accepted nothing
                    if answer.status_code == 200:
                        accepted.append(name)

        threads = [threading.Thread(target=order, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        server.wait_for("finished order", count=40)
        server.signal(signal.SIGTERM)
        server.wait()
        stop.set()
        for thread in threads:
            thread.join()
        finished = {line.rsplit(" ", 1)[1] for line in server.lines if "finished" in line}
        assert set(accepted) <= finished
        assert len(accepted) >= 40
