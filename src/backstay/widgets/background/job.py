"""The durable task that runs a widget or tool."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeGuard

from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY

from backstay.context import Context
from backstay.jobs.definition import task
from backstay.jobs.outcome import OUTCOMES, Discard, Snooze
from backstay.retry import Retry
from backstay.widgets.background.work import JobCaller
from backstay.widgets.call import CapabilityMissing, Home, QuestionOpen, WidgetCall
from backstay.widgets.client import LogLevel, NoChannel
from backstay.widgets.output import misfit
from backstay.widgets.part import WidgetsPart
from backstay.widgets.problems import InvalidInputs
from backstay.widgets.questions import Questions
from backstay.widgets.registry import Registry
from backstay.widgets.tool import Tool

__all__ = ["JobChannel", "Stage", "run_widget"]

_ELSEWHERE_S = 30.0


class Stage(Home, Protocol):
    """A server, as far as its jobs are concerned."""

    @property
    def name(self) -> str:
        """What jobs call it."""

    @property
    def registry(self) -> Registry:
        """Its tools."""


class JobChannel:
    """Speaks to the client of a task: progress is the job's, questions wait for its answers.

    Args:
        ctx: the job's context.
        answers: what was answered in earlier rounds.
        capabilities: what the client can be asked for; nothing, if its protocol has no way.
    """

    wants_progress = True

    def __init__(
        self, ctx: Context, answers: Mapping[str, Any], capabilities: Mapping[str, Any]
    ) -> None:
        self._ctx = ctx
        self._capabilities = capabilities
        self.questions = Questions(answers)

    async def progress(self, done: float, total: float | None, message: str | None) -> None:
        """Report it as the job's."""
        self._ctx.progress(done, total, message)

    async def log(self, level: LogLevel, data: Any, logger: str | None) -> None:
        """Nobody listens: the request that made the task is over."""

    async def elicit(
        self, message: str, schema: dict[str, Any], key: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Ask the user, through the task."""
        self._require(f"elicit({message!r})", "elicitation")
        return self.questions.elicit(message, schema, key)

    async def sample(self, request: dict[str, Any]) -> str:
        """Have the client's model say something, through the task."""
        self._require("sample()", "sampling")
        return self.questions.sample(request)

    async def roots(self) -> list[dict[str, Any]]:
        """Ask for the folders the client works in, through the task."""
        self._require("roots()", "roots")
        return self.questions.roots()

    def can(self, capability: str) -> bool:
        """Whether the client has declared it."""
        return capability in self._capabilities

    async def close_stream(self) -> None:
        """There is none."""
        await NoChannel().close_stream()

    def _require(self, doing: str, capability: str) -> None:
        if not self.can(capability):
            raise CapabilityMissing(
                f"{doing} cannot ask: the client that has made this task does not offer "
                f"{capability}, or speaks a revision of MCP in which tasks cannot ask; take what "
                "you need as an input",
                {capability: {}},
            )


# Several attempts for workers that die with it. What the tool itself raises is its answer, and
# running it again is its own business: it may raise backstay.tasks.RetryLater.
@task(name="backstay.widgets.run", retry=Retry(attempts=5))
async def run_widget(work: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Run a widget or tool as a job.

    Args:
        work: ``server``, ``tool`` and its ``arguments``, the ``caller``, the ``answers`` so far
            and the client's ``capabilities``.
        ctx: of the job.

    Returns:
        ``{"result": …}``, a ``CallToolResult``; ``{"questions": …}``, what has to be answered
        first; or ``{"error": …}``, of the protocol.

    Raises:
        Snooze: the server is not in this process.
        Discard: the tool is gone.
    """
    stage = _stage(ctx, work["server"])
    if stage is None:
        ctx.logger.warning(
            "the app of this worker has no MCP server %r, so a task of its waits", work["server"]
        )
        raise Snooze(_ELSEWHERE_S)
    tool = stage.registry.tools.get(work["tool"])
    if tool is None:
        raise Discard(f"the server {work['server']!r} has no tool {work['tool']!r} any more")
    try:
        inputs = tool.inputs.validate(work["arguments"])
    except InvalidInputs as error:
        return {"result": misfit(error)}  # it has changed since
    channel = JobChannel(ctx, work["answers"], work["capabilities"])
    call = WidgetCall(
        stage, _deciding(tool), JobCaller(work["caller"], channel), ctx.correlation_id
    )
    try:
        return {"result": await call.run(inputs)}
    except QuestionOpen:
        return {"questions": channel.questions.open}
    except CapabilityMissing as missing:
        return {
            "error": {
                "code": MISSING_REQUIRED_CLIENT_CAPABILITY,
                "message": str(missing),
                "data": {"requiredCapabilities": missing.required},
            }
        }
    except _Decided as decided:
        raise decided.outcome from None
    finally:
        call.answered()


def _stage(ctx: Context, name: str) -> Stage | None:
    app = ctx.work.app if ctx.work is not None else None
    if app is None or not app.has(WidgetsPart.attribute):
        return None
    part = app.part(WidgetsPart.attribute)
    assert isinstance(part, WidgetsPart)
    return next((each for each in part.servers if _is_stage(each) and each.name == name), None)


def _is_stage(server: object) -> TypeGuard[Stage]:
    return isinstance(getattr(server, "registry", None), Registry)


class _Decided(BaseException):
    """What the tool says of its job, on the way past the handlers of its errors.

    Args:
        outcome: ``Discard``, ``RetryLater``, ``Snooze`` or ``Cancel``.
    """

    def __init__(self, outcome: Exception) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def _deciding(tool: Tool) -> Tool:
    """The tool as a job runs it: by its own timeout, and with a say in what becomes of the job."""

    def invoke(inputs: Any, ctx: Any) -> Any:
        try:
            value = tool.invoke(inputs, ctx)
        except OUTCOMES as outcome:
            raise _Decided(outcome) from None
        return _awaited(value) if inspect.isawaitable(value) else value

    decided: Callable[[Any, Any], Any] = invoke
    return replace(tool, invoke=decided, timeout_s=tool.task_timeout_s)


async def _awaited(value: Any) -> Any:
    try:
        return await value
    except OUTCOMES as outcome:
        raise _Decided(outcome) from None
