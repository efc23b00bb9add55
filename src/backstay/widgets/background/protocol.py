"""The protocol's methods for tasks, and when a call becomes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, Field

from backstay.errors import BadJob
from backstay.widgets.background.desk import TaskDesk, TaskView, clip_ttl_ms
from backstay.widgets.background.dialects import RELATED_TASK, core_task, extension_task
from backstay.widgets.background.work import dump_caller
from backstay.widgets.call import Caller
from backstay.widgets.tool import Tool
from backstay.widgets.visit import Visit

__all__ = ["CORE_VERSION", "TASKS_EXTENSION", "TaskMethods"]

TASKS_EXTENSION = "io.modelcontextprotocol/tasks"
"""The extension of 2026-07-28."""

CORE_VERSION = "2025-11-25"
"""The one revision that has tasks in its core."""

_ASKABLE = ("elicitation", "sampling", "roots")

_Request = ServerRequestContext[Any, Any]
_Serve = Callable[[str, type[BaseModel], Callable[[_Request, Any], Awaitable[Any]]], None]


class _TaskParams(types.RequestParams):
    task_id: str = Field(alias="taskId")


class _UpdateParams(_TaskParams):
    input_responses: dict[str, Any] = Field(default_factory=dict, alias="inputResponses")


class TaskMethods:
    """Serves ``tasks/…`` and makes tasks of calls.

    Args:
        desk: the tasks.
        server: what jobs call the server they belong to.
    """

    def __init__(self, desk: TaskDesk, server: str) -> None:
        self._desk = desk
        self._server = server

    def join(
        self,
        sdk: Server[Any],
        serve: _Serve,
        call_as_task: Callable[[_Request, types.CallToolRequestParams], Awaitable[dict[str, Any]]],
    ) -> None:
        """Announce tasks, and serve their methods.

        Args:
            sdk: the SDK's server.
            serve: registers a handler.
            call_as_task: serves ``tools/call`` with ``task`` (MCP 2025-11-25).
        """
        sdk.extensions[TASKS_EXTENSION] = {}
        serve("tasks/get", _TaskParams, self.get)
        serve("tasks/cancel", _TaskParams, self.cancel)
        serve("tasks/update", _UpdateParams, self.update)
        serve("tasks/result", _TaskParams, self.result)

        # What the SDK knows of 2025-11-25 has no tasks in it, so these two go past it.
        async def core(ctx: _Request, call_next: CallNext) -> HandlerResult:
            version = ctx.protocol_version
            asks = ctx.method == "tools/call" and (ctx.params or {}).get("task") is not None
            if asks and version == CORE_VERSION:
                return await call_as_task(
                    ctx, types.CallToolRequestParams.model_validate(ctx.params, by_name=False)
                )
            result = await call_next(ctx)
            if (
                ctx.method == "initialize"
                and isinstance(result, dict)
                and result.get("protocolVersion") == CORE_VERSION
            ):
                result["capabilities"]["tasks"] = {
                    "cancel": {},
                    "requests": {"tools": {"call": {}}},
                }
            return result

        sdk.middleware.append(core)

    # ------------------------------------------------------------------ calls

    def wanted(self, request: _Request, tool: Tool) -> bool:
        """Whether a call without ``task`` runs in the background.

        Raises:
            MCPError: the tool only runs there, and the client knows no tasks.
        """
        if request.protocol_version in MODERN_PROTOCOL_VERSIONS:
            if _declared(request):
                return True
            if tool.task_support == "required":
                _require_declared(f"{tool.name!r} runs as a task only")
            return False
        if tool.task_support == "required":
            raise MCPError(
                METHOD_NOT_FOUND,
                f"{tool.name!r} runs as a task only: call it with a task parameter "
                f"(MCP {CORE_VERSION}, tasks)",
            )
        return False

    async def begin(
        self,
        request: _Request,
        tool: Tool,
        params: types.CallToolRequestParams,
        caller: Caller,
        answers: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Make a task of a call whose inputs have been checked; a ``CreateTaskResult``.

        Args:
            request: the call.
            tool: what is called.
            params: with what.
            caller: on whose behalf.
            answers: what was answered before.

        Raises:
            MCPError: the arguments are too large.
        """
        modern = request.protocol_version in MODERN_PROTOCOL_VERSIONS
        visit = Visit.of(request.request)
        asked = None if modern or params.task is None else params.task.ttl
        work = {
            "server": self._server,
            "tool": tool.name,
            "arguments": dict(params.arguments or {}),
            "caller": dump_caller(caller.user, caller.session, caller.client()),
            "answers": dict(answers),
            # Only the extension has a way to ask from within a task.
            "capabilities": _askable(request) if modern else {},
        }
        try:
            view = await self._desk.make(
                work,
                owner=_owner(visit),
                ttl_ms=clip_ttl_ms(asked),
                correlation_id=None if visit is None else visit.correlation_id,
            )
        except BadJob as error:
            raise MCPError(
                INVALID_PARAMS, f"{tool.name!r} cannot run in the background with this: {error}"
            ) from None
        if modern:
            return {"resultType": "task", **extension_task(view, detailed=False)}
        return {"task": core_task(view)}

    # ------------------------------------------------------------------ methods

    async def get(self, request: _Request, params: _TaskParams) -> dict[str, Any]:
        """How a task is."""
        view = await self._find(request, params)
        if request.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return extension_task(view, detailed=True)
        return core_task(view)

    async def cancel(self, request: _Request, params: _TaskParams) -> dict[str, Any]:
        """Cancel a task.

        Raises:
            MCPError: it has ended; with the extension that is no error.
        """
        view = await self._find(request, params)
        if request.protocol_version in MODERN_PROTOCOL_VERSIONS:
            await self._desk.cancel(view)
            return {}
        if view.ended:
            raise MCPError(
                INVALID_PARAMS,
                f"a task that has ended cannot be cancelled; this one is {view.status!r}",
            )
        return core_task(await self._desk.cancel(view))

    async def update(self, request: _Request, params: _UpdateParams) -> dict[str, Any]:
        """Answer what a task has asked (the extension alone).

        Raises:
            MCPError: this revision has no such method.
        """
        if request.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            _no_method("tasks/update")
        view = await self._find(request, params)
        await self._desk.answer(view, params.input_responses)
        return {}

    async def result(self, request: _Request, params: _TaskParams) -> dict[str, Any]:
        """Wait for a task to end; its tool's result (2025-11-25 alone).

        Raises:
            MCPError: this revision has no such method, or the task has no result.
        """
        if request.protocol_version in MODERN_PROTOCOL_VERSIONS:
            _no_method("tasks/result")
        view = await self._desk.wait(await self._find(request, params))
        if view is None:
            raise _unknown()
        if view.result is not None:
            result = dict(view.result)
            meta = {**result.get("_meta", {}), RELATED_TASK: {"taskId": view.record.id}}
            return {**result, "_meta": meta}
        if view.error is not None:
            raise MCPError(view.error["code"], view.error["message"], view.error.get("data"))
        code = INVALID_REQUEST if view.status == "cancelled" else INTERNAL_ERROR
        raise MCPError(code, view.message or f"the task is {view.status!r}")

    async def _find(self, request: _Request, params: _TaskParams) -> TaskView:
        if request.protocol_version in MODERN_PROTOCOL_VERSIONS:
            if not _declared(request):
                _require_declared(f"{request.method} is of an extension")
        elif request.protocol_version != CORE_VERSION:
            _no_method(request.method)
        view = await self._desk.find(params.task_id, _owner(Visit.of(request.request)))
        if view is None:
            raise _unknown()
        return view


