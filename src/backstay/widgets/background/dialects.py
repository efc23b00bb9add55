"""A task on the wire, in both forms of the protocol."""

from __future__ import annotations

from typing import Any

from backstay.widgets.background.desk import TaskView

__all__ = ["POLL_MS", "RELATED_TASK", "core_task", "extension_task"]

POLL_MS = 1_000
"""How often clients are asked to look, in milliseconds."""

RELATED_TASK = "io.modelcontextprotocol/related-task"
"""The key in ``_meta`` that names a result's task (MCP 2025-11-25)."""


def core_task(view: TaskView) -> dict[str, Any]:
    """A ``Task`` of MCP 2025-11-25.

    There a tool's own error makes the task fail, and ``tasks/result`` tells it.
    """
    status = view.status
    if view.result is not None and view.result.get("isError"):
        status = "failed"
    return _told(view, status) | {"ttl": view.record.ttl_ms, "pollInterval": POLL_MS}


def extension_task(view: TaskView, *, detailed: bool) -> dict[str, Any]:
    """A ``Task`` of the extension (2026-07-28).

    Args:
        view: how it is.
        detailed: with its result, error or questions, as ``tasks/get`` tells them.
    """
    found = _told(view, view.status)
    found |= {"ttlMs": view.record.ttl_ms, "pollIntervalMs": POLL_MS}
    if detailed and view.result is not None:
        found["result"] = dict(view.result)
    if detailed and view.error is not None:
        found["error"] = dict(view.error)
    if detailed and view.questions is not None:
        found["inputRequests"] = {key: dict(each) for key, each in view.questions.items()}
    return found


def _told(view: TaskView, status: str) -> dict[str, Any]:
    found: dict[str, Any] = {"taskId": view.record.id, "status": status}
    if view.message is not None:
        found["statusMessage"] = view.message
    return found | {"createdAt": view.record.created_at, "lastUpdatedAt": view.updated_at}
