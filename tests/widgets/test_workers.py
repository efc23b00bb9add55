"""Several real processes at one address, one that is killed, and one that is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chaos.processes import Program, free_port
from tests.support import async_test
from tests.widgets.wire import EVERY_ERA, MODERN, Wire, envelope, events


@contextmanager
def service(
    directory: Path, *, workers: int = 1, sessions: bool = False
) -> Iterator[tuple[Program, str]]:
    """uvicorn with so many workers, up and running."""
    port = free_port()
    arguments = ["-m", "uvicorn", "tests.widgets.worker_service:app", "--port", str(port)]
    # On a busy machine uvicorn would take a worker that is slow to answer for dead.
    arguments += ["--timeout-worker-healthcheck", "60"]
    program = Program(
        [sys.executable, "-W", "error", *arguments, "--workers", str(workers)],
        {
            "BACKSTAY_STATE": f"sqlite:///{directory / 'state.db'}",
            "SESSIONS": "1" if sessions else "",
            "PYTHONASYNCIODEBUG": "",
        },
    )
    try:
        for _ in range(workers):
            program.wait_for(r"Application startup complete")
        yield program, f"http://127.0.0.1:{port}"
    finally:
        program.close()


async def counted(url: str, wire: dict[str, Any], times: int) -> list[dict[str, int]]:
    """So many calls at a time, each on a connection of its own so that any worker may get it."""

    async def one() -> dict[str, int]:
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            found: dict[str, int] = (await Wire(http, **wire).call("count"))["structuredContent"]
            return found

    return await asyncio.gather(*(one() for _ in range(times)))


@async_test
async def test_with_two_workers_every_call_is_served_and_state_counts_right(
    tmp_path: Path,
) -> None:
    with service(tmp_path, workers=2) as (_, url):
        async with httpx.AsyncClient(base_url=url) as http:
            wire = Wire(http)
            await wire.hello()
            session = {"mcp-session-id": wire.headers["mcp-session-id"]}
        ada = {"authorization": "Bearer ada:"}
        pids: set[int] = set()
        for who in (session, ada):
            done = 0
            for version in EVERY_ERA if who is ada else ["2025-11-25"]:
                wire_options = {"version": version, "headers": who}
                found = await counted(url, wire_options, 40)
                assert sorted(each["n"] for each in found) == list(range(done + 1, done + 41))
                done += 40
                pids |= {each["pid"] for each in found}
        assert len(pids) == 2, "both have worked"


async def killed_while_it_holds(url: str, body: Any, headers: dict[str, str]) -> None:
    """Call ``hold``, and kill the worker that says it has begun."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        async with http.stream("POST", "/mcp", json=body, headers=headers) as answer:
            async for line in answer.aiter_lines():
                if "holding in" in line:
                    pid = int(events(line)[0]["params"]["message"].rpartition(" ")[2])
                    os.kill(pid, signal.SIGKILL)


@async_test
async def test_a_worker_that_is_killed_in_a_call_loses_nothing_that_was_written(
    tmp_path: Path,
) -> None:
    ada = {"authorization": "Bearer ada:"}
    with service(tmp_path, workers=2) as (_, url):
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            before = (await Wire(http, headers=ada).call("count"))["structuredContent"]["n"]
            assert (await Wire(http, headers=ada).call("held"))["structuredContent"] == {
                "result": False
            }
        body, headers = envelope(
            "tools/call",
            {"name": "hold", "arguments": {}},
            version=MODERN,
            meta={"progressToken": 1},
        )
        with pytest.raises(httpx.TransportError):
            await killed_while_it_holds(url, body, {**headers, **ada})
        # The other one serves on, whatever becomes of the first.
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            wire = Wire(http, headers=ada)
            assert (await wire.call("held"))["structuredContent"] == {"result": True}
            after = (await wire.call("count"))["structuredContent"]
            assert after["n"] == before + 1


@async_test
async def test_a_process_that_is_asked_to_stop_ends_what_is_listened_to(tmp_path: Path) -> None:
    """Servers wait for open streams before they end the lifespan, so these must not."""
    body, headers = envelope(
        "subscriptions/listen",
        {"notifications": {"toolsListChanged": True}},
        version=MODERN,
    )
    with service(tmp_path) as (program, url):
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            text = ""
            ada = {"authorization": "Bearer ada:"}
            async with http.stream("POST", "/mcp", json=body, headers={**headers, **ada}) as answer:
                async for line in answer.aiter_lines():
                    text += line + "\n"
                    if "acknowledged" in line:
                        program.signal(signal.SIGTERM)
        assert "result" in events(text)[-1], "told that it is over, and not cut off"
        assert await asyncio.to_thread(program.wait) in {0, -signal.SIGTERM}
        quiet(program)


@async_test
async def test_a_process_that_is_asked_to_stop_lets_calls_end_within_their_time(
    tmp_path: Path,
) -> None:
    body, headers = envelope(
        "tools/call", {"name": "brief"}, version="2025-11-25", meta={"progressToken": 1}
    )
    with service(tmp_path) as (program, url):
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            text = ""
            async with http.stream("POST", "/mcp", json=body, headers=headers) as answer:
                async for line in answer.aiter_lines():
                    text += line + "\n"
                    if "begun" in line:
                        program.signal(signal.SIGTERM)
        result = events(text)[-1]["result"]
        assert result["structuredContent"]["error"] == "timeout_error"
        assert await asyncio.to_thread(program.wait) in {0, -signal.SIGTERM}
        quiet(program)


@async_test
async def test_a_process_that_is_asked_to_stop_ends_the_streams_of_sessions(
    tmp_path: Path,
) -> None:
    with service(tmp_path, sessions=True) as (program, url):
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            wire = Wire(http, headers={"authorization": "Bearer ada:"})
            await wire.hello()
            _, headers = envelope("x", version="2025-11-25")
            async with http.stream("GET", "/mcp", headers={**headers, **wire.headers}) as standing:
                assert standing.status_code == 200
                program.signal(signal.SIGTERM)
                # The SDK cuts it off, where a last chunk would be more polite.
                with contextlib.suppress(httpx.RemoteProtocolError):
                    async for _ in standing.aiter_lines():
                        pass
        assert await asyncio.to_thread(program.wait) in {0, -signal.SIGTERM}
        quiet(program)


def quiet(program: Program) -> None:
    for sign in ("was destroyed", "never retrieved", "Traceback"):
        assert not program.said(sign), program.last_words()
