"""What a mock may say besides results: answers with a status, and several answers in order."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from pydantic_core import to_json

from backstay.errors import BadIntegration, MissingExtra

__all__ = ["Answer", "Answers", "answers"]

_NOTHING: Final[Any] = object()


@dataclass(frozen=True)
class Answer:
    """What the other side answers, as HTTP has it: ``Answer(404, {"error": "no such item"})``.

    It is read as a real one is: a status of 400 or more becomes the model of ``SchemaError``, or
    ``UpstreamError``.

    Args:
        status: from 100 to 599.
        body: bytes and texts as they are, everything else as JSON, models by their aliases.
            ``None`` is an empty body.
        headers: more of them: ``{"Retry-After": "3"}``.

    Raises:
        BadIntegration: the status is none.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.status, int) or not 100 <= self.status <= 599:
            raise BadIntegration(f"Answer(status=) is from 100 to 599; got {self.status!r}")

    def response(self, method: str, url: str) -> Any:
        """The same as the response of a client: httpx's where that is installed, else httpx2's.

        Args:
            method: of the request that it answers, in capitals.
            url: of that.

        Raises:
            MissingExtra: there is neither.
        """
        module = _client_module()
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.body is None or isinstance(self.body, bytes):
            content = self.body
        elif isinstance(self.body, str):
            content = self.body.encode()
            headers.setdefault("content-type", "text/plain; charset=utf-8")
        else:
            content = to_json(self.body, by_alias=True)
            headers.setdefault("content-type", "application/json")
        return module.Response(
            self.status, headers=headers, content=content, request=module.Request(method, url)
        )


def _client_module() -> ModuleType:
    for name in ("httpx", "httpx2"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise MissingExtra("integration", "httpx")


@dataclass(frozen=True)
class Answers:
    """Mocks in order, one for each call. Made by ``answers``."""

    mocks: tuple[Any, ...]
    then: Any = _NOTHING

    def at(self, number: int) -> Any:
        """The mock for a call, counted from 0.

        Raises:
            IndexError: there are fewer, and none for the rest.
        """
        if number < len(self.mocks):
            return self.mocks[number]
        if self.then is _NOTHING:
            raise IndexError(number)
        return self.then


def answers(*mocks: Any, then: Any = _NOTHING) -> Answers:
    """One mock after the other, each for one call: ``answers(Answer(503), {"body": "ok"})``.

    They begin anew each time they are used by a ``patch_integration``.

    Args:
        mocks: each is whatever a mock may be.
        then: for all calls after these. By default such calls are an error.

    Raises:
        BadIntegration: there is none.
    """
    if not mocks and then is _NOTHING:
        raise BadIntegration("answers() has none; give at least one")
    return Answers(mocks, then)
