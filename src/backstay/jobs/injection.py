"""FastAPI's dependencies in a task's parameters, resolved when the job runs.

FastAPI's own solver does it, on a request that nobody sent: POST /, without headers, query or
body, in a scope that has the app, the state of its lifespan and the job's context. So overrides,
caching, classes as dependencies, sync ones in threads, ``yield`` and scopes are what they are in a
request. What only a real request could give is refused, when that can be seen: parameters
without a default that come from path, query, headers, cookies or body, and credentials.

When the job is over, function-scoped dependencies exit first and request-scoped ones after them.
The task's exception is thrown into them, as a request's is, and one that keeps it to itself does
not turn the failure into a success.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, params
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant, solve_dependencies
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from pydantic import BaseModel
from starlette.background import BackgroundTasks
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from backstay.app import Backstay
from backstay.calls import name_of
from backstay.context import Context, Work
from backstay.errors import BadJob
from backstay.jobs.signature import Signature, is_union
from backstay.web.dependencies import get_context
from backstay.web.exchange import SCOPE_KEY

__all__ = ["Injection", "JobExchange", "is_filled_in"]

_OF_A_REQUEST = (HTTPConnection, Response, BackgroundTasks, SecurityScopes)


class JobExchange:
    """What ``ctx: Ctx`` and ``tasks: Tasks`` of a job's dependencies find in the scope.

    A stand-in for the ``Exchange`` of a request, as far as dependencies use one.

    Args:
        work: the job that is running.

    Attributes:
        session: the session that a dependency made for this job, if that was noted.
    """

    __slots__ = ("session", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.session: object | None = None

    @property
    def app(self) -> Backstay:
        """Whose job it is."""
        return self.work.app

    @property
    def context(self) -> Context:
        """The job's own context."""
        return self.work.context

    def watch(self, scope: MutableMapping[str, Any]) -> None:
        """Nothing to do: whoever runs a job hears of its failure."""

    async def identify(self, connection: HTTPConnection) -> None:
        """Nobody to ask for: a job has no credentials."""

    def hold_answer(self, until: Callable[[], Awaitable[None]]) -> None:
        """As the job's own."""
        self.work.hold_answer(until)


