"""``py2dantic``: samples in, the source code of their models out."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from backstay.errors import BadIntegration
from backstay.integration.sample_models.names import is_name
from backstay.integration.sample_models.plan import RESERVED, new_plan
from backstay.integration.sample_models.samples import read_sample
from backstay.integration.sample_models.shape import Shape
from backstay.integration.sample_models.source import source_of

__all__ = ["py2dantic"]

# An id as a key: digits, a day, a UUID, or sixteen hexadecimal digits and more.
_ID_KEY = re.compile(
    r"-?\d{1,40}|\d{4}-\d\d(-\d\d)?|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|(?=.*\d)[0-9a-fA-F]{16,64}"
)
_MOST_CHOICES = 20


def py2dantic(
    *samples: object,
    name: str = "RootModel",
    base: str = "pydantic.BaseModel",
    enums: bool | Collection[str] = False,
    maps: Collection[str] = (),
    find_maps: bool = True,
    as_list: bool = False,
    snake_case: bool = False,
    depth: int = 20,
) -> str:
    """Write pydantic models that all samples fit.

    What samples differ in is told by the types: a field that is not in all of them gets the
    default ``None``, one that is null in some may be ``None``, one with values of several kinds is
    a union. A text is a moment, day, time, UUID or URL only if it is one in all samples. Objects of
    the same shape share a model, trees get a model that refers to itself.

    Args:
        samples: dicts; or JSON as ``str``, ``bytes`` or a ``Path``, also several values one after
            another (NDJSON). A list is as many samples as there are objects in it.
        name: the outermost model's.
        base: the class that models are made from, with its module.
        enums: names of fields whose texts become an enumeration; ``True`` for all that hold few
            different texts, each of them twice or more.
        maps: names of fields whose keys are data, which become ``dict[str, ...]``.
        find_maps: whether to do so too where all keys are numbers, days or ids.
        as_list: a list is one sample, and gets a model of its own, ``nameList``.
        snake_case: whether ``createdAt`` becomes ``created_at``, with an alias.
        depth: levels of objects and lists that get types; what is deeper is ``Any``.

    Returns:
        A module: imports, enumerations and models. The same samples give the same text. Keys that
        cannot be names of fields are aliases, so read and write data by alias.

    Raises:
        BadIntegration: a sample is no JSON, larger than 64 MB or deeper than 200 levels; an option
            names what is not there.
        MissingExtra: datamodel-code-generator is not installed.
    """
    if not samples:
        raise BadIntegration("there is no sample; give at least one")
    if not is_name(name) or name.startswith("_"):
        raise BadIntegration(f"name={name[:80]!r} is no name for a class; write it as in Python")
    module, _, parent = base.rpartition(".")
    if not module or not all(map(is_name, base.split("."))):
        raise BadIntegration(
            f"base={base[:80]!r} is no class with its module; write it as 'shop.models.Model'"
        )
    if parent in RESERVED - {"BaseModel"}:
        raise BadIntegration(f"base={base!r} has the name of something else that modules need")
    if depth < 1:
        raise BadIntegration(f"depth={depth} leaves nothing to look at; the least is 1")
    if isinstance(enums, str) or isinstance(maps, str):
        raise BadIntegration("enums= and maps= take several names; write ['status']")
    choices = _Choices(enums)
    keys = _Keys(maps, find_maps)
    shape = _shape_of(samples, as_list)
    shape.find_maps(keys.are_data)
    shape.find_recursion()
    plan = new_plan(
        shape,
        name=name,
        taken={parent},
        depth=depth,
        snake_case=snake_case,
        as_list=as_list,
        is_enum=choices.are_few,
    )
    keys.check()
    choices.check()
    return source_of(plan, base=base)


def _shape_of(samples: Collection[object], as_list: bool) -> Shape:
    shape = Shape()
    for number, sample in enumerate(samples, start=1):
        source = "the sample" if len(samples) == 1 else f"sample {number}"
        for value in read_sample(sample, source):
            if as_list and not isinstance(value, list):
                raise BadIntegration(f"{source} is {_kind(value)}, and as_list=True wants lists")
            inner = value if isinstance(value, list) else [value]
            for index, each in enumerate(inner):
                if not as_list and not isinstance(each, dict):
                    where = (
                        f"holds {_kind(each)} at [{index}]"
                        if inner is value
                        else (f"is {_kind(each)}")
                    )
                    raise BadIntegration(
                        f"{source} {where}, and models are of objects; lists of anything get one "
                        "with as_list=True"
                    )
                shape.observe(each)
    if not shape.seen or not (as_list or shape.fields):
        raise BadIntegration("the samples are empty; there is nothing to make a model of")
    return shape


def _kind(value: Any) -> str:
    kinds = {
        type(None): "null",
        str: "a text",
        list: "a list",
        dict: "an object",
        bool: "a boolean",
    }
    return kinds.get(type(value), "a number")


class _Choices:
    """Which texts are choices."""

    def __init__(self, wanted: bool | Collection[str]) -> None:
        self._all = wanted is True
        self._names = frozenset() if isinstance(wanted, bool) else frozenset(wanted)
        self._found: set[str] = set()

    def are_few(self, shape: Shape, key: str) -> bool:
        values = shape.values or {}
        if key in self._names:
            self._found.add(key)
            return True
        return (
            self._all
            and not shape.formats
            and 2 <= len(values) <= _MOST_CHOICES
            and all(count > 1 for count in values.values())
        )

    def check(self) -> None:
        if missing := sorted(self._names - self._found):
            raise BadIntegration(
                f"enums= names {missing[0]!r}, and no field of that name holds texts, "
                "200 different ones of 100 characters at most"
            )


class _Keys:
    """Which objects are maps: their keys are data and no names of fields."""

    def __init__(self, wanted: Collection[str], by_looks: bool) -> None:
        self._names = frozenset(wanted)
        self._by_looks = by_looks
        self._found: set[str] = set()

    def are_data(self, shape: Shape, key: str) -> bool:
        if key in self._names:
            self._found.add(key)
            return True
        return self._by_looks and all(map(_ID_KEY.fullmatch, shape.fields))

    def check(self) -> None:
        if missing := sorted(self._names - self._found):
            raise BadIntegration(
                f"maps= names {missing[0]!r}, and no field of that name is an object"
            )
