"""The durable task that runs a tool, called as a worker calls it."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.app import Backstay
from backstay.context import Origin
from backstay.errors import ClientCannot
from backstay.tasks import Discard, Snooze
from backstay.widgets import ClientContext
from backstay.widgets.background.job import JobChannel, run_widget
from backstay.widgets.background.work import dump_caller
from backstay.widgets.call import QuestionOpen
from tests.support import async_test
from tests.widgets.background.errands import Errands


def work_of(tool: str, server: str = "errands", **arguments: Any) -> dict[str, Any]:
    return {
        "server": server,
        "tool": tool,
        "arguments": arguments,
        "caller": dump_caller(None, None, ClientContext()),
        "answers": {},
        "capabilities": {"elicitation": {}},
    }


class Attempt:
    """A piece of work of an app, as a job is one."""

    def __init__(self, app: Backstay) -> None:
        self.app = app

    def hold_answer(self, until: Any, *, first: bool = False) -> None:
        raise AssertionError("nothing waits for this attempt")


async def run(errands: Errands, work: dict[str, Any]) -> dict[str, Any]:
    app = errands.server.app
    return await run_widget(work, app.open(Origin.JOB, Attempt(app)))  # type: ignore[arg-type]  # as much of it as is asked


@async_test
async def test_a_result_is_what_the_client_would_have_got() -> None:
    errands = Errands()
    async with errands.open():
        found = await run(errands, work_of("echo", text="hello"))
    assert found == {"result": {"content": [{"type": "text", "text": "hello"}]}}


@async_test
async def test_a_question_ends_the_attempt_and_says_what_is_asked() -> None:
    errands = Errands()
    async with errands.open():
        work = work_of("introduce")
        assert (await run(errands, work))["questions"].keys() == {"you", "that"}
        work["answers"] = {
            key: {"action": "accept", "content": {"name": key}} for key in ("you", "that")
        }
        found = await run(errands, work)
    assert found["result"]["content"][0]["text"] == "you meets that"


@async_test
async def test_a_job_of_a_server_that_is_elsewhere_waits_for_it() -> None:
    errands = Errands()
    async with errands.open():
        with pytest.raises(Snooze):
            await run(errands, work_of("echo", server="another", text=""))


@async_test
async def test_a_job_of_a_tool_that_is_gone_is_given_up() -> None:
    errands = Errands()
    async with errands.open():
        with pytest.raises(Discard, match="'gone' any more"):
            await run(errands, work_of("gone"))


@async_test
async def test_arguments_that_a_newer_release_refuses_are_the_tasks_result() -> None:
    errands = Errands()
    async with errands.open():
        found = await run(errands, work_of("report", pages="many"))
    assert found["result"]["isError"] is True
    assert found["result"]["structuredContent"]["field"] == "pages"


@pytest.mark.parametrize("tool", ["give_up", "give_up_in_a_thread"])
@async_test
async def test_what_a_tool_says_of_its_job_reaches_the_worker(tool: str) -> None:
    errands = Errands()
    async with errands.open():
        with pytest.raises(Discard, match="no paper"):
            await run(errands, work_of(tool))


@async_test
async def test_the_servers_timeout_is_for_calls_that_somebody_waits_for() -> None:
    errands = Errands()
    tools = errands.server.registry.tools
    assert (tools["wait"].timeout_s, tools["wait"].task_timeout_s) == (60.0, None)
    errands.server.tool("quick", timeout_s=5.0, task_support="optional")(lambda: "done")
    assert (tools["quick"].timeout_s, tools["quick"].task_timeout_s) == (5.0, 5.0)


@async_test
async def test_a_channel_asks_only_for_what_the_client_has_declared() -> None:
    ctx = Backstay().open(Origin.JOB)
    channel = JobChannel(ctx, {}, {"sampling": {}})
    assert channel.can("sampling")
    assert not channel.can("elicitation")
    with pytest.raises(QuestionOpen):
        await channel.sample({"prompt": "Hi", "max_tokens": 5})
    for asking in (channel.elicit("Sure?", {}), channel.roots()):
        with pytest.raises(ClientCannot, match="does not offer"):
            await asking


@async_test
async def test_progress_of_the_call_is_the_jobs() -> None:
    ctx = Backstay().open(Origin.JOB)
    told: list[Any] = []
    ctx.on_progress = told.append
    await JobChannel(ctx, {}, {}).progress(1, 2, "half")
    [progress] = told
    assert (progress.done, progress.total, progress.message) == (1, 2, "half")
