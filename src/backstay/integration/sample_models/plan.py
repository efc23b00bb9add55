"""Which models say what was seen: their names, fields and types."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from backstay.errors import BadIntegration
from backstay.integration.sample_models.names import (
    class_name,
    enum_names,
    field_names,
    singular,
    words_of,
)
from backstay.integration.sample_models.shape import Shape

__all__ = ["Enumeration", "Model", "ModelField", "Plan", "RESERVED", "new_plan"]

RESERVED = frozenset(dir(builtins)) | {
    "Any",
    "AnyUrl",
    "AwareDatetime",
    "BaseModel",
    "Field",
    "NaiveDatetime",
    "RootModel",
    "StrEnum",
    "UUID",
    "annotations",
}
"""Names that a module of models uses for something else."""

_LOWER_TYPES = frozenset({"bool", "dict", "float", "int", "list", "str"})
_OF_BASE_MODEL = frozenset(dir(BaseModel))
_MOST_MODELS = 500
_MOST_FIELDS = 5_000

Type = tuple[Any, ...]
"""A type. The first part says which: ``("str",)``, ``("format", "date")``, ``("list", of)``,
``("map", of)``, ``("union", *types)``, ``("model", number)``, ``("enum", number)``, ``("any",)``.
"""


@dataclass(frozen=True, slots=True)
class ModelField:
    """A field.

    Attributes:
        key: in JSON.
        name: in Python.
        type: what it holds, null apart.
        nullable: whether null was seen.
        required: whether it was there in every object.
    """

    key: str
    name: str
    type: Type
    nullable: bool
    required: bool


@dataclass(slots=True)
class Model:
    """A model. Its number is its place among the models of the plan."""

    name: str
    fields: list[ModelField]


@dataclass(slots=True)
class Enumeration:
    """An enumeration of texts. Its number is its place among those of the plan.

    Attributes:
        name: the class's.
        members: a name for each value.
    """

    name: str
    members: dict[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """A module of models.

    Attributes:
        models: the outermost one first.
        enums: enumerations that they use.
        listed: the name of a model for a list, and what is in it; ``None`` for no such model.
        formats: formats that texts have somewhere.
    """

    models: list[Model]
    enums: list[Enumeration]
    listed: tuple[str, Type, bool] | None
    formats: frozenset[str]


@dataclass(slots=True)
class _Draft:
    """A model or enumeration before it has a name.

    Attributes:
        uses: where it is used: the key, the draft that has it, whether it is one of several there.
        shape: of the objects, ``None`` for an enumeration.
    """

    uses: list[tuple[str, _Draft | None, bool]] = field(default_factory=list)
    shape: Shape | None = None
    columns: list[tuple[str, Type, bool, bool]] = field(default_factory=list)
    values: tuple[str, ...] = ()
    is_recursive: bool = False
    name: str = ""


def new_plan(
    shape: Shape,
    *,
    name: str,
    taken: Collection[str],
    depth: int,
    snake_case: bool,
    as_list: bool,
    is_enum: Callable[[Shape, str], bool],
) -> Plan:
    """The plan for what was seen.

    Args:
        shape: of the outermost objects.
        name: of their model.
        taken: names of classes that models must not have.
        depth: levels of objects and lists that get types of their own.
        snake_case: whether fields are named in snake case.
        as_list: whether there is a model for a list of them too, ``nameList``.
        is_enum: whether texts are choices, told what was seen and the key it is at.

    Raises:
        BadIntegration: there would be more than 500 models or 5,000 fields, or a name is taken.
    """
    return _Planner(taken, depth, snake_case, is_enum).plan(shape, name, as_list)


class _Planner:
    def __init__(
        self,
        taken: Collection[str],
        depth: int,
        snake_case: bool,
        is_enum: Callable[[Shape, str], bool],
    ) -> None:
        self._reserved = RESERVED | set(taken)
        self._depth = depth
        self._snake_case = snake_case
        self._is_enum = is_enum
        self._maps: set[int] = set()
        self._open: dict[int, _Draft] = {}
        self._drafts: list[_Draft] = []
        self._known: dict[Any, _Draft] = {}
        self._formats: set[str] = set()
        self._fields = 0

    def plan(self, shape: Shape, name: str, as_list: bool) -> Plan:
        inner = self._type(shape, "", None, False, 1)
        used = self._used(inner)
        models = [each for each in used if each.shape is not None]
        enums = [each for each in used if each.shape is None]
        numbers = {
            id(each): number for group in (models, enums) for number, each in enumerate(group)
        }
        names = {name}
        listed = None
        if as_list:
            listed = f"{name}List"
            names.add(listed)
        # Pydantic's class of this name is needed for lists alone.
        free = set() if as_list else {"RootModel"}
        for each in names:
            if each in self._reserved - free:
                raise BadIntegration(f"{each!r} is a name the module needs itself; choose another")
        self._name(used, name, names)
        hidden = self._lower_names() | names
        return Plan(
            [Model(each.name, self._columns(each, numbers, hidden)) for each in models],
            [Enumeration(each.name, enum_names(each.values)) for each in enums],
            None if listed is None else (listed, _numbered(inner, numbers), shape.nulls),
            frozenset(self._formats),
        )

    def _lower_names(self) -> frozenset[str]:
        """Names of types in small letters, which a field of that name would hide."""
        return _LOWER_TYPES | (self._formats & {"date", "time"})

    # ------------------------------------------------------------------ types

    def _type(self, shape: Shape, key: str, owner: _Draft | None, many: bool, level: int) -> Type:
        """The type of what was seen at a place, null apart."""
        found: list[Type] = []
        if shape.texts:
            found.append(self._text_type(shape, key, owner, many))
        if shape.bools:
            found.append(("bool",))
        if shape.ints and (shape.large or not shape.floats):
            found.append(("int",))
        if shape.floats:
            found.append(("float",))
        if shape.lists:
            found.append(("list", self._inner(shape.items, key, owner, level)))
        if shape.has_objects:
            found.append(self._object_type(shape.home, key, owner, many, level))
        if not found:
            return ("any",)
        return found[0] if len(found) == 1 else ("union", *found)

    def _inner(self, shape: Shape | None, key: str, owner: _Draft | None, level: int) -> Type:
        """The type of what is in a list or map, null included."""
        if shape is None or level >= self._depth:
            return ("any",)
        inner = self._type(shape, key, owner, True, level + 1)
        return ("union", inner, ("null",)) if shape.nulls and inner != ("any",) else inner

    def _text_type(self, shape: Shape, key: str, owner: _Draft | None, many: bool) -> Type:
        if shape.values and self._is_enum(shape, key):
            values = tuple(shape.values)
            draft = self._known.setdefault(frozenset(values), _Draft(values=values))
            draft.uses.append((key, owner, many))
            return ("enum", draft)
        if shape.formats:
            (name,) = shape.formats
            self._formats.add(name)
            return ("format", name)
        return ("str",)

    def _object_type(
        self, shape: Shape, key: str, owner: _Draft | None, many: bool, level: int
    ) -> Type:
        known = self._open.get(id(shape))
        if known is not None:
            known.is_recursive = True
            known.uses.append((key, owner, many))
            return ("model", known)
        if shape.mapped is not None:
            if id(shape) in self._maps:
                return ("map", ("any",))  # maps within maps within maps, and so on
            self._maps.add(id(shape))
            values = self._inner(shape.mapped, key, owner, level)
            self._maps.discard(id(shape))
            return ("map", values)
        if not shape.fields or level > self._depth:
            return ("map", ("any",))
        draft = _Draft(shape=shape)
        draft.uses.append((key, owner, many))
        self._open[id(shape)] = draft
        self._fields += len(shape.fields)
        if len(self._open) > _MOST_MODELS or self._fields > _MOST_FIELDS:
            raise BadIntegration(
                f"the samples need more than {_MOST_MODELS:,} models or {_MOST_FIELDS:,} fields; "
                "are keys data somewhere (then name it a map), or is depth= too large?"
            )
        for each, inner in shape.fields.items():
            draft.columns.append(
                (
                    each,
                    self._type(inner, each, draft, False, level + 1),
                    inner.nulls,
                    inner.seen >= shape.objects,
                )
            )
        if draft.is_recursive:
            return ("model", draft)
        signature = frozenset(
            (each, _signature(kind), nullable, required)
            for each, kind, nullable, required in draft.columns
        )
        same = self._known.setdefault(signature, draft)
        if same is not draft:
            same.uses += draft.uses
            self._open[id(shape)] = same
        return ("model", same)

    def _used(self, outermost: Type) -> list[_Draft]:
        """The drafts that are used, each before those that it uses."""
        found: dict[int, _Draft] = {}
        waiting = [outermost]
        while waiting:
            kind, *parts = waiting.pop()
            if kind in {"model", "enum"}:
                (draft,) = parts
                if id(draft) not in found:
                    found[id(draft)] = draft
                    waiting.extend(each for _, each, _, _ in reversed(draft.columns))
            else:
                waiting.extend(each for each in reversed(parts) if isinstance(each, tuple))
        return list(found.values())

    # ------------------------------------------------------------------ names

    def _name(self, drafts: list[_Draft], outermost: str, names: set[str]) -> None:
        for number, draft in enumerate(drafts):
            if number == 0 and draft.shape is not None:
                draft.name = outermost
                continue
            words = _shared_words(draft)
            owner = next((each for _, each, _ in draft.uses if each is not None), None)
            above = owner.name if owner is not None and owner.name else outermost
            candidates = [class_name(words), class_name([above, *words])]
            candidates += [f"{candidates[0]}{index}" for index in range(2, len(drafts) + 3)]
            draft.name = next(
                each for each in candidates if each not in names and each not in self._reserved
            )
            names.add(draft.name)

    def _columns(
        self, draft: _Draft, numbers: dict[int, int], hidden: frozenset[str]
    ) -> list[ModelField]:
        named = field_names(
            [each for each, *_ in draft.columns],
            forbidden=hidden | self._reserved_for_fields(),
            snake_case=self._snake_case,
        )
        return [
            ModelField(key, named[key], _numbered(kind, numbers), nullable, required)
            for key, kind, nullable, required in draft.columns
        ]

    def _reserved_for_fields(self) -> frozenset[str]:
        # Of the builtins only those that are types here: a field called `id` or `hash` is fine.
        return frozenset(self._reserved - frozenset(dir(builtins))) | _OF_BASE_MODEL


def _shared_words(draft: _Draft) -> list[str]:
    """What the places where something is used have in common, in words."""
    named = [
        _place_words(key, many)
        for key, owner, many in draft.uses
        if owner is not None and owner is not draft
    ]
    if not named:
        return ["Item"]
    if all(each == named[0] for each in named):
        return named[0]
    lowered = [[word.lower() for word in words] for words in named]
    same = 0
    while all(len(each) > same for each in lowered) and (
        len({each[-1 - same] for each in lowered}) == 1
    ):
        same += 1
    if same:
        return named[0][-same:]
    if 1 < len(draft.columns) <= 3:
        return [word for key, *_ in draft.columns for word in words_of(key)]
    return named[0]


def _place_words(key: str, many: bool) -> list[str]:
    words = words_of(key)
    if not many or not words:
        return words
    one = singular(words[-1])
    return [*words[:-1], one] if one != words[-1] else [*words, "Item"]


def _signature(kind: Type) -> Any:
    return tuple(
        id(each)
        if isinstance(each, _Draft)
        else _signature(each)
        if isinstance(each, tuple)
        else each
        for each in kind
    )


def _numbered(kind: Type, numbers: dict[int, int]) -> Type:
    return tuple(
        numbers[id(each)]
        if isinstance(each, _Draft)
        else _numbered(each, numbers)
        if isinstance(each, tuple)
        else each
        for each in kind
    )
