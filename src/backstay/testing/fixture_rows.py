"""``apply_fixture_db``: rows that a test finds in its database."""

from __future__ import annotations

import functools
import inspect
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from backstay.errors import MissingExtra
from backstay.testing.setting import SettingTest
from backstay.testing.write_turn import IsolationError

try:
    from sqlalchemy import inspect as inspect_mapped
    from sqlalchemy.orm import Session
except ImportError as missing:
    raise MissingExtra("db", "sqlalchemy") from missing

__all__ = ["apply_fixture_db", "to_namedtuple"]

P = ParamSpec("P")
R = TypeVar("R")

_PARAMETER = "fixtures"


def to_namedtuple(**rows: Any) -> Any:
    """A named tuple of rows: ``to_namedtuple(ada=User(name="Ada")).ada``."""
    return namedtuple("Fixtures", rows)(**rows)  # names are known here only


def apply_fixture_db(
    export_func: Callable[[], Iterable[Any]],
    flush: bool = False,  # its name where people come from
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Put rows into the test database before a function runs.

    For tests, methods of test classes (``setUp`` among them) and pytest fixtures, sync, async and
    generators. If the function has a parameter ``fixtures``, it is given what ``export_func``
    returned, the rows refreshed: they have their keys and defaults, and stay readable.

    Args:
        export_func: returns new, unsaved objects: a named tuple (``to_namedtuple`` makes one), or
            any iterable; lists of objects within it are put in, too. Called each time anew.
        flush: delete the rows when the function is over. The test's end undoes them anyhow; this
            is for what wants to see them go.

    Raises:
        IsolationError: there is no ``SettingTest``.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        signature = inspect.signature(function)
        asks = _PARAMETER in signature.parameters

        @contextmanager
        def rows_for(options: dict[str, Any]) -> Iterator[None]:
            with _rows(export_func, flush) as rows:
                if asks:
                    options[_PARAMETER] = rows
                yield

        wrapper: Any
        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def wrapper(*args: Any, **options: Any) -> Any:
                with rows_for(options):
                    async for value in function(*args, **options):
                        yield value

        elif inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapper(*args: Any, **options: Any) -> Any:
                with rows_for(options):
                    return await function(*args, **options)

        elif inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def wrapper(*args: Any, **options: Any) -> Any:
                with rows_for(options):
                    yield from function(*args, **options)

        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **options: Any) -> Any:
                with rows_for(options):
                    return function(*args, **options)

        # pytest would look for a fixture of that name.
        wrapper.__signature__ = signature.replace(
            parameters=[each for name, each in signature.parameters.items() if name != _PARAMETER]
        )
        decorated: Callable[..., R] = wrapper
        return decorated

    return decorate


@contextmanager
def _rows(export_func: Callable[[], Iterable[Any]], flush: bool) -> Iterator[Iterable[Any]]:
    setting = SettingTest.instance
    if setting is None:
        raise IsolationError(
            "apply_fixture_db needs to know the database: make SettingTest(DatabaseManager, app) "
            "in conftest.py"
        )
    setting.isolate()
    rows = export_func()
    if isinstance(rows, Iterator):
        rows = list(rows)
    objects = list(_flat(rows))
    with setting.manager.session(expire_on_commit=False) as session:
        session.add_all(objects)
        session.commit()
        for each in objects:
            # Columns only: what was related in memory stays related.
            session.refresh(
                each, [column.key for column in inspect_mapped(each).mapper.column_attrs]
            )
        session.commit()
    try:
        yield rows
    finally:
        if flush:
            with setting.manager.session() as session:
                _delete(session, objects)


def _flat(rows: Iterable[Any]) -> Iterator[Any]:
    for each in rows:
        if isinstance(each, list | tuple | set):
            yield from _flat(each)
        else:
            yield each


def _delete(session: Session, objects: list[Any]) -> None:
    for each in reversed(objects):
        state = inspect_mapped(each)
        found = session.get(type(each), state.identity)
        if found is not None:
            session.delete(found)
    session.commit()
