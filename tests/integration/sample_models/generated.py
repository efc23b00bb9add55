"""Generated modules, imported; and whether data comes back from their models as it was."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from types import ModuleType
from typing import Any

_NUMBERS = count()


@contextmanager
def imported(source: str) -> Iterator[ModuleType]:
    """The module, as an import would make it."""
    module = ModuleType(f"generated_{next(_NUMBERS)}")
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, module.__name__, "exec"), module.__dict__)
        yield module
    finally:
        del sys.modules[module.__name__]


def classes(source: str) -> dict[str, list[str]]:
    """The classes of a module, with the lines in them."""
    return {
        each.name: [ast.unparse(line) for line in each.body]
        for each in ast.parse(source).body
        if isinstance(each, ast.ClassDef)
    }


def assert_only_declares(source: str) -> None:
    """There are imports, classes of annotations and constants, and ``Model.model_rebuild()``."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.ClassDef):
            for line in statement.body:
                assert isinstance(line, ast.AnnAssign | ast.Assign | ast.Pass), ast.unparse(line)
                calls = [each for each in ast.walk(line) if isinstance(each, ast.Call)]
                assert all(ast.unparse(each.func) == "Field" for each in calls)
        elif isinstance(statement, ast.Expr):
            assert ast.unparse(statement).endswith(".model_rebuild()")
        else:
            assert isinstance(statement, ast.ImportFrom), ast.unparse(statement)


def assert_round_trip(module: ModuleType, model: str, sample: Any) -> None:
    """A sample fits a model, as Python and as JSON, and is dumped as it was."""
    made = vars(module)[model]
    for one in (made.model_validate(sample), made.model_validate_json(json.dumps(sample))):
        dumped = json.loads(one.model_dump_json(by_alias=True, exclude_unset=True))
        assert same(sample, dumped), (sample, dumped)


def same(given: Any, dumped: Any) -> bool:
    """Whether two JSON values are one, a moment in another spelling and ``1.0`` for ``1`` too."""
    if isinstance(given, dict) and isinstance(dumped, dict):
        return given.keys() == dumped.keys() and all(
            same(each, dumped[key]) for key, each in given.items()
        )
    if isinstance(given, list) and isinstance(dumped, list):
        return len(given) == len(dumped) and all(map(same, given, dumped))
    if isinstance(given, str) and isinstance(dumped, str):
        return given == dumped or datetime.fromisoformat(given) == datetime.fromisoformat(dumped)
    if isinstance(given, bool) or isinstance(dumped, bool):
        return given is dumped
    return bool(given == dumped)