def _owner(visit: Visit | None) -> tuple[str | None, ...]:
    """Who may see a task: the user, or else the session; empty if there is neither, and then
    whoever knows the task's id.
    """
    if visit is None:
        return ()
    if visit.user is not None:
        return ("user", visit.user.issuer, visit.user.subject)
    return () if visit.session is None else ("session", visit.session)


def _declared(request: _Request) -> bool:
    capabilities = request.session.client_capabilities
    return capabilities is not None and TASKS_EXTENSION in (capabilities.extensions or {})


def _askable(request: _Request) -> dict[str, Any]:
    capabilities = request.session.client_capabilities
    return {each: {} for each in _ASKABLE if getattr(capabilities, each, None) is not None}


def _require_declared(why: str) -> NoReturn:
    raise MCPError(
        MISSING_REQUIRED_CLIENT_CAPABILITY,
        f"{why}: the client has to declare the extension {TASKS_EXTENSION}",
        {"requiredCapabilities": {"extensions": {TASKS_EXTENSION: {}}}},
    )


def _no_method(method: str) -> NoReturn:
    raise MCPError(METHOD_NOT_FOUND, "Method not found", method)


def _unknown() -> MCPError:
    return MCPError(
        INVALID_PARAMS,
        "Task not found: there is none of that id, its time is over, or it is somebody else's",
    )
