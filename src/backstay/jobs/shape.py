"""What is known of a task's parameters once their annotations could be read."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typing_extensions
from pydantic import PlainSerializer, SecretBytes, SecretStr

from backstay.errors import BadJob
from backstay.jobs.codec import VALUE, Codec, Slot, why_no_codec
from backstay.jobs.injection import is_filled_in
from backstay.jobs.secret import Secret
from backstay.jobs.signature import Signature, find_within, is_union

__all__ = ["Shape", "mentions_secret", "name_of_type"]


class Shape:
    """A function's parameters, sorted by what has to be done with them.

    Args:
        func: the function.
        injected: parameters that are filled in when the job runs; the rest are its arguments.
        name: the task's name, for messages.

    Attributes:
        positional: arguments that may be given by position.
        by_name: arguments that may be given by name.
        first: those that can be given by position only.
        rest: the name of ``*args``, ``None`` if there is none.
        extra: the name of ``**kwargs``, ``None`` if there is none.
        direct: whether there is nothing of the last three, so that a dictionary will do.
        defaults: of ``positional``, as far as they have one.
        sealed: arguments that are encrypted, by name.
        required: of ``sealed``, those without a default.
        open: the others.

    Raises:
        BadJob: an annotation cannot be resolved, or is a type that cannot be JSON.
    """

    __slots__ = (
        "by_name",
        "defaults",
        "direct",
        "extra",
        "first",
        "open",
        "positional",
        "required",
        "rest",
        "sealed",
    )

    def __init__(self, func: Callable[..., object], injected: frozenset[str], name: str) -> None:
        signature = Signature(func)
        _check_places(signature, injected, name)
        arguments = [each for each in signature.parameters.values() if each.name not in injected]

        def of_kind(*kinds: object) -> tuple[str, ...]:
            return tuple(each.name for each in arguments if each.kind in kinds)

        kind = inspect.Parameter
        self.first = of_kind(kind.POSITIONAL_ONLY)
        self.positional = of_kind(kind.POSITIONAL_ONLY, kind.POSITIONAL_OR_KEYWORD)
        self.by_name = frozenset(of_kind(kind.POSITIONAL_OR_KEYWORD, kind.KEYWORD_ONLY))
        self.rest = next(iter(of_kind(kind.VAR_POSITIONAL)), None)
        self.extra = next(iter(of_kind(kind.VAR_KEYWORD)), None)
        self.direct = not self.first and self.rest is None and self.extra is None
        self.defaults = {
            each.name: each.default
            for each in arguments
            if each.name in self.positional and each.default is not kind.empty
        }
        slots: dict[str, Slot] = {}
        sealed: dict[str, Slot] = {}
        for each in arguments:
            annotation = _resolve(signature, each, name)
            written = _with_secrets_in_full(annotation)
            kept = sealed if written is not annotation or mentions_secret(annotation) else slots
            several = each.kind in (kind.VAR_POSITIONAL, kind.VAR_KEYWORD)
            kept[each.name] = Slot(written, each.default is kind.empty and not several)
        self.open = _codec(slots, name)
        self.required = frozenset(each for each, slot in sealed.items() if slot.required)
        self.sealed = {
            each: _codec({VALUE: Slot(slot.annotation, True)}, name, shown_as=each)
            for each, slot in sealed.items()
        }


def mentions_secret(annotation: Any) -> bool:
    """Whether ``Secret`` marks an annotation or something within it."""
    found = find_within(annotation, lambda one: one is Secret or isinstance(one, Secret))
    return found is not None


def name_of_type(annotation: Any) -> str:
    """An annotation as people write it: ``Order``, ``list[Order]``."""
    plain = isinstance(annotation, type) and not typing.get_args(annotation)
    return annotation.__qualname__ if plain else str(annotation)


def _check_places(signature: Signature, injected: frozenset[str], name: str) -> None:
    before = None
    for each in signature.parameters.values():
        if each.name in injected:
            if each.kind is each.POSITIONAL_ONLY:
                raise BadJob(
                    f"{name}(): {each.name!r} is filled in by its name when the job runs; it "
                    "cannot stand before the / of the signature"
                )
            if each.kind is each.POSITIONAL_OR_KEYWORD:
                before = each.name
        elif each.kind is each.VAR_POSITIONAL and before is not None:
            raise BadJob(
                f"{name}(): {before!r} is filled in by its name when the job runs; it cannot "
                f"stand before *{each.name}, put it behind"
            )


def _resolve(signature: Signature, parameter: inspect.Parameter, name: str) -> Any:
    try:
        annotation = signature.annotation(parameter.name)
    except Exception as error:
        raise BadJob(
            f"{name}(): the annotation {parameter.annotation!r} of argument {parameter.name!r} "
            f"cannot be resolved: {error}. Its job is read by it, so it has to be there at run "
            "time: not under TYPE_CHECKING, nor inside a function"
        ) from error
    if is_filled_in(annotation, parameter.default):
        # It was not to be seen when the task was made, so callers may be giving it already.
        raise BadJob(
            f"{name}(): {parameter.annotation!r}, the annotation of {parameter.name!r}, turns out "
            "to be something that is filled in when the job runs; define it above the task"
        )
    table = find_within(
        annotation, lambda one: isinstance(one, type) and hasattr(one, "__mapper__")
    )
    if table is not None:
        raise BadJob(
            f"{name}(): argument {parameter.name!r} is annotated {name_of_type(table)}, an object "
            "of the database that belongs to its session; pass its id and let the job load it"
        )
    if parameter.kind is parameter.VAR_POSITIONAL:
        return _of_rest(annotation)
    if parameter.kind is parameter.VAR_KEYWORD:
        return _of_extra(annotation)
    return annotation


_UNPACK = (typing.Unpack, typing_extensions.Unpack)  # two things before Python 3.12


def _of_rest(annotation: Any) -> Any:
    if isinstance(annotation, typing.ParamSpecArgs):
        return tuple[Any, ...]
    if typing.get_origin(annotation) in _UNPACK:  # *args: Unpack[tuple[int, str]]
        return typing.get_args(annotation)[0]
    if getattr(annotation, "__unpacked__", False):  # *args: *tuple[int, str]
        return tuple[typing.get_args(annotation)]  # type: ignore[misc]  # made at run time
    return tuple[annotation, ...]


def _of_extra(annotation: Any) -> Any:
    if isinstance(annotation, typing.ParamSpecKwargs):
        return dict[str, Any]
    if typing.get_origin(annotation) in _UNPACK:  # **kwargs: Unpack[Options]
        return typing.get_args(annotation)[0]
    return dict[str, annotation]


_IN_FULL: dict[Any, Any] = {
    # pydantic writes them as stars; sealed, they are to be written as they are.
    secret: Annotated[secret, PlainSerializer(lambda value: value.get_secret_value())]
    for secret in (SecretStr, SecretBytes)
}


def _with_secrets_in_full(annotation: Any) -> Any:
    """Another annotation if this is pydantic's ``SecretStr`` or such a thing or None."""
    if is_union(annotation):
        members = typing.get_args(annotation)
        written = tuple(_IN_FULL.get(each, each) for each in members)
        return annotation if written == members else typing.Union[written]  # noqa: UP007  # made at run time
    return _IN_FULL.get(annotation, annotation) if isinstance(annotation, type) else annotation


def _codec(slots: Mapping[str, Slot], name: str, *, shown_as: str | None = None) -> Codec:
    try:
        return Codec(slots)
    except Exception as error:
        if len(slots) > 1:
            for each, slot in slots.items():  # which one is it?
                _codec({each: slot}, name)
        each, slot = next(iter(slots.items()))
        raise BadJob(
            f"{name}(): argument {shown_as or each!r} is annotated "
            f"{name_of_type(slot.annotation)}, which cannot travel to the job as JSON: "
            f"{why_no_codec(error)}; pass its id, or what the job can make one from"
        ) from error
