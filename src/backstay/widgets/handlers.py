"""What the server answers: the SDK's handlers, over what is in the registry."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import mcp_types as types
from mcp.server.caching import CACHEABLE_METHODS, CacheableMethod, CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ResourceUpdated, ToolsListChanged
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

from backstay.calls import is_async_callable
from backstay.errors import BackstayError, ClientCannot, ValidationError
from backstay.widgets.call import CapabilityMissing, Home, QuestionOpen, WidgetCall
from backstay.widgets.channel import LEVELS, SessionChannel
from backstay.widgets.client import Channel, ClientContext, LogLevel, NoChannel
from backstay.widgets.context import UserContext, WidgetContext
from backstay.widgets.declaration import takes_context
from backstay.widgets.guards import Denied, Guard
from backstay.widgets.inputs import Inputs
from backstay.widgets.metadata import APP_MIME_TYPE, UI_EXTENSION
from backstay.widgets.output import ERROR_META, as_announced, misfit
from backstay.widgets.problems import InvalidInputs
from backstay.widgets.protected_resource import tool_challenge
from backstay.widgets.registry import Registry, did_you_mean
from backstay.widgets.resources import Template
from backstay.widgets.rounds import Rounds
from backstay.widgets.tool import Tool
from backstay.widgets.visit import Visit

if TYPE_CHECKING:
    from backstay.widgets.background.protocol import TaskMethods

__all__ = ["Handlers", "RequestCaller", "failed"]

logger = logging.getLogger("backstay.widgets")

_Request = ServerRequestContext[Any, Any]
_MOST_SESSIONS = 10_000


class RequestCaller:
    """An MCP request as a caller."""

    __slots__ = ("_request", "_visit", "channel", "session", "user")

    def __init__(self, request: _Request, visit: Visit | None, channel: Channel) -> None:
        self._request = request
        self._visit = visit
        self.channel = channel
        self.user: UserContext | None = None if visit is None else visit.user
        session = None if visit is None else visit.session
        if session is None:
            # The client's own name for the conversation, since there is nothing better: it keeps
            # conversations apart and proves nothing. A verified user goes before it.
            hint = (request.meta or {}).get("openai/session")
            session = f"hint:{hint}" if isinstance(hint, str) and hint else None
        self.session: str | None = session

    def client(self) -> ClientContext:
        """What the client said of itself."""
        info = self._request.session.client_params
        return ClientContext(
            cast("Mapping[str, Any] | None", self._request.meta),
            name=None if info is None else info.client_info.name,
            version=None if info is None else info.client_info.version,
            protocol_version=self._request.protocol_version,
            user_agent=None if self._visit is None else self._visit.user_agent,
            channel=self.channel,
        )


class Handlers:
    """Serves one registry.

    Args:
        registry: what there is.
        home: the server it belongs to.
        server_required: whether a token is required where nothing else is said.
        server_scopes: what is asked of every token.
        metadata_url: where the resource's metadata is (RFC 9728), ``None`` for nowhere.
        rounds: keeps answers between rounds.
        tasks: calls that run in the background, ``None`` if none can.
        timeout_s: how long resources and prompts may take, ``None`` for ever.
        dev: read pages again when their files change.
    """

    def __init__(
        self,
        registry: Registry,
        home: Home,
        *,
        server_required: bool,
        server_scopes: tuple[str, ...],
        metadata_url: str | None,
        rounds: Rounds,
        tasks: TaskMethods | None = None,
        timeout_s: float | None = None,
        dev: bool = False,
    ) -> None:
        self._registry = registry
        self._home = home
        self._required = server_required
        self._scopes = server_scopes
        self._metadata_url = metadata_url
        self._rounds = rounds
        self._tasks = tasks
        self._timeout_s = timeout_s
        self._dev = dev
        self._levels: OrderedDict[str, LogLevel] = OrderedDict()
        self._subscribers: OrderedDict[str, OrderedDict[str, ServerSession]] = OrderedDict()
        self.bus = InMemorySubscriptionBus()
        self.listen = ListenHandler(self.bus)

    def build(
        self,
        name: str,
        *,
        version: str,
        title: str | None,
        instructions: str | None,
        stateful: bool,
    ) -> Server[Any]:
        """The SDK's low-level server, ready to serve."""
        server: Server[Any] = Server(
            name,
            version=version,
            title=title,
            instructions=instructions,
            # 2026-07-28 wants to be told how long an answer holds: not at all, and for one client.
            cache_hints=cast(
                "Mapping[CacheableMethod, CacheHint]",
                {each: CacheHint(ttl_ms=0, scope="private") for each in CACHEABLE_METHODS},
            ),
            # Without it every call of MCP 2026-07-28 would list the tools to look at headers.
            get_tool_input_schema=self._input_schema,
            on_subscriptions_listen=self.listen,
        )

        # By name and not by the constructor's parameters: results may be mappings this way, which
        # the SDK checks all the same and need not be taken apart again.
        def serve(
            method: str, kind: type[BaseModel], handler: Callable[[_Request, Any], Awaitable[Any]]
        ) -> None:
            async def complete(request: _Request, params: Any) -> Any:
                try:
                    result = await handler(request, params)
                except MCPError:
                    raise
                except Exception as error:
                    raise self._told(request, error) from None
                if (
                    isinstance(result, dict)
                    and request.protocol_version in MODERN_PROTOCOL_VERSIONS
                ):
                    result.setdefault("resultType", "complete")
                return result

            server.add_request_handler(method, kind, complete)

        serve("tools/list", types.PaginatedRequestParams, self.list_tools)
        serve("tools/call", types.CallToolRequestParams, self.call_tool)
        registry = self._registry
        if registry.faces or registry.resources or registry.templates:
            serve("resources/list", types.PaginatedRequestParams, self.list_resources)
            serve("resources/templates/list", types.PaginatedRequestParams, self.list_templates)
            serve("resources/read", types.ReadResourceRequestParams, self.read_resource)
            if stateful:
                serve("resources/subscribe", types.SubscribeRequestParams, self.subscribe)
                serve("resources/unsubscribe", types.UnsubscribeRequestParams, self.unsubscribe)
        if registry.prompts:
            serve("prompts/list", types.PaginatedRequestParams, self.list_prompts)
            serve("prompts/get", types.GetPromptRequestParams, self.get_prompt)
        if registry.completers:
            serve("completion/complete", types.CompleteRequestParams, self.complete)
        # By name: the constructor's parameter for it warns, for 2026-07-28 has it no more.
        serve("logging/setLevel", types.SetLevelRequestParams, self.set_level)
        if self._tasks is not None:
            self._tasks.join(server, serve, self.call_tool_as_task)
        if registry.faces:
            server.extensions[UI_EXTENSION] = {"mimeTypes": [APP_MIME_TYPE]}
        return server

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        tool = self._registry.tools.get(name)
        return None if tool is None else tool.inputs.schema

    # ------------------------------------------------------------------ tools

    async def list_tools(
        self, request: _Request, params: types.PaginatedRequestParams | None
    ) -> dict[str, Any]:
        """Every tool: who may not call one is told so when calling, and how to sign in."""
        return {"tools": self._registry.tools_listed}

    async def call_tool(
        self, request: _Request, params: types.CallToolRequestParams
    ) -> dict[str, Any]:
        """Run a tool.

        Raises:
            MCPError: there is no such tool.
        """
        tool = self.tool(params.name)
        visit = Visit.of(request.request)
        denied = self.denied(tool.guard, visit)
        if denied is not None:
            return self.refusal(denied)
        try:
            inputs = tool.inputs.validate(params.arguments)
        except InvalidInputs as error:
            return as_announced(misfit(error), tool.output)
        if (
            tool.task_support != "forbidden"
            and self._tasks is not None
            and self._tasks.wanted(request, tool)
        ):
            return await self._begin_task(request, tool, params, inputs)

        async def run(call: WidgetCall, channel: SessionChannel) -> dict[str, Any]:
            return await call.run(inputs)

        owner = partial(_owner, tool.name, params.arguments, visit)
        return await self._in_rounds(request, tool, owner, params, run)

    async def call_tool_as_task(
        self, request: _Request, params: types.CallToolRequestParams
    ) -> dict[str, Any]:
        """The same where the client has asked for a task (MCP 2025-11-25).

        Raises:
            MCPError: there is no such tool, it does not run as a task, or the call is refused:
                the client waits for a task, so there can be no result that says so.
        """
        tool = self.tool(params.name)
        if tool.task_support == "forbidden":
            raise MCPError(
                METHOD_NOT_FOUND, f"{tool.name!r} does not run as a task: call it without one"
            )
        denied = self.denied(tool.guard, Visit.of(request.request))
        if denied is not None:
            raise MCPError(INVALID_REQUEST, denied.description)
        try:
            inputs = tool.inputs.validate(params.arguments)
        except InvalidInputs as error:
            raise MCPError(INVALID_PARAMS, str(error)) from None
        return await self._begin_task(request, tool, params, inputs)

    async def _begin_task(
        self, request: _Request, tool: Tool, params: types.CallToolRequestParams, inputs: Any
    ) -> dict[str, Any]:
        """Ask what has to be asked before, and have the rest done in the background."""
        tasks = self._tasks
        assert tasks is not None
        visit = Visit.of(request.request)
        if tool.before_task is None:
            caller = RequestCaller(request, visit, NoChannel())
            return await tasks.begin(request, tool, params, caller, {})
        before = replace(tool, invoke=tool.before_task, is_async=True, output=None, face=None)

        async def run(call: WidgetCall, channel: SessionChannel) -> dict[str, Any]:
            found = await call.run(inputs)
            if found.get("isError"):
                return found
            caller = RequestCaller(request, visit, channel)
            return await tasks.begin(request, tool, params, caller, channel.questions.answers)

        owner = partial(_owner, f"{tool.name} as a task", params.arguments, visit)
        return await self._in_rounds(request, before, owner, params, run)

    async def _in_rounds(
        self,
        request: _Request,
        tool: Tool,
        owner: Callable[[], str],
        params: types.InputResponseRequestParams,
        run: Callable[[WidgetCall, SessionChannel], Awaitable[dict[str, Any]]],
    ) -> dict[str, Any]:
        """Run a call; if it needs answers that are not there yet, ask for them instead."""
        visit = Visit.of(request.request)
        answers = await self._rounds.answers(
            params.request_state,
            owner() if params.request_state is not None else "",
            cast("Mapping[str, Any] | None", _dumped(params.input_responses)),
        )
        meta = request.meta
        channel = SessionChannel(
            request,
            least=self._levels.get(visit.session) if visit and visit.session else None,
            answers=answers,
            wants_progress=meta is not None and meta.get("progress_token") is not None,
        )
        call = WidgetCall(
            self._home,
            tool,
            RequestCaller(request, visit, channel),
            None if visit is None else visit.correlation_id,
        )
        try:
            return await run(call, channel)
        except QuestionOpen:
            return await self._rounds.ask(owner(), answers, channel.questions.open)
        except CapabilityMissing as missing:
            if request.protocol_version not in MODERN_PROTOCOL_VERSIONS:
                return as_announced(failed(missing), tool.output)
            raise MCPError(
                MISSING_REQUIRED_CLIENT_CAPABILITY,
                str(missing),
                {"requiredCapabilities": missing.required},
            ) from None
        finally:
            if visit is None:
                call.answered()
            else:
                visit.finished(call)

    def tool(self, name: str) -> Tool:
        """A tool by name.

        Raises:
            MCPError: there is none.
        """
        tool = self._registry.tools.get(name)
        if tool is None:
            hint = did_you_mean(name, self._registry.tools)
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {name[:100]!r}; {hint}")
        return tool

    def denied(self, guard: Guard, visit: Visit | None) -> Denied | None:
        """Why this visitor may not, ``None`` if it may."""
        token = None if visit is None else visit.token
        return guard.check(token, server_required=self._required, server_scopes=self._scopes)

    def refusal(self, denied: Denied) -> dict[str, Any]:
        """A result that says so, and to ChatGPT where to sign in."""
        return {
            "content": [{"type": "text", "text": denied.description}],
            "isError": True,
            "_meta": {
                **tool_challenge(denied, self._metadata_url),
                # Not structuredContent: what the tool announces is no business of theirs.
                ERROR_META: {"error": "unauthorized", "message": denied.description},
            },
        }

    # ------------------------------------------------------------------ resources

    async def list_resources(
        self, request: _Request, params: types.PaginatedRequestParams | None
    ) -> dict[str, Any]:
        """Pages first, then documents."""
        pages = [face.listed() for face in self._registry.pages()]
        return {
            "resources": [*pages, *(dict(r.described) for r in self._registry.resources.values())]
        }

    async def list_templates(
        self, request: _Request, params: types.PaginatedRequestParams | None
    ) -> dict[str, Any]:
        """Documents whose address has variables."""
        return {"resourceTemplates": [dict(each.described) for each in self._registry.templates]}

    async def read_resource(
        self, request: _Request, params: types.ReadResourceRequestParams
    ) -> dict[str, Any]:
        """Read a page or a document.

        Raises:
            MCPError: there is nothing at that address.
        """
        uri = params.uri
        face = self._registry.face_at(uri)
        if face is not None:
            if self._dev:
                await asyncio.to_thread(face.reload)
            return {"contents": [face.contents(uri)]}
        found = self._registry.resources.get(uri)
        if found is not None:
            return await self._run(
                request,
                params,
                f"resource {uri}",
                found.read,
                {},
                lambda value: {"contents": [found.contents(uri, value)]},
            )
        for each in self._registry.templates:
            variables = each.match(uri)
            if variables is not None:
                return await self._read_template(request, params, each, variables)
        raise self._no_resource(request, uri)

    @staticmethod
    def _no_resource(request: _Request, uri: str) -> MCPError:
        modern = request.protocol_version in MODERN_PROTOCOL_VERSIONS
        return MCPError(
            # -32002 until 2025-11-25; later revisions count it among invalid parameters.
            INVALID_PARAMS if modern else -32002,
            "Resource not found: nothing is at that address; resources/list says what there is",
            {"uri": uri[:200]},
        )

    async def _read_template(
        self,
        request: _Request,
        params: types.ReadResourceRequestParams,
        template: Template,
        variables: Mapping[str, str],
    ) -> dict[str, Any]:
        """Read one of a template's documents."""

        def written(value: Any) -> dict[str, Any]:
            return {"contents": [template.contents(params.uri, value)]}

        name = f"resource {template.template}"
        return await self._run(request, params, name, template.read, variables, written)

    async def _run(
        self,
        request: _Request,
        params: types.InputResponseRequestParams,
        name: str,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        written: Callable[[Any], dict[str, Any]],
    ) -> dict[str, Any]:
        """Run a resource's or prompt's function as a piece of work."""
        context = takes_context(function)

        def invoke(_: Any, ctx: WidgetContext) -> Any:
            extra = {} if context is None else {context: ctx}
            return function(**arguments, **extra)

        tool = Tool(
            name=name,
            title=name,
            description="",
            inputs=_NO_INPUTS,
            output=None,
            invoke=invoke,
            is_async=is_async_callable(function),
            guard=Guard.none(),
            timeout_s=self._timeout_s,
        )

        async def run(call: WidgetCall, channel: SessionChannel) -> dict[str, Any]:
            return written(await call.value(None))

        owner = partial(_owner, name, arguments, Visit.of(request.request))
        return await self._in_rounds(request, tool, owner, params, run)

    def _told(self, request: _Request, error: Exception) -> MCPError:
        """What a client is told of an error: what is meant for it, or where the log has it."""
        if isinstance(error, ValidationError | ClientCannot):
            return MCPError(INVALID_PARAMS, str(error))
        if isinstance(error, BackstayError) and error.status < 500:
            return MCPError(INVALID_PARAMS, error.public_detail)
        visit = Visit.of(request.request)
        error_id = visit.correlation_id if visit is not None else None
        error_id = error_id or self._home.app.clock.new_id()
        extra = {"correlation_id": error_id}
        logger.error("%s failed", request.method, exc_info=error, extra=extra)
        said = "An unexpected error occurred"
        if isinstance(error, BackstayError) and error.status == 503:
            said = error.public_detail
        return MCPError(INTERNAL_ERROR, f"{said} (error_id: {error_id})", {"error_id": error_id})

    async def subscribe(
        self, request: _Request, params: types.SubscribeRequestParams
    ) -> types.EmptyResult:
        """Tell this session when a document changes (until 2025-11-25).

        Raises:
            MCPError: there is none at that address.
        """
        uri = params.uri
        registry = self._registry
        if not (
            uri in registry.resources
            or registry.face_at(uri) is not None
            or any(each.match(uri) is not None for each in registry.templates)
        ):
            raise self._no_resource(request, uri)
        visit = Visit.of(request.request)
        session = visit.session if visit is not None else None
        if session is not None:
            sessions = self._subscribers.setdefault(uri, OrderedDict())
            self._subscribers.move_to_end(uri)
            sessions[session] = request.session
            # Templates have any number of addresses, and clients any number of sessions.
            for each in (sessions, self._subscribers):
                while len(each) > _MOST_SESSIONS:
                    each.popitem(last=False)
        return types.EmptyResult()

    async def unsubscribe(
        self, request: _Request, params: types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        """Stop telling it."""
        visit = Visit.of(request.request)
        sessions = self._subscribers.get(params.uri)
        if sessions is not None and visit is not None and visit.session is not None:
            sessions.pop(visit.session, None)
            if not sessions:
                del self._subscribers[params.uri]
        return types.EmptyResult()

    def forget(self, session: str) -> None:
        """A session has ended."""
        self._levels.pop(session, None)
        for uri, sessions in list(self._subscribers.items()):
            sessions.pop(session, None)
            if not sessions:
                del self._subscribers[uri]

    async def resource_updated(self, uri: str) -> None:
        """Tell whoever has asked that a document has changed."""
        await self.bus.publish(ResourceUpdated(uri=uri))
        for name, session in list(self._subscribers.get(uri, {}).items()):
            try:
                await session.send_resource_updated(uri)
            except Exception:
                # A session that was left and not closed; the others are to hear of it.
                logger.debug("a session could not be told of %r", uri, exc_info=True)
                self.forget(name)

    async def tools_changed(self) -> None:
        """Tell whoever listens that the tools have changed."""
        await self.bus.publish(ToolsListChanged())

    async def prompts_changed(self) -> None:
        """Tell whoever listens that the prompts have changed."""
        await self.bus.publish(PromptsListChanged())

    # ------------------------------------------------------------------ prompts and the rest

    async def list_prompts(
        self, request: _Request, params: types.PaginatedRequestParams | None
    ) -> dict[str, Any]:
        """Every prompt."""
        return {"prompts": [dict(each.described) for each in self._registry.prompts.values()]}

    async def get_prompt(
        self, request: _Request, params: types.GetPromptRequestParams
    ) -> dict[str, Any]:
        """Write a prompt.

        Raises:
            MCPError: there is none, or its arguments will not do.
        """
        prompt = self._registry.prompts.get(params.name)
        if prompt is None:
            hint = did_you_mean(params.name, self._registry.prompts)
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {params.name[:100]!r}; {hint}")
        try:
            arguments = prompt.check(params.arguments or {})
        except ValidationError as error:
            raise MCPError(INVALID_PARAMS, str(error)) from None
        return await self._run(
            request, params, f"prompt {prompt.name}", prompt.write, arguments, prompt.result
        )

    async def complete(
        self, request: _Request, params: types.CompleteRequestParams
    ) -> dict[str, Any]:
        """What an argument could be: at most a hundred values (MCP 2025-11-25, completion)."""
        reference = params.ref
        name = (
            reference.uri
            if isinstance(reference, types.ResourceTemplateReference)
            else reference.name
        )
        completer = self._registry.completers.get((name, params.argument.name))
        values: list[str] = []
        if completer is not None:
            known = dict(params.context.arguments or {}) if params.context else {}
            takes_more = len(inspect.signature(completer).parameters) > 1
            given = (params.argument.value, known) if takes_more else (params.argument.value,)
            if is_async_callable(completer):
                found = completer(*given)
            else:
                pool = self._home.pool
                found = await pool.result(pool.submit(partial(completer, *given), copy_context()))
            values = [str(x) for x in (await found if inspect.isawaitable(found) else found)]
        return {
            "completion": {
                "values": values[:100],
                "total": len(values),
                "hasMore": len(values) > 100,
            }
        }

    async def set_level(
        self, request: _Request, params: types.SetLevelRequestParams
    ) -> types.EmptyResult:
        """Which log lines this session wants (until 2025-11-25)."""
        visit = Visit.of(request.request)
        if visit is not None and visit.session is not None and params.level in LEVELS:
            self._levels[visit.session] = params.level
            while len(self._levels) > _MOST_SESSIONS:
                self._levels.popitem(last=False)
        return types.EmptyResult()


_NO_INPUTS = Inputs(None)


def failed(missing: CapabilityMissing) -> dict[str, Any]:
    """What the model of a client of the handshake era hears, which has no error for it."""
    return {
        "content": [{"type": "text", "text": str(missing)}],
        "structuredContent": {"error": "client_cannot", "message": str(missing)},
        "isError": True,
    }


def _owner(tool: str, arguments: Mapping[str, Any] | None, visit: Visit | None) -> str:
    """Whose call this is: the same tool, with the same arguments, by the same principal."""
    user = None if visit is None or visit.user is None else [visit.user.issuer, visit.user.subject]
    text = json.dumps([tool, arguments, user], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _dumped(responses: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not responses:
        return None
    return {
        key: value.model_dump(mode="json", by_alias=True) if hasattr(value, "model_dump") else value
        for key, value in responses.items()
    }
