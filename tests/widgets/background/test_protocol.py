"""MCP tasks over the wire, in both forms of the protocol."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

from backstay.widgets import WidgetMCPServer
from tests.support import async_test
from tests.widgets.background.errands import CORE, TASKS, Client, Errands
from tests.widgets.wire import MODERN, Book, reaching

BOTH = pytest.mark.parametrize("version", [CORE, MODERN])


@async_test
async def test_the_extension_and_the_core_are_each_announced_in_its_own_revision() -> None:
    async with Errands().open() as http:
        told = (await Client(http).ask("server/discover"))["result"]["capabilities"]
        assert told["extensions"][TASKS] == {}
        assert "tasks" not in told
        told = (await Client(http, CORE).hello()).json()["result"]["capabilities"]
        assert told["tasks"] == {"cancel": {}, "requests": {"tools": {"call": {}}}}
        told = (await Client(http, "2025-06-18").hello()).json()["result"]["capabilities"]
        assert "tasks" not in told


@async_test
async def test_without_durable_tasks_nothing_is_announced_and_calls_are_answered() -> None:
    async with Errands(durable=False).open() as http:
        told = (await Client(http).ask("server/discover"))["result"]["capabilities"]
        assert TASKS not in told.get("extensions", {})
        assert (await Client(http).call("in_a_thread"))["content"][0]["text"] == "threaded"
        told = (await Client(http, CORE).hello()).json()["result"]["capabilities"]
        assert "tasks" not in told


@async_test
async def test_what_runs_as_a_task_only_does_not_start_without_durable_tasks() -> None:
    app = FastAPI()
    server = WidgetMCPServer("errands")
    server.tool("only_here", task_support="required")(lambda: "here")
    server.mount(app)
    with pytest.raises(RuntimeError, match=r"BadWidget.*only_here.*add_tasks\(app\)"):
        async with reaching(app):
            pass


@BOTH
@async_test
async def test_a_call_becomes_a_task_whose_result_is_the_tools(version: str) -> None:
    async with Errands().open() as http:
        client = Client(http, version)
        task = await client.start("report", pages=3)
        assert task["status"] == "working"
        found = await client.until(task["taskId"], "completed")
        assert found["createdAt"] == task["createdAt"] <= found["lastUpdatedAt"]
        if version == MODERN:
            assert (found["ttlMs"], found["pollIntervalMs"]) == (86_400_000, 1_000)
            result = found["result"]
        else:
            assert (found["ttl"], found["pollInterval"]) == (120_000, 1_000)
            result = (await client.about("tasks/result", task["taskId"]))["result"]
            related = result["_meta"]["io.modelcontextprotocol/related-task"]
            assert related == {"taskId": task["taskId"]}
        assert result["structuredContent"]["pages"] == 3


@BOTH
@async_test
async def test_a_sync_tool_runs_in_a_thread_there_as_well(version: str) -> None:
    async with Errands().open() as http:
        client = Client(http, version)
        task = await client.start("in_a_thread")
        assert (await client.until(task["taskId"], "completed", "failed"))["status"] == "completed"


@async_test
async def test_progress_is_told_and_a_client_that_waits_gets_the_result_when_it_is_there() -> None:
    errands = Errands()
    async with errands.open() as http:
        client = Client(http, CORE)
        task = await client.start("wait")
        await errands.begun.wait()
        assert (await client.about("tasks/get", task["taskId"]))["result"]["status"] == "working"
        message = None
        while message != "waiting":  # progress is written in groups
            message = (await client.about("tasks/get", task["taskId"]))["result"].get(
                "statusMessage"
            )
        errands.may_end.set()
        result = (await client.about("tasks/result", task["taskId"]))["result"]
        assert result["content"][0]["text"] == "waited"


@async_test
async def test_only_a_client_that_knows_tasks_gets_one() -> None:
    async with Errands().open() as http:
        stranger = Client(http, can={})
        assert (await stranger.call("in_a_thread"))["content"][0]["text"] == "threaded"
        error = (await stranger.ask("tools/call", {"name": "only_here", "arguments": {}}))["error"]
        assert error["code"] == -32021
        assert error["data"] == {"requiredCapabilities": {"extensions": {TASKS: {}}}}
        for method in ("tasks/get", "tasks/cancel", "tasks/update"):
            assert (await stranger.about(method, "x"))["error"]["code"] == -32021
        core = Client(http, CORE)
        assert (await core.call("in_a_thread"))["content"][0]["text"] == "threaded"
        error = (await core.ask("tools/call", {"name": "only_here", "arguments": {}}))["error"]
        assert error["code"] == -32601
        assert "task" in error["message"]


@async_test
async def test_a_tool_that_runs_at_once_is_no_task() -> None:
    async with Errands().open() as http:
        asked = {"name": "at_once", "arguments": {}, "task": {"ttl": 60_000}}
        error = (await Client(http, CORE).ask("tools/call", asked))["error"]
        assert error["code"] == -32601
        # The extension has no such parameter, so there it means nothing.
        result = (await Client(http).ask("tools/call", asked))["result"]
        assert result["content"][0]["text"] == "done"


@async_test
async def test_a_call_that_will_not_do_makes_no_task() -> None:
    async with Errands().open() as http:
        asked: dict[str, Any] = {"name": "report", "arguments": {"pages": "many"}}
        assert (await Client(http).ask("tools/call", asked))["result"]["isError"] is True
        error = (await Client(http, CORE).ask("tools/call", asked | {"task": {}}))["error"]
        assert error["code"] == -32602
        assert "pages" in error["message"]
        error = (await Client(http, CORE).ask("tools/call", {"name": "no", "task": {}}))["error"]
        assert error["code"] == -32602
        too_much = {"name": "echo", "arguments": {"text": "x" * 70_000}}
        error = (await Client(http).ask("tools/call", too_much))["error"]
        assert error["code"] == -32602
        assert "background" in error["message"]


@BOTH
@async_test
async def test_a_tools_own_error_is_its_result(version: str) -> None:
    async with Errands().open() as http:
        client = Client(http, version)
        task = await client.start("refuse")
        # 2025-11-25 counts such a task as failed, and tells the result all the same.
        found = await client.until(task["taskId"], "completed", "failed")
        assert found["status"] == ("completed" if version == MODERN else "failed")
        result = (
            found["result"]
            if version == MODERN
            else (await client.about("tasks/result", task["taskId"]))["result"]
        )
        assert result["isError"] is True
        assert result["structuredContent"]["field"] == "day"


@async_test
async def test_an_unexpected_error_is_told_by_its_id_alone() -> None:
    async with Errands().open() as http:
        client = Client(http)
        task = await client.start("crash")
        found = await client.until(task["taskId"], "completed")
        assert found["result"]["isError"] is True
        assert "error_id" in found["result"]["structuredContent"]
        assert "the secret" not in str(found)


@pytest.mark.parametrize("tool", ["give_up", "give_up_in_a_thread"])
@BOTH
@async_test
async def test_a_tool_may_fail_the_task_itself(version: str, tool: str) -> None:
    async with Errands().open() as http:
        client = Client(http, version)
        task = await client.start(tool)
        found = await client.until(task["taskId"], "failed")
        assert "there is no paper" in found["statusMessage"]
        if version == MODERN:
            assert found["error"]["code"] == -32603
            assert "result" not in found
        else:
            error = (await client.about("tasks/result", task["taskId"]))["error"]
            assert "there is no paper" in error["message"]


@BOTH
@async_test
async def test_a_task_that_is_cancelled_stays_so(version: str) -> None:
    errands = Errands()
    async with errands.open() as http:
        client = Client(http, version)
        task = await client.start("wait")
        await errands.begun.wait()
        answer = (await client.about("tasks/cancel", task["taskId"]))["result"]
        if version == MODERN:
            assert answer.keys() <= {"resultType", "_meta"}
            assert "error" not in await client.about("tasks/cancel", task["taskId"])
        else:
            assert answer["status"] == "cancelled"
            again = await client.about("tasks/cancel", task["taskId"])
            assert again["error"]["code"] == -32602
        errands.may_end.set()
        assert (await client.until(task["taskId"], "cancelled"))["taskId"] == task["taskId"]
        if version == CORE:
            assert (
                "cancelled"
                in (await client.about("tasks/result", task["taskId"]))["error"]["message"]
            )


@async_test
async def test_a_task_asks_and_goes_on_with_the_answers() -> None:
    errands = Errands()
    async with errands.open() as http:
        client = Client(http)
        task = await client.start("greet")
        for name in ("Ada", "Lovelace"):
            found = await client.until(task["taskId"], "input_required")
            [(key, asked)] = found["inputRequests"].items()
            assert asked["method"] == "elicitation/create"
            given = {key: {"action": "accept", "content": {"name": name}}, "else": {}}
            answer = await client.about("tasks/update", task["taskId"], inputResponses=given)
            assert answer["result"].keys() <= {"resultType", "_meta"}
        found = await client.until(task["taskId"], "completed")
        assert found["result"]["content"][0]["text"] == "Hello, Ada Lovelace"
        assert len(errands.runs) == 3


@async_test
async def test_questions_asked_at_a_time_may_be_answered_one_by_one() -> None:
    async with Errands().open() as http:
        client = Client(http)
        task = await client.start("introduce")
        found = await client.until(task["taskId"], "input_required")
        assert found["inputRequests"].keys() == {"you", "that"}

        async def answer(key: str, name: str) -> None:
            given = {key: {"action": "accept", "content": {"name": name}}}
            await client.about("tasks/update", task["taskId"], inputResponses=given)

        await answer("you", "Ada")
        found = (await client.about("tasks/get", task["taskId"]))["result"]
        assert found["status"] == "input_required"
        assert found["inputRequests"].keys() == {"that"}
        await answer("you", "Eve")  # too late: it was answered
        await answer("that", "Ben")
        found = await client.until(task["taskId"], "completed")
        assert found["result"]["content"][0]["text"] == "Ada meets Ben"


@async_test
async def test_what_is_asked_before_is_asked_by_the_call_itself() -> None:
    async with Errands().open() as http:
        client = Client(http)
        asked = {"name": "escalate", "arguments": {}}
        first = (await client.ask("tools/call", asked))["result"]
        assert first["resultType"] == "input_required"
        assert "taskId" not in first
        given = {"name": {"action": "accept", "content": {"name": "Ada"}}}
        more = {"inputResponses": given, "requestState": first["requestState"]}
        task = (await client.ask("tools/call", asked | more))["result"]
        assert task["resultType"] == "task"
        found = await client.until(task["taskId"], "completed")
        assert found["result"]["content"][0]["text"] == "Hello, Ada"


@async_test
async def test_a_task_of_a_client_that_cannot_be_asked_fails_with_the_reason() -> None:
    async with Errands().open() as http:
        client = Client(http, can={"extensions": {TASKS: {}}})
        task = await client.start("greet")
        found = await client.until(task["taskId"], "failed")
        assert found["error"]["code"] == -32021
        assert found["error"]["data"] == {"requiredCapabilities": {"elicitation": {}}}


@BOTH
@async_test
async def test_a_task_is_its_users_alone(version: str) -> None:
    async with Errands(book=Book()).open() as http:
        ada, ben = (Client(http, version, token=f"{name}:all") for name in ("ada", "ben"))
        task = await ada.start("report")
        unknown = await ben.about("tasks/get", "no-such-task")
        for method in ("tasks/get", "tasks/cancel"):
            assert (await ben.about(method, task["taskId"]))["error"] == unknown["error"]
        assert (await ada.until(task["taskId"], "completed"))["taskId"] == task["taskId"]
        again = Client(http, version, token="ada:all", headers={"mcp-session-id": "s" * 20})
        assert "result" in await again.about("tasks/get", task["taskId"])


@async_test
async def test_a_task_of_a_session_is_that_sessions() -> None:
    async with Errands().open() as http:
        one, other = (Client(http, CORE) for _ in range(2))
        await one.hello()
        await other.hello()
        task = await one.start("report")
        assert (await other.about("tasks/get", task["taskId"]))["error"]["code"] == -32602
        assert (await one.until(task["taskId"], "completed"))["status"] == "completed"


@async_test
async def test_it_runs_on_behalf_of_whoever_called() -> None:
    async with Errands(book=Book()).open() as http:
        client = Client(http, token="ada:all")
        asked = {"name": "report", "arguments": {}}
        answer = await client.ask(
            "tools/call",
            asked,
            meta={"openai/locale": "fr"},
            headers={"x-request-id": "of-the-request"},
        )
        found = await client.until(answer["result"]["taskId"], "completed")
        told = found["result"]["structuredContent"]
        assert (told["user"], told["locale"]) == ("ada", "fr")
        assert told["correlation"] == "of-the-request"
        # The same state as that of calls which somebody waits for.
        now = (await Client(http, token="ada:all", can={}).call("report"))["structuredContent"]
        assert (told["seen"], now["seen"]) == (1, 2)


@async_test
async def test_a_request_about_a_task_names_it_in_its_header() -> None:
    async with Errands().open() as http:
        client = Client(http)
        task = await client.start("report")
        for header in ({"mcp-name": "another"}, {}):
            answer = await client.ask("tasks/get", {"taskId": task["taskId"]}, headers=header)
            assert answer["error"]["code"] == -32020
            assert answer["id"] == 1


@pytest.mark.parametrize(
    ("version", "method"),
    [
        (MODERN, "tasks/result"),
        (MODERN, "tasks/list"),
        (CORE, "tasks/update"),
        (CORE, "tasks/list"),
        ("2025-06-18", "tasks/get"),
    ],
)
@async_test
async def test_a_revision_has_the_methods_it_has(version: str, method: str) -> None:
    async with Errands().open() as http:
        answer = await Client(http, version).about(method, "any")
        assert answer["error"]["code"] == -32601


@async_test
async def test_tasks_work_with_sessions_too() -> None:
    async with Errands(stateless=False).open() as http:
        client = Client(http, CORE)
        await client.hello()
        task = await client.start("report")
        result = (await client.about("tasks/result", task["taskId"]))["result"]
        assert result["structuredContent"]["pages"] == 1
