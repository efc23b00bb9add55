"""Which session a request works with, where an app's own dependency makes it.

``add_tasks(app, session=get_session)`` names the dependency. Routes that use it are given one more,
next to it, that notes which session they got; FastAPI hands both the same instance, since they
differ in nothing that its cache of a request's dependencies looks at. Overrides apply to both.

A session that is committed by the exit code of a request-scoped dependency is committed after the
answer has left. Where that can be seen in the source it is found here, at start-up.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import fastapi.routing
from fastapi import Depends, Security
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_parameterless_sub_dependant
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute

from backstay.calls import name_of
from backstay.web.installation import mounted_apps

__all__ = ["Remember", "Uses", "late_commits", "remember_sessions"]

Remember = Callable[[HTTPConnection, Any], object]
"""Told the session that a request or WebSocket works with."""

Uses = Callable[[Dependant], bool]
"""Whether a route, by what it depends on, has any use for the session being known."""

_MARK = "__backstay_notes__"
_DEPTH = 4


def remember_sessions(
    routes: Iterable[BaseRoute],
    dependency: Callable[..., Any],
    remember: Remember,
    uses: Uses | None = None,
) -> int:
    """Have ``remember`` told the session of every request to a route that depends on one.

    Args:
        routes: an app's routes; those of included routers and of apps mounted below come along.
        dependency: the function that ``Depends`` names.
        remember: called before the endpoint, and before what is declared after the session.
        uses: which routes to take; ``None``: all that depend on ``dependency``.

    Returns:
        How many routes there are. Doing it again changes nothing.
    """
    found = 0
    recorders: dict[tuple[str | None, tuple[str, ...]], Callable[..., Any]] = {}

    def recorder_beside(session: Dependant) -> Dependant:
        # Instances are shared by what has the same scope and was asked for with the same OAuth
        # scopes, so the second asker has to agree with the first in these.
        scopes = tuple(session.parent_oauth_scopes or ())
        key = (session.scope, scopes)
        record = recorders.get(key)
        if record is None:
            record = recorders[key] = _recorder(dependency, session.scope, remember)
        asked = Security(record, scopes=scopes) if scopes else Depends(record)
        return get_parameterless_sub_dependant(depends=asked, path=session.path or "")

    for _, dependant in _dependants(routes):
        if uses is not None and not uses(dependant):
            continue
        found += _place(dependant, dependency, recorder_beside) is not None
    return found


def _recorder(
    dependency: Callable[..., Any], scope: Any, remember: Remember
) -> Callable[..., Awaitable[None]]:
    # With a signature of its own, because FastAPI reads it again when there are overrides.
    async def note_session(
        connection: HTTPConnection,
        session: Any = Depends(dependency, scope=scope),  # noqa: B008  # as FastAPI wants it
    ) -> None:
        remember(connection, session)

    vars(note_session)[_MARK] = dependency
    return note_session


def _place(
    dependant: Dependant,
    dependency: Callable[..., Any],
    recorder_beside: Callable[[Dependant], Dependant],
) -> Dependant | None:
    """Put a recorder behind the first place where the session comes from, at every level.

    At the deepest, so that the session is known to what is declared after it; and at each one
    above, because overrides make FastAPI forget what was added below the first.

    Returns:
        The session's own ``Dependant``, ``None`` if there is none below this one.
    """
    for index, each in enumerate(dependant.dependencies):
        if _MARK in getattr(each.call, "__dict__", {}):
            continue
        session = each if each.call is dependency else _place(each, dependency, recorder_beside)
        if session is None:
            continue
        following = dependant.dependencies[index + 1 : index + 2]
        if not any(_notes(other, dependency) for other in following):
            dependant.dependencies.insert(index + 1, recorder_beside(session))
        return session
    return None


def _notes(dependant: Dependant, dependency: Callable[..., Any]) -> bool:
    return getattr(dependant.call, "__dict__", {}).get(_MARK) is dependency


def _dependants(routes: Iterable[BaseRoute]) -> Iterator[tuple[Any, Dependant]]:
    """Routes of FastAPI's, with what they depend on."""
    every = list(routes)
    for app in mounted_apps(every):
        yield from _own_dependants(app.routes)
    yield from _own_dependants(every)


