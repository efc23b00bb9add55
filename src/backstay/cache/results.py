"""What a function returned, as bytes and back."""

from __future__ import annotations

import hashlib
import inspect
import json
import typing
from collections.abc import Callable
from typing import Any

from backstay.cache.values import encoded
from backstay.calls import name_of
from backstay.errors import BadCache

__all__ = ["Results"]


class Results:
    """Writes and reads the results of one function.

    By the function's return annotation, with pydantic; without one, they are JSON. The
    annotation is looked at when the function is first called: names in it may be defined later.

    Args:
        func: the function.
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        self._func = func
        self._name = name_of(func)
        self._adapter: Any = None
        self._ready = False
        self._version = ""

    @property
    def version(self) -> str:
        """Another one for each thing that the annotation may say; empty without one.

        Results that were kept before a deployment are not read by what an annotation says since.
        """
        if not self._ready:
            self._prepare()
        return self._version

    def dump(self, value: Any) -> bytes:
        """The bytes of a result.

        Raises:
            TypeError: it is not what the annotation says, or no JSON.
        """
        adapter = self._adapter if self._ready else self._prepare()
        if adapter is None:
            try:
                return encoded(value, f"what {self._name}() returned")
            except BadCache as error:
                raise TypeError(
                    f"{error}; or annotate the function with what it returns, as pydantic knows it"
                ) from None
        try:
            raw: bytes = adapter.dump_json(value, warnings="error", by_alias=True)
        except Exception as error:
            raise TypeError(
                f"{self._name}() returned {type(value).__qualname__}, which its annotation "
                f"({_annotation(self._func)}) does not describe: {error}"
            ) from error
        return raw

    def load(self, raw: bytes) -> Any:
        """The result, made anew: nobody shares it.

        Raises:
            ValueError: it was written for another annotation, or by somebody else.
        """
        adapter = self._adapter if self._ready else self._prepare()
        if adapter is None:
            return json.loads(raw)
        return adapter.validate_json(raw, by_alias=True)

    def _prepare(self) -> Any:
        annotation = inspect.signature(self._func).return_annotation
        if annotation is not inspect.Signature.empty and annotation is not Any:
            try:
                hints = typing.get_type_hints(self._func, include_extras=True)
                annotation = hints.get("return", Any)
                if annotation is not Any:
                    from pydantic import TypeAdapter

                    self._adapter = TypeAdapter(annotation)
                    self._version = _digest(annotation, self._adapter)
            except Exception as error:
                raise TypeError(
                    f"{self._name}() cannot be cached by its return annotation "
                    f"({_annotation(self._func)}): {error}. Annotate what pydantic can write as "
                    "JSON and read again, such as a model, or nothing"
                ) from error
        self._ready = True
        return self._adapter


def _digest(annotation: Any, adapter: Any) -> str:
    try:
        text = json.dumps(adapter.json_schema(mode="serialization"), sort_keys=True, default=repr)
    except Exception:  # what it is written as is said by a function, which has no schema
        text = repr(annotation)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _annotation(func: Callable[..., Any]) -> str:
    found = inspect.signature(func).return_annotation
    return found if isinstance(found, str) else getattr(found, "__name__", repr(found))
