"""The key of a call: its arguments as one text, the same for the same and for nothing else."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import weakref
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

from backstay.calls import name_of
from backstay.clock import Clock

__all__ = ["Arguments"]

_encode = json.JSONEncoder(
    ensure_ascii=True, sort_keys=True, separators=(",", ":"), check_circular=False
).encode
_PLAIN = (str, int, float, bool, type(None))
_AS_TEXT: tuple[type, ...] = (datetime, date, time, UUID, Decimal, PurePath)
_DEEPEST = 50


class Arguments:
    """Says which entry a call of one function is about.

    Args:
        func: the function; ``module.qualname`` begins every key.
        key: given the call's arguments, returns what tells calls apart, in JSON; ``None``: all
            arguments do.
        clock: where marks of objects come from.
    """

    def __init__(
        self, func: Callable[..., Any], key: Callable[..., Any] | None, clock: Clock
    ) -> None:
        self._name = name_of(func)
        self._prefix = f"{getattr(func, '__module__', '')}.{self._name}"
        self._signature = inspect.signature(func)
        self._key = key
        self._clock = clock
        self._objects: dict[int, tuple[weakref.ref[Any], str]] = {}

    def key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, bound: bool) -> str:
        """The key of a call.

        Args:
            args: as it was called.
            kwargs: as well.
            bound: whether the first is the object that the method is of.

        Raises:
            TypeError: an argument has no text of its own, or the function takes no such arguments.
        """
        if self._key is not None:
            found = self._key(*args, **kwargs)
            return f"{self._prefix}:{_encode(self._plain(found, 'the result of key=', 0))}"
        call = self._signature.bind(*args, **kwargs)
        call.apply_defaults()
        values = []
        for name, value in call.arguments.items():
            if bound:
                bound = False
                values.append(self._owner(value, name))
            elif type(value) in _PLAIN:
                values.append(value)
            else:
                values.append(self._plain(value, f"its argument {name!r}", 0))
        return f"{self._prefix}:{_encode(values)}"

    # ------------------------------------------------------------------ what has a text of its own

    def _owner(self, value: Any, name: str) -> Any:
        """Whose method it is. An object that says nothing of itself is the same only as itself."""
        if isinstance(value, type):
            return {"$class": f"{value.__module__}.{value.__qualname__}"}
        own = getattr(value, "__cache_key__", None)
        if callable(own):
            return self._typed(value, self._plain(own(), f"{name}.__cache_key__()", 0))
        if dataclasses.is_dataclass(value) or hasattr(type(value), "model_fields"):
            return self._plain(value, f"its argument {name!r}", 0)
        known = self._objects.get(id(value))
        if known is not None and known[0]() is value:
            return {"$object": known[1]}
        mark, number = self._clock.new_id(), id(value)
        try:
            reference = weakref.ref(value, lambda _: self._objects.pop(number, None))
        except TypeError:
            raise TypeError(self._refusal(value, f"its argument {name!r}")) from None
        self._objects[number] = reference, mark
        return {"$object": mark}

    def _plain(self, value: Any, where: str, depth: int) -> Any:
        """JSON in which nothing is the same as anything that it is not."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if depth > _DEEPEST:
            raise TypeError(
                f"{self._name}() cannot be cached: {where} is nested more than {_DEEPEST} deep"
            )

        def inner(each: Any) -> Any:
            return self._plain(each, where, depth + 1)

        if isinstance(value, enum.Enum):
            return self._typed(value, value.name)
        if kind in (list, tuple):
            return [inner(each) for each in value]
        if isinstance(value, Mapping):
            if all(type(name) is str and not name.startswith("$") for name in value):
                return {name: inner(each) for name, each in value.items()}
            return {"$dict": sorted(([inner(k), inner(v)] for k, v in value.items()), key=_encode)}
        if isinstance(value, (set, frozenset)):
            return {"$set": sorted((inner(each) for each in value), key=_encode)}
        if isinstance(value, (bytes, bytearray)):
            return {"$bytes": value.hex()}
        if isinstance(value, timedelta):
            return {"$timedelta": [value.days, value.seconds, value.microseconds]}
        if isinstance(value, _AS_TEXT):
            return self._typed(value, str(value))
        if isinstance(value, type):
            return {"$class": f"{value.__module__}.{value.__qualname__}"}
        own = getattr(value, "__cache_key__", None)
        if callable(own):
            return self._typed(value, inner(own()))
        if dataclasses.is_dataclass(value):
            fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
            return self._typed(value, inner(fields))
        if hasattr(kind, "model_fields"):  # a pydantic model, its own fields and extra ones
            return self._typed(value, inner(dict(value)))
        if isinstance(value, (str, int, float)):
            return self._typed(value, repr(value))
        raise TypeError(self._refusal(value, where))

    def _typed(self, value: Any, content: Any) -> Any:
        kind = type(value)
        return {f"${kind.__module__}.{kind.__qualname__}": content}

    def _refusal(self, value: Any, where: str) -> str:
        kind = type(value)
        return (
            f"{self._name}() cannot be cached by {where}: {kind.__module__}.{kind.__qualname__} "
            "has no text that tells it from others. Say what does with @cached(key=lambda ...: "
            f"...), which gets the same arguments, or give {kind.__qualname__} a method "
            "__cache_key__() that returns JSON"
        )
