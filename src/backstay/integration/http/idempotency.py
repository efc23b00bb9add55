"""Keys by which the other side knows what it has been asked before."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from pydantic import BaseModel
from pydantic_core import to_json

from backstay.context import Origin, current_work

__all__ = ["IdempotencyKeys"]

_MOST_JOBS: Final = 10_000


class IdempotencyKeys:
    """Makes keys: new ones, but for a durable job the same in each attempt at it.

    Inside a job a key follows from the job, the endpoint and the arguments; a second call with the
    same arguments in the same attempt has another one. Of files, streams and objects that do not say
    what is in them, the type alone counts.

    Args:
        instance: tells instances of one declaration apart that a job calls with the same arguments.
    """

    def __init__(self, instance: str = "") -> None:
        self._instance = instance
        self._asked: OrderedDict[tuple[UUID, int], Counter[str]] = OrderedDict()

    def next(self, endpoint: str, arguments: Mapping[str, Any]) -> str:
        """The key for one call."""
        work = current_work.get()
        if work is None:
            return str(uuid4())
        if work.context.origin is not Origin.JOB:
            return work.app.clock.new_id()
        job = work.context.job
        digest = (
            f"{endpoint} {self._instance} {hashlib.sha256(_json(_said(arguments))).hexdigest()}"
        )
        # Not the number of the attempt: one that waits for something gives it back.
        asked = self._asked.setdefault((job.id, job.claim.fence), Counter())
        asked[digest] += 1
        if len(self._asked) > _MOST_JOBS:
            self._asked.popitem(last=False)
        return str(uuid5(NAMESPACE_URL, f"backstay:{job.id}:{digest}:{asked[digest]}"))


def _said(value: Any) -> Any:
    """What a value says, in every process alike: the order of sets and addresses of objects are not.

    Files and generators are iterators: ``to_json`` would read them, and nothing be left to send.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump()
    elif is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(_said(name)): _said(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_said(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(_said, value), key=_json)
    if isinstance(value, Iterator):
        return type(value).__qualname__
    return value


def _json(said: Any) -> bytes:
    return to_json(said, fallback=_shown, inf_nan_mode="constants", bytes_mode="base64")


def _shown(value: Any) -> str:
    says_more = any("__repr__" in vars(each) for each in type(value).__mro__[:-1])
    return repr(value) if says_more else type(value).__qualname__
