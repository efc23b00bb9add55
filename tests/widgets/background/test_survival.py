"""A task survives the process that runs it, and any process can be asked about it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.processes import Program, free_port, wait_until
from tests.widgets.background.errands import TASKS
from tests.widgets.wire import MODERN, envelope


class Shop(Program):
    """A process of the service."""

    def __init__(self, folder: Path, *, worker: bool) -> None:
        port = free_port()
        super().__init__(
            [
                *(sys.executable, "-m", "uvicorn", "tests.widgets.background.shop:app"),
                *("--port", str(port), "--no-access-log"),
            ],
            {
                "DATABASE": f"sqlite:///{folder / 'shop.db'}",
                "JOURNAL": str(folder / "journal"),
                # The default, which the tests of the house have set to memory.
                "BACKSTAY_STATE": f"sqlite:///{folder / 'shop-state.db'}",
                "WORKER": "1" if worker else "0",
            },
        )
        self.url = f"http://127.0.0.1:{port}/mcp"
        self.wait_for("Application startup complete|Uvicorn running")

    def ask(self, method: str, params: dict[str, Any], name: str) -> dict[str, Any]:
        body, headers = envelope(method, params, version=MODERN, can={"extensions": {TASKS: {}}})
        answer = httpx.post(self.url, json=body, headers=headers | {"mcp-name": name}, timeout=20)
        told: dict[str, Any] = answer.json()
        assert "result" in told, f"{told}\n{self.last_words()}"
        found: dict[str, Any] = told["result"]
        return found

    def task(self, task_id: str) -> dict[str, Any]:
        return self.ask("tasks/get", {"taskId": task_id}, task_id)


def test_a_task_survives_kill_9_of_its_worker_and_is_told_by_another_process(
    tmp_path: Path,
) -> None:
    journal = tmp_path / "journal"
    web, worker = Shop(tmp_path, worker=False), Shop(tmp_path, worker=True)
    other: Shop | None = None
    try:
        task = web.ask("tools/call", {"name": "pack", "arguments": {"order": 7}}, "pack")
        wait_until(journal.exists, "the tool to begin")
        assert web.task(task["taskId"])["status"] == "working"
        first = worker.pid
        worker.kill()
        web.kill()
        other = Shop(tmp_path, worker=True)
        wait_until(lambda: len(journal.read_text().splitlines()) == 2, other.last_words)
        assert other.task(task["taskId"])["status"] == "working"
        (tmp_path / "go").touch()
        wait_until(lambda: other.task(task["taskId"])["status"] == "completed", other.last_words)
        found = other.task(task["taskId"])
        assert found["result"]["content"][0]["text"] == "packed 7"
        assert found["createdAt"] == task["createdAt"]
        pids = [int(line.split()[1]) for line in journal.read_text().splitlines()]
        assert pids == [first, other.pid]
    finally:
        for each in (web, worker, other):
            if each is not None:
                each.close()
