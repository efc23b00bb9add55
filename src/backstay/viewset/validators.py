"""A schema's validators, taken along to what clients may send.

A validator of single fields goes along if any of its fields do. Where fields may be left out, as in a
PATCH, it is not told of those; if it cannot do without one, the value passes.

A validator of the whole model is given an object of the very class it was written for, methods and
all, with what was sent and with defaults. If it asks for a field that clients do not write, it says
nothing. Both are made good before the commit, when the item is read through the schema.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import (
    BaseModel,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

__all__ = [
    "ABSENT",
    "Input",
    "NestedInput",
    "compares_fields",
    "drops_known",
    "forgets_absent",
    "needs_what_is_new",
    "of_fields",
    "of_model",
]


class Input(BaseModel):
    """What a client sends, derived from the schema of what it is answered."""


class NestedInput(Input):
    """The same for rows behind relations: what of it was not sent is not written."""

    @model_serializer(mode="wrap")
    def _only_sent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unsent = type(self).model_fields.keys() - self.model_fields_set
        return {name: value for name, value in handler(self).items() if name not in unsent}


class _Absent:
    """The value of fields that were not sent, while the others are validated."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class _Told:
    """What pydantic tells validators (``ValidationInfo``), without fields that were not sent."""

    data: Mapping[str, Any]
    context: Any
    config: Any
    mode: str
    field_name: str | None


def of_fields(
    schema: type[BaseModel], kept: frozenset[str], *, partial: bool = False
) -> dict[str, Any]:
    """The validators of single fields, for ``create_model(__validators__=...)``.

    Args:
        schema: whose.
        kept: the fields that are still there.
        partial: whether fields may be left out, and then are ``ABSENT``.
    """
    found: dict[str, Any] = {}
    for name, each in schema.__pydantic_decorators__.field_validators.items():
        fields = [one for one in each.info.fields if one == "*" or one in kept]
        if not fields:
            continue
        function, mode = each.func, each.info.mode
        if partial and _takes_info(function, mode):
            function = _not_told_of_absent(function, mode, frozenset(schema.model_fields))
        options: dict[str, Any] = {"mode": mode, "check_fields": False}
        if mode != "after":
            options["json_schema_input_type"] = each.info.json_schema_input_type
        # Bound to the class it was written in, or to none; it is not to be bound again.
        validator: Any = field_validator(*fields, **options)
        found[name] = validator(staticmethod(function))
    return found


def of_model(schema: type[BaseModel], kept: frozenset[str]) -> dict[str, Any]:
    """The validators of the whole model, for ``create_model(__validators__=...)``.

    Args:
        schema: whose.
        kept: the fields that are still there.
    """
    found: dict[str, Any] = {}
    for name, each in schema.__pydantic_decorators__.model_validators.items():
        mode: Any = each.info.mode
        function: Any = staticmethod(each.func)
        if mode == "after":
            function = _judging(each.func, schema, kept)
        elif mode == "wrap":
            function = staticmethod(_wrapping(each.func, schema, kept))
        validator: Any = model_validator(mode=mode)
        found[name] = validator(function)
    return found


def forgets_absent() -> Any:
    """The last validator of a partial model: what was not sent is ``None`` for who asks."""

    def forget_absent(self: BaseModel) -> BaseModel:
        values = self.__dict__
        values.update({name: None for name, value in values.items() if value is ABSENT})
        return self

    return model_validator(mode="after")(forget_absent)


def needs_what_is_new(needed: Sequence[str], keys: Sequence[str]) -> Any:
    """A validator of nested rows: one that is not there already has to be whole.

    The schema's defaults count as sent for it.

    Args:
        needed: fields without which there is no new row.
        keys: fields that say which row is meant; any of them is enough.
    """

    def need_what_is_new(self: BaseModel) -> BaseModel:
        sent = self.model_fields_set
        if sent.isdisjoint(keys):
            missing = [name for name in needed if name not in sent]
            if missing:
                raise PydanticCustomError(
                    "missing", "Fields required: {fields}", {"fields": ", ".join(missing)}
                )
            # Its column may have a default of its own, which None would keep from coming.
            sent.update(
                name
                for name, each in self.__dict__.items()
                if each is not ABSENT and each is not None
            )
        return self

    return model_validator(mode="after")(need_what_is_new)


