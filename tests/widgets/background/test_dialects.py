"""A task as each form of the protocol writes it."""

from __future__ import annotations

from dataclasses import replace

from backstay.widgets.background.desk import TaskView
from backstay.widgets.background.dialects import core_task, extension_task
from tests.widgets.background.test_record import new_record

RECORD = new_record(id="an-id", ttl_ms=90_000)
WORKING = TaskView(
    record=RECORD, status="working", message="half", updated_at="2026-01-01T00:00:01.000Z"
)


def test_the_core_has_its_times_under_names_without_a_unit() -> None:
    assert core_task(WORKING) == {
        "taskId": "an-id",
        "status": "working",
        "statusMessage": "half",
        "createdAt": RECORD.created_at,
        "lastUpdatedAt": "2026-01-01T00:00:01.000Z",
        "ttl": 90_000,
        "pollInterval": 1_000,
    }


def test_the_extension_has_the_unit_in_their_names() -> None:
    found = extension_task(WORKING, detailed=True)
    assert (found["ttlMs"], found["pollIntervalMs"]) == (90_000, 1_000)
    assert found.keys().isdisjoint({"ttl", "pollInterval", "result", "error", "inputRequests"})


def test_only_the_details_have_the_result_the_error_and_the_questions() -> None:
    asked = {"k": {"method": "roots/list", "params": {}}}
    for view, name in (
        (replace(WORKING, status="completed", result={"content": []}), "result"),
        (replace(WORKING, status="failed", error={"code": 1, "message": ""}), "error"),
        (replace(WORKING, status="input_required", questions=asked), "inputRequests"),
    ):
        assert name in extension_task(view, detailed=True)
        assert name not in extension_task(view, detailed=False)
        assert name not in core_task(view)


def test_a_tools_error_fails_the_task_in_the_core_alone() -> None:
    view = replace(WORKING, status="completed", result={"content": [], "isError": True})
    assert core_task(view)["status"] == "failed"
    assert extension_task(view, detailed=True)["status"] == "completed"


def test_no_message_is_no_key() -> None:
    assert "statusMessage" not in core_task(replace(WORKING, message=None))
