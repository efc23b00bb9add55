"""``WidgetMCPServer``: widgets, tools, resources and prompts, served over MCP."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope

from backstay.app import Backstay
from backstay.auth.token import AnyTokenVerifier, VerifiedToken
from backstay.calls import name_of
from backstay.clock import Clock
from backstay.context import Context, current_work
from backstay.errors import BadWidget, UnknownWidget, ValidationError, WidgetFailed
from backstay.widgets.call import DirectCaller, WidgetCall
from backstay.widgets.context import UserContext
from backstay.widgets.declaration import (
    function_tool,
    prose_of,
    require_name,
    takes_context,
    widget_tool,
)
from backstay.widgets.discovery import find_widgets
from backstay.widgets.faces import find_face
from backstay.widgets.gate import Gate
from backstay.widgets.guards import Denied, Guard, GuardKind
from backstay.widgets.metadata import Csp
from backstay.widgets.output import ERROR_META, misfit
from backstay.widgets.problems import InvalidInputs
from backstay.widgets.protected_resource import metadata, metadata_url
from backstay.widgets.registry import Registry, did_you_mean
from backstay.widgets.resources import Completer, Prompt, Resource, Template
from backstay.widgets.widget import BaseWidget

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from starlette.applications import Starlette

    from backstay.state.state import State
    from backstay.threads import ThreadPool
    from backstay.widgets.background.protocol import TaskMethods
    from backstay.widgets.engine import Engine
    from backstay.widgets.handlers import Handlers

# The SDK, and what stands on it, is loaded when a server starts to serve: it takes longer than all
# else together, and processes that only run jobs import the same modules.

__all__ = ["WidgetMCPServer"]

logger = logging.getLogger("backstay.widgets")

F = TypeVar("F", bound=Callable[..., Any])


class WidgetMCPServer:
    """An MCP server, mounted in a FastAPI app beside its routes::

        server = WidgetMCPServer("shop", widgets=[FindProducts, OrderStatus])
        server.mount(app, "/mcp")

    It speaks MCP 2024-11-05 to 2025-11-25 and 2026-07-28 over Streamable HTTP at one address, and
    MCP Apps and ChatGPT's dialect of them.

    Args:
        name: what clients call the server.
        widgets: classes, instances, modules, or the name of a package to look through.
        title: its name for people, ``None`` for ``name``.
        version: of your service, ``None`` for ``"0"``.
        instructions: how to use it, for the model.
        auth_issuer_url: who makes access tokens: your authorization server (OAuth 2.1). Its keys
            are fetched from there. ``None``: no tokens are asked for, unless ``token_verifier``.
        auth_resource_server_url: the address of this server as clients know it, which tokens have
            to be meant for (RFC 8707), such as ``https://shop.example.com/mcp``. Required with
            ``auth_issuer_url``.
        auth_required_scopes: what every token has to allow.
        auth_audience: what tokens call this server, if not by its address.
        token_verifier: checks tokens instead of the issuer's keys. One written for the MCP SDK
            will do.
        global_resource_domains: origins that every page may load from.
        global_connect_domains: origins that every page's scripts may send requests to.
        global_frame_domains: origins that every page may frame.
        pages: folders where ``<identifier>/`` is looked for, for pages that do not lie beside
            their widget.
        stateless: handshake-era clients get no session that lives in one process, so any number of
            workers may serve them. ``False`` is needed to ask users of such clients in the middle
            of a call (``ctx.elicit``), to subscribe to resources and to resume streams; then all
            requests of a client have to reach the same process.
        resumable: with ``stateless=False``, keep events so that streams can be resumed.
        allowed_hosts: names this server answers to; see ``Gate``.
        allowed_origins: pages that may call it from browsers.
        max_body_bytes: how large a request may be.
        timeout_s: how long a call may take, ``None`` for ever. Widgets may have their own.
        threads: how many sync widgets run at a time, ``None`` for four more than processors.
        session_idle_s: how long a session may say nothing, with ``stateless=False``.
        max_sessions: how many there may be.
        keep_session_state_s: seconds after its last change that ``ctx.state`` of a caller without
            a verified user is kept at most.
        dev: read pages again when their files change. ``backstay widgets dev`` switches it on by
            itself (``BACKSTAY_WIDGETS_DEV=1``).

    Raises:
        BadWidget: something is declared in a way that could never work.
        TypeError, ValueError: an option makes no sense.
    """

    def __init__(
        self,
        name: str,
        widgets: str | ModuleType | BaseWidget | type[BaseWidget] | Sequence[object] = (),
        *,
        title: str | None = None,
        version: str | None = None,
        instructions: str | None = None,
        auth_issuer_url: str | None = None,
        auth_resource_server_url: str | None = None,
        auth_required_scopes: Sequence[str] | None = None,
        auth_audience: str | Sequence[str] | None = None,
        token_verifier: AnyTokenVerifier | None = None,
        global_resource_domains: Sequence[str] | None = None,
        global_connect_domains: Sequence[str] | None = None,
        global_frame_domains: Sequence[str] | None = None,
        pages: Sequence[str | Path] = (),
        stateless: bool = True,
        resumable: bool = False,
        allowed_hosts: Collection[str] | None = None,
        allowed_origins: Collection[str] = (),
        max_body_bytes: int = 16 * 1024 * 1024,
        timeout_s: float | None = 60.0,
        threads: int | None = None,
        session_idle_s: float = 1_800.0,
        max_sessions: int = 10_000,
        keep_session_state_s: float = 7 * 86_400.0,
        dev: bool = False,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise BadWidget(f"a server has a name; got {name!r}")
        if resumable and stateless:
            raise ValueError("resumable=True keeps events of sessions, so it needs stateless=False")
        if isinstance(max_body_bytes, bool) or not isinstance(max_body_bytes, int):
            raise TypeError(f"max_body_bytes is a number of bytes; got {max_body_bytes!r}")
        if max_body_bytes < 1:
            raise ValueError(f"max_body_bytes is 1 or more; got {max_body_bytes!r}")
        self.name = name
        self.title = title
        self.version = version or "0"
        self.instructions = instructions
        self.stateless = stateless
        self.max_body_bytes = max_body_bytes
        self.gate = Gate(allowed_hosts, allowed_origins)
        self.registry = Registry()
        self._resumable = resumable
        self._timeout_s = timeout_s
        self._threads = threads
        self._session_idle_s = session_idle_s
        self._max_sessions = max_sessions
        self._dev = dev
        self._folders = [Path(each) for each in pages]
        self._domains = {
            "resource_domains": list(global_resource_domains or ()),
            "connect_domains": list(global_connect_domains or ()),
            "frame_domains": list(global_frame_domains or ()),
        }
        Csp(self._domains, f"the server {name!r}")
        self._scopes = tuple(auth_required_scopes or ())
        self.metadata_url: str | None = None
        self.resource_metadata: dict[str, Any] | None = None
        self.verifier: AnyTokenVerifier | None = token_verifier
        self._issuer = auth_issuer_url
        self._resource_url = auth_resource_server_url
        self._set_up_auth(auth_audience)
        self._app: Backstay | None = None
        self._engine: Engine | None = None
        self._spare: tuple[asyncio.AbstractEventLoop, ThreadPool] | None = None
        self._handlers: Handlers | None = None
        self._sdk: Server[Any] | None = None
        self._has_warned = False
        self._keep_session_s = keep_session_state_s
        for widget in find_widgets(widgets):
            self.add(widget)

    def _set_up_auth(self, audience: str | Sequence[str] | None) -> None:
        given = (audience,) if isinstance(audience, str) else tuple(audience or ())
        if self._resource_url is not None:
            self.metadata_url = metadata_url(self._resource_url)
            if not given:
                # Spelled with and without the slash: issuers do either.
                bare = self._resource_url.rstrip("/")
                given = (bare, f"{bare}/")
        self.audience: tuple[str, ...] = given
        if self._issuer is None:
            if self.verifier is None and (self._resource_url or self._scopes or given):
                raise BadWidget(
                    "auth_resource_server_url, auth_audience and auth_required_scopes say what "
                    "tokens have to be like, and nobody checks any: give auth_issuer_url or "
                    "token_verifier"
                )
            return
        if self._resource_url is None:
            raise BadWidget(
                "auth_issuer_url needs auth_resource_server_url: the address of this server as "
                "clients know it, such as https://shop.example.com/mcp; tokens are meant for that"
            )
        self.resource_metadata = metadata(
            self._resource_url, [self._issuer], self._scopes, name=self.title or self.name
        )
        if self.verifier is None:
            from backstay.auth.jwt import JWTVerifier

            self.verifier = JWTVerifier(self._issuer, audience=list(self.audience))

    # ------------------------------------------------------------------ what it offers

    def add(self, widget: BaseWidget | type[BaseWidget]) -> None:
        """One more widget.

        Raises:
            BadWidget: it is declared in a way that could never work, or its name is taken.
        """
        self._not_started("add")
        for each in find_widgets(widget):
            name = require_name(
                getattr(each, "identifier", None), f"the widget {type(each).__qualname__}"
            )
            csp = Csp(each.widget_csp, f"the widget {name!r}").with_more(self._domains)
            self.registry.add_tool(
                widget_tool(
                    each,
                    find_face(each, csp, self._folders),
                    timeout_s=self._timeout_s,
                    server_required=self.verifier is not None,
                    server_scopes=self._scopes,
                )
            )
            self._know_tasks(each.task_support)

    def tool(
        self,
        name: str | None = None,
        *,
        title: str | None = None,
        description: str | None = None,
        input_schema: type[BaseModel] | Mapping[str, Any] | None = None,
        output_schema: type[BaseModel] | None = None,
        timeout_s: float | None = None,
        read_only: bool | None = None,
        destructive: bool | None = None,
        idempotent: bool | None = None,
        open_world: bool | None = None,
        visibility: Sequence[Literal["model", "app"]] = ("model", "app"),
        task_support: Literal["forbidden", "optional", "required"] = "forbidden",
        before_task: Callable[..., Awaitable[Any]] | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function, sync or async, that is a tool without a face.

        Its parameters are the tool's; the one annotated ``WidgetContext`` gets the context.

        Args:
            name: as clients call it, ``None`` for the function's own.
            title: for people, ``None`` for the name in words.
            description: for the model, ``None`` for the docstring.
            input_schema: instead of the parameters: a model, handed over whole, or a JSON schema,
                whose properties are handed over by name.
            output_schema: a model of what it returns, ``None`` for what it is annotated to return.
            timeout_s: how long it may take, ``None`` for the server's.
            read_only: whether it changes nothing; this and the next as ``BaseWidget`` has them.
            destructive: whether it may destroy something.
            idempotent: whether doing it twice is doing it once.
            open_world: whether it reaches beyond this service.
            visibility: who may call it: ``("app",)`` hides it from the model.
            task_support: whether it may run in the background, as ``BaseWidget`` has it.
            before_task: async, takes the context: what is asked before it goes there, as
                ``BaseWidget.before_task``.

        Raises:
            BadWidget: it could never work, or its name is taken.
        """
        self._not_started("tool")
        if callable(name):
            raise BadWidget("write @server.tool() with brackets")

        def add(function: F) -> F:
            hints = {
                "read_only": read_only,
                "destructive": destructive,
                "idempotent": idempotent,
                "open_world": open_world,
            }
            self.registry.add_tool(
                function_tool(
                    function,
                    name=name,
                    title=title,
                    description=description,
                    input_schema=input_schema,
                    output_schema=output_schema,
                    timeout_s=self._timeout_s if timeout_s is None else timeout_s,
                    server_required=self.verifier is not None,
                    server_scopes=self._scopes,
                    hints=hints,
                    visibility=visibility,
                    task_support=task_support,
                    before_task=before_task,
                    task_timeout_s=timeout_s,
                )
            )
            self._know_tasks(task_support)
            return function

        return add

    def resource(
        self,
        uri: str,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        mime_type: str | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function that gives a document: text, bytes, or anything that is JSON.

        Args:
            uri: its address. With variables, ``orders://{order_id}``, it is many documents, and
                the function takes the variables by name.
            name: for programs, ``None`` for the function's own.
            title: for people.
            description: for the model, ``None`` for the docstring.
            mime_type: ``None`` for what fits: ``text/plain``, ``application/octet-stream`` or
                ``application/json``.

        Raises:
            BadWidget: the address is none, is taken, or its variables are not the parameters.
        """
        self._not_started("resource")
        if ":" not in uri:
            raise BadWidget(
                f"the address of a resource is a URI, such as shop://terms; got {uri!r}"
            )

        def add(function: F) -> F:
            described: dict[str, Any] = {
                "name": name or function.__name__,
                "description": description or prose_of(function.__doc__) or None,
                "title": title,
                "mimeType": mime_type,
            }
            described = {key: value for key, value in described.items() if value is not None}
            if "{" in uri:
                self.registry.add_template(
                    Template(
                        uri,
                        function,
                        {"uriTemplate": uri, **described},
                        mime_type,
                        takes_context(function),
                    )
                )
            else:
                context = takes_context(function)
                takes = [e for e in inspect.signature(function).parameters if e != context]
                if takes:
                    raise BadWidget(
                        f"the resource {uri!r} has no variables, and {name_of(function)} takes "
                        f"{takes}; write them into the address: {uri}/{{{takes[0]}}}"
                    )
                self.registry.add_resource(
                    Resource(
                        uri=uri,
                        read=function,
                        described={"uri": uri, **described},
                        mime_type=mime_type,
                    )
                )
            return function

        return add

    def prompt(
        self,
        name: str | None = None,
        *,
        title: str | None = None,
        description: str | None = None,
        arguments: Mapping[str, str] | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function that writes a prompt: text, ``Message``, or a list of these.

        Args:
            name: ``None`` for the function's own.
            title: for people.
            description: ``None`` for the docstring.
            arguments: what each parameter is, for people.

        Raises:
            BadWidget: its name is taken.
        """
        self._not_started("prompt")

        def add(function: F) -> F:
            found = require_name(name or function.__name__, "the prompt")
            context = takes_context(function)
            takes = {
                each.name: each.default is each.empty
                for each in inspect.signature(function).parameters.values()
                if each.name != context
            }
            told = arguments or {}
            unknown = [each for each in told if each not in takes]
            if unknown:
                raise BadWidget(
                    f"the prompt {found!r} describes {unknown[0]!r}, which is no parameter of it"
                )
            described: dict[str, Any] = {
                "name": found,
                "title": title,
                "description": description or prose_of(function.__doc__) or None,
                "arguments": [
                    {"name": each, "required": needed}
                    | ({"description": told[each]} if each in told else {})
                    for each, needed in takes.items()
                ],
            }
            self.registry.add_prompt(
                Prompt(
                    name=found,
                    write=function,
                    described={k: v for k, v in described.items() if v is not None},
                    arguments=takes,
                )
            )
            return function

        return add

    def completion(self, reference: str, argument: str) -> Callable[[F], F]:
        """Decorate a function that completes an argument: ``complete(value)``.

        It may take a second parameter, the arguments already given.

        Args:
            reference: the name of a prompt, or the template of a resource's address.
            argument: which of its arguments.

        Raises:
            BadWidget: there is no such thing.
        """
        self._not_started("completion")

        def add(function: F) -> F:
            completer: Completer = function
            self.registry.add_completer(reference, argument, completer)
            return function

        return add

    @staticmethod
    def _know_tasks(task_support: str) -> None:
        # Workers look for tasks in the modules that are loaded; nobody else has to load this one.
        if task_support != "forbidden":
            import backstay.widgets.background.job  # noqa: F401

    def has_tool(self, name: str) -> bool:
        """Whether there is a widget or tool of that name."""
        return name in self.registry.tools

    def _not_started(self, what: str) -> None:
        if self._handlers is not None:
            raise RuntimeError(
                f"{what}() came after the server had started; declare everything where it is made"
            )

    # ------------------------------------------------------------------ serving

    def mount(self, app: Starlette, path: str = "/mcp") -> None:
        """Serve at ``path`` of an app, with and without a slash at the end, and live as it lives.

        Clients are told where to find tokens at the address RFC 9728 names, on the app's root.

        Args:
            app: the FastAPI app you serve.
            path: where.

        Raises:
            BadWidget: the server is mounted already, or the path is none.
        """
        from backstay.widgets.mounting import mount

        mount(self, app, path)

    def asgi(self, path: str = "/mcp") -> Starlette:
        """An app of its own that serves nothing else, for a process of its own.

        Run it with any ASGI server: ``uvicorn shop.widgets:app`` where ``app = server.asgi()``.
        """
        from starlette.applications import Starlette

        app = Starlette()
        self.mount(app, path)
        return app

    def get_app(self) -> Starlette:
        """``asgi()``, under the name it has in fastapps."""
        return self.asgi()

    def run(self, host: str = "127.0.0.1", port: int = 8000, *, path: str = "/mcp") -> None:
        """Serve alone, with uvicorn, until interrupted."""
        import uvicorn

        uvicorn.run(self.asgi(path), host=host, port=port)

    @property
    def endpoint(self) -> ASGIApp:
        """The ASGI endpoint, for whoever mounts it in a way of his own."""
        from backstay.widgets.endpoint import Endpoint

        return Endpoint(self)

    def belongs_to(self, app: Backstay) -> None:
        """For whoever mounts it: the app it lives in."""
        if self._app is not None and self._app is not app:
            raise BadWidget(
                f"the server {self.name!r} is mounted already; make another for another app"
            )
        self._app = app

    def prepare(self) -> Handlers:
        """Make the handlers, on first use."""
        if self._handlers is None:
            from backstay.widgets.handlers import Handlers
            from backstay.widgets.rounds import Rounds

            self._handlers = Handlers(
                self.registry,
                self,
                server_required=self.verifier is not None,
                server_scopes=self._scopes,
                metadata_url=self.metadata_url,
                rounds=Rounds(lambda: self._scope(["rounds", self.name])),
                tasks=self._task_methods(),
                timeout_s=self._timeout_s,
                dev=self._dev or os.environ.get("BACKSTAY_WIDGETS_DEV") == "1",
            )
            self._sdk = self._handlers.build(
                self.name,
                version=self.version,
                title=self.title,
                instructions=self.instructions,
                stateful=not self.stateless,
            )
        return self._handlers

    def _task_methods(self) -> TaskMethods | None:
        """Calls in the background: if there is a tool that does it, and durable tasks to do it."""
        tools = [each for each in self.registry.tools.values() if each.task_support != "forbidden"]
        if not tools:
            return None
        if not self.app.has("durable"):
            needing = next((each.name for each in tools if each.task_support == "required"), None)
            if needing is not None:
                raise BadWidget(
                    f"task_support of {needing!r} is 'required', so it runs as a durable task, and "
                    "the app has none: call backstay.tasks.add_tasks(app) where the app is made"
                )
            return None
        from backstay.widgets.background.desk import TaskDesk
        from backstay.widgets.background.protocol import TaskMethods
        from backstay.widgets.background.record import TaskRecords

        records = TaskRecords(lambda: self._scope(["tasks", self.name]))
        return TaskMethods(TaskDesk(self.app, records), self.name)

    async def start(self) -> None:
        """Begin to serve. The app does it.

        Raises:
            BadWidget: a tool is for those with a token, and nobody here could verify one; or it
                runs as a durable task only, and the app has none.
        """
        if self.verifier is None and not self.app.knows_users:
            for tool in self.registry.tools.values():
                if tool.guard.kind is GuardKind.REQUIRED:
                    raise BadWidget(
                        f"{tool.name!r} is decorated with auth_required, and nobody could ever call "
                        f"it: give the server {self.name!r} auth_issuer_url or token_verifier, or "
                        "the app a verifier, install(app, verify_user=...)"
                    )
        if not self.app.serves:
            return  # a process that only runs jobs
        from backstay.widgets.engine import Engine

        handlers = self.prepare()
        engine = Engine(
            self.sdk,
            stateless=self.stateless,
            resumable=self._resumable,
            max_body_bytes=self.max_body_bytes,
            session_idle_s=self._session_idle_s,
            max_sessions=self._max_sessions,
            threads=self._threads,
            on_stop=handlers.listen.close,
        )
        await engine.start()
        self._engine = engine

    async def stop(self) -> None:
        """Stop serving. The app does it."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.stop()
        close = getattr(self.verifier, "close", None)
        if close is not None and self._issuer is not None:
            await close()

    async def resource_updated(self, uri: str) -> None:
        """Tell clients that have asked for it that a document has changed, in this process."""
        await self.prepare().resource_updated(uri)

    async def tools_changed(self) -> None:
        """Tell clients of 2026-07-28 that listen that they should list the tools again."""
        await self.prepare().tools_changed()

    async def prompts_changed(self) -> None:
        """Tell clients of 2026-07-28 that listen that they should list the prompts again."""
        await self.prepare().prompts_changed()

    # ------------------------------------------------------------------ what the endpoint asks

    @property
    def app(self) -> Backstay:
        """The app it lives in; one of its own if it lives in none."""
        if self._app is None:
            from backstay.state.part import StatePart

            self._app = Backstay()
            self._app.add(StatePart(self._app, "memory://"))
        return self._app

    @property
    def clock(self) -> Clock:
        """The app's time."""
        return self.app.clock

    @property
    def sdk(self) -> Server[Any]:
        """The SDK's server."""
        self.prepare()
        assert self._sdk is not None
        return self._sdk

    @property
    def pool(self) -> ThreadPool:
        """Where sync widgets run."""
        if self._engine is None:
            from backstay.threads import ThreadPool

            # Nobody runs the app's lifespan: threads for as long as this event loop is the one.
            loop = asyncio.get_running_loop()
            if self._spare is None or self._spare[0] is not loop:
                if self._spare is not None:
                    self._spare[1].stop()
                self._spare = (loop, ThreadPool(4, loop))
            return self._spare[1]
        return self._engine.pool

    def sessions(self) -> ASGIApp | None:
        """The SDK's part, while the app runs."""
        return None if self._engine is None else self._engine.sessions

    def guard_of(self, method: str, params: Any) -> Guard | None:
        """Who may send this."""
        if method == "tools/call" and isinstance(params, dict):
            name = params.get("name")
            tool = self.registry.tools.get(name) if isinstance(name, str) else None
            if tool is not None:
                return tool.guard
        if self.verifier is None:
            return None
        # Where some tools are for anybody, so is the list of what there is; not what is in it.
        mixed = any(
            tool.guard.kind in {GuardKind.NONE, GuardKind.OPTIONAL}
            for tool in self.registry.tools.values()
        )
        return None if mixed and not self._is_content(method, params) else Guard.none()

    def _is_content(self, method: str, params: Any) -> bool:
        """Whether this asks for what a resource or prompt says. Pages say nothing of anybody."""
        if method in {"prompts/get", "completion/complete", "resources/subscribe"}:
            return True
        if method != "resources/read":
            return False
        uri = params.get("uri") if isinstance(params, dict) else None
        return not (isinstance(uri, str) and self.registry.face_at(uri) is not None)

    def denied(self, guard: Guard, token: VerifiedToken | None, presented: bool) -> Denied | None:
        """Why whoever has this token may not."""
        return guard.check(
            token,
            server_required=self.verifier is not None,
            server_scopes=self._scopes,
            presented=presented,
        )

    def refusal(self, denied: Denied) -> dict[str, Any]:
        """The result that says so."""
        return self.prepare().refusal(denied)

    async def identify(self, scope: Scope, receive: Receive) -> UserContext | None:
        """Who the app's own verifier says it is, if the server has none itself."""
        exchange = scope.get("backstay.exchange")
        if self.verifier is not None or exchange is None:
            return None
        from starlette.requests import Request

        user = await exchange.who(Request(scope, receive))
        if user is None:
            return None
        return UserContext(user.subject, scopes=user.scopes, claims=user.claims)

    def session_ended(self, session: str) -> None:
        """Forget what was kept for it."""
        self.prepare().forget(session)

    def state(self, call: WidgetCall, *, shared: bool) -> State:
        """The state of a tool for a principal; else for a session; else for this call alone.

        ``shared`` is the same for all tools of this server.
        """
        user, session = call.user, call.session
        keep_s = None
        if user is not None:
            owner = ["user", user.issuer, user.subject]
        elif session is not None:
            # Anybody may open sessions, as many as they like, and nobody says when one is over.
            owner, keep_s = ["session", session], self._keep_session_s
        else:
            # Nobody to keep it for: shared by all strangers it would be a leak.
            owner, keep_s = ["call", call.alone], min(3_600.0, self._keep_session_s)
            if not self._has_warned:
                self._has_warned = True
                logger.warning(
                    "the state of %r is kept for this call alone: its caller has neither a "
                    "verified user nor a session to keep it for (said once)",
                    call.tool.name,
                )
        whose = ["tools", self.name] if shared else ["widget", self.name, call.tool.name]
        return self._scope([*whose, *owner], call.context, keep_s)

    def _scope(
        self,
        parts: Sequence[str | None],
        ctx: Context | None = None,
        keep_s: float | None = None,
    ) -> State:
        from backstay.state.part import StatePart

        part = self.app.part(StatePart.attribute)
        assert isinstance(part, StatePart)
        # As JSON, so that no part can be made to read as another.
        return part.state(json.dumps(parts), ctx, keep_s=keep_s)

    # ------------------------------------------------------------------ calls by the program

    async def call(self, identifier: str, /, **inputs: Any) -> Any:
        """Call a widget or tool from the program, as a client would, but for who may.

        State belongs to the user of the work that calls, if there is one. Else it belongs to the
        session of the widget that calls, and where no widget does, to the session ``"program"``.

        Args:
            identifier: which.
            inputs: its arguments.

        Returns:
            Its data: what goes to the face as props, or the text if there is none.

        Raises:
            UnknownWidget: there is none of that name.
            ValidationError: the inputs will not do.
            WidgetFailed: it answered with an error.
        """
        work = current_work.get()
        # What one stranger's widget keeps in another is not for the next stranger.
        session = work.session if isinstance(work, WidgetCall) else "program"
        result = await self.call_with(identifier, inputs, session=session)
        if result.get("isError"):
            text = " ".join(part.get("text", "") for part in result["content"])
            about = result.get("structuredContent") or result.get("_meta", {}).get(ERROR_META, {})
            if about.get("error") in {"validation_error", "invalid_inputs"}:
                raise ValidationError(about["message"], field=about.get("field"))
            raise WidgetFailed(text, result=result)
        if "structuredContent" in result:
            return result["structuredContent"]
        content = result["content"]
        if len(content) == 1 and content[0]["type"] == "text":
            return content[0]["text"]
        return content

    async def call_with(
        self,
        identifier: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        user: UserContext | None = None,
        session: str | None = "program",
        meta: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
    ) -> dict[str, Any]:
        """The same with a say in who calls, and the whole result as it would go over the wire.

        Args:
            identifier: which.
            inputs: its arguments.
            user: on whose behalf, ``None`` for that of the work that calls.
            session: where state is kept if there is no user.
            meta: a request's ``_meta``: ``{"openai/locale": "fr"}``.
            correlation_id: ``None`` for that of the work that calls, or a new one.

        Raises:
            UnknownWidget: there is none of that name.
        """
        tool = self.registry.tools.get(identifier)
        if tool is None:
            raise UnknownWidget(
                f"the server {self.name!r} has no widget or tool {identifier!r}; "
                f"{did_you_mean(identifier, self.registry.tools)}"
            )
        work = current_work.get()
        if work is not None:
            correlation_id = correlation_id or work.context.correlation_id
            if user is None and (found := work.context.user) is not None:
                user = (
                    found
                    if isinstance(found, UserContext)
                    else UserContext(found.subject, scopes=found.scopes, claims=found.claims)
                )
        try:
            arguments = tool.inputs.validate(inputs)
        except InvalidInputs as error:
            return misfit(error)
        call = WidgetCall(self, tool, DirectCaller(user, session, meta), correlation_id)
        try:
            return await call.run(arguments)
        finally:
            call.answered()

    def __repr__(self) -> str:
        return f"<WidgetMCPServer {self.name!r} with {len(self.registry.tools)} tools>"