def drops_known(names: Collection[str]) -> Any:
    """A validator where others are forbidden: what clients read and do not write is let pass."""

    def drop_known(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: each for name, each in value.items() if name not in names}
        return value

    return model_validator(mode="before")(staticmethod(drop_known))


def compares_fields(schema: type[BaseModel]) -> bool:
    """Whether a schema may refuse values together that it takes one by one.

    What is stored may come from several requests then, each of which would do.
    """
    decorators = schema.__pydantic_decorators__
    validators = [
        *((each.func, each.info.mode) for each in decorators.field_validators.values()),
        *(
            (function, "wrap" if type(each).__name__.startswith("Wrap") else "after")
            for field in schema.model_fields.values()
            for each in field.metadata
            if callable(function := getattr(each, "func", None))
        ),
    ]
    return bool(decorators.model_validators) or any(
        _takes_info(function, mode) for function, mode in validators
    )


# ------------------------------------------------------------------ single fields


def _takes_info(function: Callable[..., Any], mode: str) -> bool:
    """Whether a validator is told of other fields: pydantic goes by the number of parameters."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # such as classes written in C
        return False
    needed = [
        each
        for each in parameters
        if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD}
        and each.default is each.empty
    ]
    return len(needed) > (2 if mode == "wrap" else 1)


def _not_told_of_absent(
    function: Callable[..., Any], mode: str, fields: frozenset[str]
) -> Callable[..., Any]:
    def told(info: Any) -> _Told:
        data = {name: value for name, value in info.data.items() if value is not ABSENT}
        return _Told(data, info.context, info.config, info.mode, info.field_name)

    def validate(value: Any, info: Any) -> Any:
        known = told(info)
        try:
            return function(value, known)
        except KeyError as error:
            if _is_about(error.args[0], fields - known.data.keys()):
                return value
            raise

    def wrap(value: Any, handler: Any, info: Any) -> Any:
        known = told(info)
        try:
            return function(value, handler, known)
        except KeyError as error:
            if _is_about(error.args[0], fields - known.data.keys()):
                return handler(value)
            raise

    return wrap if mode == "wrap" else validate


def _is_about(key: object, fields: frozenset[str]) -> bool:
    return isinstance(key, str) and key in fields


# ------------------------------------------------------------------ the whole model


def _judging(function: Callable[..., Any], schema: type[BaseModel], kept: frozenset[str]) -> Any:
    takes_info = _takes_info(function, "after")

    def judge(self: Any, info: Any) -> Any:
        try:
            judged = _stand_in(schema, self)
            judged = function(judged, info) if takes_info else function(judged)
        except AttributeError as error:
            _require_unwritten(error, schema, kept)
            return self
        return _taken_over(self, judged, kept)

    return judge


def _wrapping(function: Callable[..., Any], schema: type[BaseModel], kept: frozenset[str]) -> Any:
    takes_info = _takes_info(function, "wrap")

    def wrap(value: Any, handler: Any, info: Any) -> Any:
        made: list[Any] = []

        def handle(inner: Any) -> Any:
            made.append(handler(inner))
            return _stand_in(schema, made[-1])

        try:
            judged = function(value, handle, info) if takes_info else function(value, handle)
        except AttributeError as error:
            _require_unwritten(error, schema, kept)
            return made[-1] if made else handler(value)
        if not made:  # it has made an object without the handler's help
            made.append(handler(value))
        return _taken_over(made[-1], judged, kept)

    return wrap


def _stand_in(schema: type[BaseModel], item: BaseModel) -> BaseModel:
    """An object of the schema itself with an input's values, and defaults for the rest."""
    return schema.model_construct(set(item.model_fields_set), **item.__dict__)


def _taken_over(item: BaseModel, judged: Any, kept: frozenset[str]) -> BaseModel:
    """The input with what a validator has changed."""
    for name in kept:
        value = getattr(judged, name)
        if value is not item.__dict__[name]:
            item.__dict__[name] = value
            item.__pydantic_fields_set__.add(name)
    return item


def _require_unwritten(
    error: AttributeError, schema: type[BaseModel], kept: frozenset[str]
) -> None:
    """Let pass that something is not there which clients do not send.

    Nested rows are no objects of the schema's own either, nor lists of them root models.
    """
    unwritten = {"root", *schema.model_fields} - kept
    if not (error.name in unwritten or isinstance(error.obj, Input)):
        raise error