def _own_dependants(routes: Iterable[BaseRoute]) -> Iterator[tuple[Any, Dependant]]:
    # Newer versions of FastAPI keep included routers as they are, and this says what their
    # routes come to; older ones copy them into the app's own.
    iterate = getattr(fastapi.routing, "iter_route_contexts", None)
    candidates: Iterable[Any] = routes if iterate is None else iterate(list(routes))
    for candidate in candidates:
        # What an included WebSocket route comes to is kept one step further in.
        route = getattr(candidate, "_effective_route", candidate)
        original = getattr(candidate, "original_route", candidate)
        dependant = getattr(route, "dependant", None)
        if isinstance(original, APIRoute | APIWebSocketRoute) and isinstance(dependant, Dependant):
            yield route, dependant


# ---------------------------------------------------------------------- commits that come too late


def late_commits(
    routes: Iterable[BaseRoute], dependency: Callable[..., Any], uses: Uses | None = None
) -> list[str]:
    """Routes whose session is seen to be committed only after their answer has left.

    That is a dependency with ``yield``, in FastAPI's default scope, whose code behind the
    ``yield`` commits, or that yields inside ``with ....begin():``. What cannot be seen (no source,
    somebody else's wrapper) is not complained about, and neither is a session that the endpoint
    commits.

    Args:
        routes: an app's routes; included and mounted ones come along.
        dependency: the function that makes the session.
        uses: which routes matter; ``None``: all that depend on ``dependency``.

    Returns:
        One sentence for each route, naming endpoint, dependency, the line, and the remedy.
    """
    evidence = _commit_behind_yield(dependency, _DEPTH)
    if evidence is None:
        return []
    name = name_of(dependency)
    complaints = []
    for route, dependant in _dependants(routes):
        if isinstance(getattr(route, "original_route", route), APIWebSocketRoute) or not hasattr(
            route, "methods"
        ):
            continue  # no answer to be late for
        if uses is not None and not uses(dependant):
            continue
        if any(each.scope != "function" for each in _below(dependant, dependency)):
            methods = ",".join(sorted(route.methods or ()))
            complaints.append(
                f"{methods} {route.path} ({_full_name(route.endpoint)}) depends on {name}, which "
                f"commits when the answer has left already ({evidence}), so a client could be "
                "told of work that is never written; declare it as "
                f'Depends({name}, scope="function")'
            )
    return complaints


def _below(dependant: Dependant, dependency: Callable[..., Any]) -> Iterator[Dependant]:
    for each in dependant.dependencies:
        if each.call is dependency:
            yield each
        elif not _notes(each, dependency):
            yield from _below(each, dependency)


def _full_name(function: Any) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', function)}"


def _commit_behind_yield(function: Any, depth: int) -> str | None:
    """Where a generator commits when it is resumed, in words; ``None`` if that is not seen."""
    code = _generator_behind(function)
    if code is None or depth == 0:
        return None
    try:
        lines, first = inspect.getsourcelines(code)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return None
    definition = tree.body[0] if tree.body else None
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        return None

    def at(node: ast.AST, what: str) -> str:
        file = inspect.getsourcefile(code) or "?"
        return f"{what}, {file}:{first - 1 + getattr(node, 'lineno', 1)}"

    return _Exit(definition, code, at, depth).evidence()