class Injection:
    """The parameters of one function that are filled in when its job runs.

    Args:
        func: the function.

    Attributes:
        names: all of them. May be seen while names in annotations are still missing.
        context_names: those that get the job's ``Context``.

    Raises:
        BadJob: a parameter asks for a request, a response, or a part of a request.
    """

    def __init__(self, func: Callable[..., object]) -> None:
        self._func = func
        self._signature = Signature(func)
        self._lock = threading.Lock()
        self._dependant: Dependant | None = None
        dependencies, contexts = [], []
        for name, parameter in self._signature.parameters.items():
            annotation = self._signature.early(name)
            self._refuse_request(name, annotation, parameter.default)
            if _takes_context(annotation, parameter.default):
                contexts.append(name)
            elif _depends(annotation, parameter.default) is not None:
                dependencies.append(name)
        self._dependencies = frozenset(dependencies)
        self.context_names = frozenset(contexts)
        self.names = self._dependencies | self.context_names

    def prepare(self) -> None:
        """Look at the dependencies, and at what they depend on, now.

        Raises:
            BadJob: an annotation cannot be resolved, or a dependency wants what only a request
                has.
        """
        if self._dependencies and self._dependant is None:
            self._build()

    @asynccontextmanager
    async def solve(
        self,
        app: FastAPI | None,
        work: Work,
        *,
        state: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """The values of ``names`` for one job; dependencies exit at the end of the block.

        Enter and leave in the same asyncio task. Without ``names`` there is no need to.

        Args:
            app: whose overrides count, and what ``request.app`` is; ``None`` if there is none.
            work: the job that is running.
            state: what the app's lifespan yielded, ``request.state`` of dependencies.

        Raises:
            BadJob: as for ``prepare``. Whatever a dependency raises comes as it is.
        """
        values: dict[str, Any] = dict.fromkeys(self.context_names)
        if values:
            values = dict.fromkeys(values, work.context)
        if not self._dependencies:
            yield values
            return
        dependant = self._dependant or self._build()
        scope = _scope(app, state)
        scope[SCOPE_KEY] = JobExchange(work)
        failure: BaseException | None = None
        async with AsyncExitStack() as for_request:
            scope["fastapi_inner_astack"] = for_request
            async with AsyncExitStack() as for_function:
                scope["fastapi_function_astack"] = for_function
                try:
                    solved = await solve_dependencies(
                        request=Request(scope, _no_body(), _send_nothing),
                        dependant=dependant,
                        dependency_overrides_provider=app,
                        async_exit_stack=for_function,
                        embed_body_fields=False,
                    )
                    if solved.errors:
                        raise self._wants_request(solved.errors)
                    values.update(solved.values)
                    yield values
                except BaseException as error:
                    failure = error
                    raise
            if failure is None and solved.background_tasks is not None:
                await solved.background_tasks()
        if failure is not None:
            raise failure

    def _build(self) -> Dependant:
        with self._lock:
            if self._dependant is None:
                dependant = self._find_dependant()
                for each in _with_those_below(dependant):
                    self._refuse_parts(each)
                self._dependant = dependant
            return self._dependant

    def _find_dependant(self) -> Dependant:
        """As FastAPI sees a function that has the dependencies among the parameters alone."""

        def stand_in() -> None:
            """Called by nobody."""

        parameters = []
        for name in self._signature.parameters:
            if name in self._dependencies:
                parameter = self._signature.parameters[name]
                try:
                    annotation = self._signature.annotation(name)
                except Exception as error:
                    raise BadJob(
                        f"{self._name}(): the annotation {parameter.annotation!r} of {name!r} "
                        f"cannot be resolved: {error}. It has to be there at run time: not under "
                        "TYPE_CHECKING, nor inside a function"
                    ) from error
                parameters.append(
                    parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=annotation)
                )
        stand_in.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # that is how it is set
        try:
            return get_dependant(path="/", call=stand_in)
        except Exception as error:
            raise BadJob(
                f"{self._name}(): FastAPI cannot resolve its dependencies: {error}"
            ) from error

    # ------------------------------------------------------------------ refusing

    @property
    def _name(self) -> str:
        return name_of(self._func)

    def _refuse_request(self, name: str, annotation: Any, default: Any) -> None:
        metadata = getattr(annotation, "__metadata__", ())
        wanted = _bare(annotation)
        if any(isinstance(each, params.Param | params.Body) for each in (default, *metadata)):
            raise BadJob(
                f"{self._name}(): parameter {name!r} is to come from a request, and a job has no "
                "request; make it an ordinary argument"
            )
        if (
            isinstance(wanted, type)
            and issubclass(wanted, _OF_A_REQUEST)
            and _depends(annotation, default) is None
        ):
            raise BadJob(
                f"{self._name}(): parameter {name!r} is a {wanted.__name__}, and a job has no "
                "request; pass what the job needs of it as arguments"
            )

    def _refuse_parts(self, dependant: Dependant) -> None:
        call = dependant.call
        if isinstance(call, SecurityBase) and getattr(call, "auto_error", True):
            raise BadJob(
                f"{self._name}(): a dependency asks for credentials "
                f"({type(call).__name__}), and a job has none; pass the user's id as an argument"
            )
        if dependant.websocket_param_name is not None:
            raise BadJob(f"{self._name}(): a dependency asks for a WebSocket, and a job has none")
        for field in (
            *dependant.path_params,
            *dependant.query_params,
            *dependant.header_params,
            *dependant.cookie_params,
            *dependant.body_params,
        ):
            info = field.field_info
            model = isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
            # A model of query parameters is required, and may be happy with none at all.
            if info.is_required() and (isinstance(info, params.Body) or not model):
                kind = type(info).__name__.lower()
                by = "" if call is None else f" of {name_of(call)}()"
                raise BadJob(
                    f"{self._name}(): parameter {field.name!r}{by} comes from a request's {kind}, "
                    f"and a job has no {kind}; give it a default, or pass it as an argument"
                )

    def _wants_request(self, errors: list[Any]) -> BadJob:
        first = errors[0]
        place = ".".join(map(str, first.get("loc", ()))) if isinstance(first, dict) else str(first)
        return BadJob(
            f"{self._name}(): a dependency needs {place} of a request, and a job has none; give "
            "it a default, or pass it as an argument"
        )


def is_filled_in(annotation: Any, default: Any) -> bool:
    """Whether a parameter gets its value when the job runs.

    Args:
        annotation: what its annotation means.
        default: its default.
    """
    return _takes_context(annotation, default) or _depends(annotation, default) is not None


def _takes_context(annotation: Any, default: Any) -> bool:
    depends = _depends(annotation, default)
    if depends is not None:
        return depends.dependency is get_context
    wanted = _bare(annotation)
    return isinstance(wanted, type) and issubclass(wanted, Context)


def _depends(annotation: Any, default: Any) -> params.Depends | None:
    if isinstance(default, params.Depends):
        return default
    annotation = getattr(annotation, "__value__", annotation)  # type Mail = Annotated[...]
    found = None
    for each in getattr(annotation, "__metadata__", ()):
        if isinstance(each, params.Depends):
            found = each  # the last one counts, as in FastAPI
    return found


def _bare(annotation: Any) -> Any:
    """An annotation without metadata and without ``| None``."""
    annotation = getattr(annotation, "__value__", annotation)
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if is_union(annotation):
        others = [each for each in typing.get_args(annotation) if each is not type(None)]
        return _bare(others[0]) if len(others) == 1 else annotation
    return annotation


def _with_those_below(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for each in dependant.dependencies:
        yield from _with_those_below(each)


def _scope(app: FastAPI | None, state: Mapping[str, Any] | None) -> dict[str, Any]:
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": None,
        "server": None,
        "path_params": {},
        "state": {} if state is None else dict(state),
    }
    if app is not None:
        scope["app"] = app
    return scope


def _no_body() -> Callable[[], Awaitable[MutableMapping[str, Any]]]:
    asked = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # a client that stays and says nothing more
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


async def _send_nothing(message: MutableMapping[str, Any]) -> None:
    """There is nobody to answer."""