def _generator_behind(function: Any) -> Any:
    """The generator function that a dependency or a context manager's maker comes down to."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function) if callable(function) else function
    if not inspect.isroutine(function) and not inspect.isclass(function):
        function = getattr(type(function), "__call__", None)  # noqa: B004  # its code is wanted
    function = getattr(function, "__func__", function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return function
    return None


class _Exit:
    """What a generator's source does after its ``yield``, if all goes well."""

    def __init__(
        self,
        definition: ast.FunctionDef | ast.AsyncFunctionDef,
        function: Any,
        at: Callable[[ast.AST, str], str],
        depth: int,
    ) -> None:
        self._definition = definition
        self._function = function
        self._at = at
        self._depth = depth

    def evidence(self) -> str | None:
        """Where it commits."""
        around = _path_to_yield(self._definition.body)
        if around is None:
            return None
        the_yield = around[-1]
        for block in around:
            found = None
            if isinstance(block, ast.With | ast.AsyncWith):
                found = self._in_with(block)
            elif isinstance(block, ast.For | ast.AsyncFor):
                found = self._elsewhere(block.iter)
            elif isinstance(block, ast.YieldFrom):
                found = self._elsewhere(block.value)
            if found is not None:
                return found
        return self._behind(self._definition.body, the_yield)

    def _in_with(self, block: ast.With | ast.AsyncWith) -> str | None:
        """A context manager around the yield that commits when it exits."""
        for item in block.items:
            call = item.context_expr
            if _calls(call, {"begin"}):
                return self._at(call, f"the yield is inside `with {ast.unparse(call)}`")
            found = self._elsewhere(call)
            if found is not None:
                return found
        # with ExitStack() as stack: session = stack.enter_context(maker.begin())
        for node in ast.walk(block):
            if (
                isinstance(node, ast.Call)
                and _calls(node, {"enter_context", "enter_async_context"})
                and node.args
                and _calls(node.args[0], {"begin"})
            ):
                return self._at(node, f"`{ast.unparse(node)}` is left after the yield")
        return None

    def _elsewhere(self, call: ast.expr) -> str | None:
        """The same in a generator of the user's that this one hands on."""
        if not isinstance(call, ast.Call):
            return None
        target = _resolve(call.func, self._function)
        return None if target is None else _commit_behind_yield(target, self._depth - 1)

    def _behind(self, body: list[ast.stmt], the_yield: ast.AST) -> str | None:
        """A call of ``commit`` that is reached from the yield without an error."""
        line = (getattr(the_yield, "end_lineno", 0), getattr(the_yield, "end_col_offset", 0))
        for node in _without_errors(body, the_yield):
            if (
                isinstance(node, ast.Call)
                and _calls(node, {"commit"})
                and (node.lineno, node.col_offset) >= line
            ):
                return self._at(node, f"`{ast.unparse(node)}` comes after its yield")
        return None


def _path_to_yield(body: list[ast.stmt]) -> list[ast.AST] | None:
    """The statements around the first ``yield``, outermost first, and the yield itself."""
    for statement in body:
        path = _descend(statement)
        if path is not None:
            return path
    return None


def _descend(node: ast.AST) -> list[ast.AST] | None:
    if isinstance(node, ast.Yield | ast.YieldFrom):
        return [node]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        return None
    for child in ast.iter_child_nodes(node):
        path = _descend(child)
        if path is not None:
            return [node, *path]
    return None


def _without_errors(body: Iterable[ast.AST], the_yield: ast.AST) -> Iterator[ast.AST]:
    """Every node but those of inner functions and of ``except`` clauses the yield is not in."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.ExceptHandler) and all(
            each is not the_yield for each in ast.walk(node)
        ):
            continue
        yield node
        yield from _without_errors(ast.iter_child_nodes(node), the_yield)


def _calls(node: ast.expr, names: set[str]) -> bool:
    """Whether this is a call of a function or method of one of these names."""
    if isinstance(node, ast.Await):
        return _calls(node.value, names)
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    return name in names


def _resolve(expression: ast.expr, function: Any) -> Any:
    """What a name, dotted or not, stands for in a function, without running anything."""
    if isinstance(expression, ast.Name):
        closed = inspect.getclosurevars(function)
        for names in (closed.nonlocals, closed.globals):
            if expression.id in names:
                return names[expression.id]
        return None
    if isinstance(expression, ast.Attribute):
        owner = _resolve(expression.value, function)
        if owner is None:
            return None
        found = inspect.getattr_static(owner, expression.attr, None)
        if isinstance(found, staticmethod | classmethod):
            found = found.__func__
        return found if inspect.isfunction(found) else None
    return None
