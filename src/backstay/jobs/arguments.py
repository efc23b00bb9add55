"""How a task's arguments and its result travel: as JSON, by the function's type hints.

Arguments are an object ``{parameter: value}``, whether they were given by position or by name;
``*args`` are an array and ``**kwargs`` an object under their own names. How values are written is
told in ``backstay.jobs.codec``. A parameter without annotation, or annotated ``Any``, takes what
JSON has (``None``, booleans, numbers, strings, lists, dictionaries with string keys) and refuses
the rest, tuples and sets too, since they would come back as lists.

Jobs outlive deploys, so the code that reads them may not be the code that wrote them:

- A parameter that was not given is not written: the default of the code that runs the job counts.
- A new parameter with a default is filled by it. A new one without a default is an error.
- A value whose parameter is gone is left out, with a line in the log at level DEBUG.
- A value that no longer fits its parameter's type is an error.
- A parameter that is newly marked ``Secret`` still takes values written in the open, and one that
  no longer is still takes sealed ones.

Such errors are ``UnreadableArguments``: no retry can help, so the job is to be parked until
there is code again that can read it. Parameters that FastAPI or backstay fill in when the job
runs are not written, and cannot be given.
"""

from __future__ import annotations

import inspect
import logging
import threading
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

from pydantic import BaseModel
from pydantic_core import ValidationError, from_json, to_json

from backstay.errors import BadJob, JobError
from backstay.jobs.codec import (
    VALUE,
    Codec,
    NotWritable,
    Slot,
    describe_first,
    shorten,
    why_no_codec,
)
from backstay.jobs.secret import MASK, SEALED, SETTING, Sealer, Unsealable, is_sealed
from backstay.jobs.shape import Shape, mentions_secret, name_of_type
from backstay.jobs.signature import Signature, is_union

__all__ = ["Arguments", "Result", "UnreadableArguments", "UnreadableResult"]

_log = logging.getLogger(__name__)


class UnreadableArguments(JobError):
    """The arguments in a row do not fit the function it names; the job is to be parked."""


class UnreadableResult(JobError):
    """The stored result of a job does not fit what its function returns now."""


class Arguments:
    """Turns the arguments of one task into text and back.

    Annotations are looked at when that is first needed, or by ``prepare``: they may name what is
    defined further down in the module. Safe to use from several threads.

    Args:
        func: the function.
        injected: parameters that are filled in when the job runs.
        name: the task's name, for messages, and what sealed values belong to.
        aliases: its former names.
    """

    def __init__(
        self,
        func: Callable[..., object],
        *,
        injected: Collection[str] = (),
        name: str,
        aliases: Collection[str] = (),
    ) -> None:
        self.name = name
        self._func = func
        self._injected = frozenset(injected)
        self._names = (name, *aliases)
        self._lock = threading.Lock()
        self._shape: Shape | None = None

    def prepare(self) -> None:
        """Look at the annotations now.

        Raises:
            BadJob: one cannot be resolved, or is a type that cannot be JSON.
        """
        self._build()

    @property
    def has_secrets(self) -> bool:
        """Whether any parameter is marked ``Secret``, so that ``dump`` needs a sealer."""
        return bool((self._shape or self._build()).sealed)

    @property
    def secrets(self) -> frozenset[str]:
        """The parameters that are marked ``Secret``."""
        return frozenset((self._shape or self._build()).sealed)

    def _build(self) -> Shape:
        with self._lock:
            if self._shape is None:
                self._shape = Shape(self._func, self._injected, self.name)
            return self._shape

    # ------------------------------------------------------------------ writing

    def dump(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        sealer: Sealer | None = None,
        max_bytes: int = 65_536,
    ) -> str:
        """The JSON text of a call's arguments.

        Args:
            args: given by position, injected parameters passed over.
            kwargs: given by name.
            sealer: for parameters marked ``Secret``.
            max_bytes: the longest text allowed, in bytes of UTF-8.

        Raises:
            TypeError: the function cannot be called like this.
            BadJob: an argument has the wrong type, cannot be JSON, or is too large; or one is to
                be sealed and there is no sealer.
        """
        shape = self._shape or self._build()
        if shape.direct and len(args) <= len(shape.positional):
            values = dict(zip(shape.positional, args, strict=False))
            if kwargs:
                values.update(kwargs)
                if len(values) != len(args) + len(kwargs) or not shape.by_name.issuperset(kwargs):
                    self._refuse_call(args, kwargs)
        else:
            values = self._arrange(shape, args, kwargs)
        if shape.sealed:
            return self._dump_sealed(shape, values, args, kwargs, sealer, max_bytes)
        try:
            values = shape.open.validate(values)
        except ValidationError as error:
            self._refuse_values(error, args, kwargs)
        text = self._write(shape.open, values)
        if len(text) > max_bytes:
            self._refuse_size(len(text), max_bytes, shape.open.sizes(values))
        return text.decode()

    def _arrange(
        self, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Arguments by parameter, for functions with ``/``, ``*args`` or ``**kwargs``."""
        values: dict[str, Any] = dict(zip(shape.positional, args, strict=False))
        rest = args[len(shape.positional) :]
        if rest:
            if shape.rest is None:
                self._refuse_call(args, kwargs)
            values[shape.rest] = rest
        extra = {}
        for name, value in kwargs.items():
            if name in shape.by_name:
                if name in values:
                    self._refuse_call(args, kwargs)
                values[name] = value
            elif shape.extra is None or name in self._injected:
                self._refuse_call(args, kwargs)
            else:
                extra[name] = value
        if extra:
            assert shape.extra is not None
            values[shape.extra] = extra
        return values

    def _write(self, codec: Codec, values: dict[str, Any]) -> bytes:
        try:
            text = codec.write(values)
        except NotWritable as refused:
            self._refuse_value(refused.name, refused.value, refused.why, refused)
        # Otherwise whoever reads it would try to open it.
        if b'"$sealed"' in text:
            for name, value in from_json(text).items():
                if is_sealed(value):
                    why = f"an object whose only key is {SEALED!r} stands for a sealed argument"
                    self._refuse_value(name, value, why, None)
        return text

    def _dump_sealed(
        self,
        shape: Shape,
        values: dict[str, Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        sealer: Sealer | None,
        max_bytes: int,
    ) -> str:
        if sealer is None:
            raise BadJob(
                f"{self.name}(): {', '.join(shape.sealed)} must be sealed, and there is no key to "
                f"do it with; set {SETTING}"
            )
        if not values.keys() >= shape.required:
            self._refuse_call(args, kwargs)
        in_the_open = {name: each for name, each in values.items() if name not in shape.sealed}
        try:
            in_the_open = shape.open.validate(in_the_open)
        except ValidationError as error:
            self._refuse_values(error, args, kwargs)
        parts = [self._write(shape.open, in_the_open)[1:-1]] if in_the_open else []
        sizes = {}
        for name, codec in shape.sealed.items():
            if name in values:
                plain = self._write_secret(name, codec, values[name])
                token = sealer.seal(plain, task=self.name, parameter=name)
                parts.append(f'"{name}":{{"{SEALED}":"{token}"}}'.encode())
                sizes[name] = len(parts[-1])
        text = b"{" + b",".join(parts) + b"}"
        if len(text) > max_bytes:
            self._refuse_size(len(text), max_bytes, sizes | shape.open.sizes(in_the_open))
        return text.decode()

    def _write_secret(self, name: str, codec: Codec, value: object) -> bytes:
        try:
            return codec.write_one(value)
        except ValidationError as error:
            why = _kind(error)
        except NotWritable:
            why = "it cannot be written as JSON and come back the same"
        # Not in the except clauses: pydantic's errors show values, and tracebacks show causes.
        raise BadJob(
            f"{self.name}(): argument {name!r} is {MASK} of type {type(value).__qualname__}, which "
            f"does not fit: {why}"
        )

    # ------------------------------------------------------------------ reading

    def load(
        self, text: str, *, sealer: Sealer | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments again, for ``func(*args, **kwargs)``; injected ones are missing.

        Args:
            text: what ``dump`` gave.
            sealer: opens sealed values.

        Raises:
            UnreadableArguments: the text is no such object, does not fit the function as it is
                now, or has a sealed value that cannot be opened.
            BadJob: the function's annotations cannot be used.
        """
        shape = self._shape or self._build()
        try:
            if shape.sealed or '"$sealed"' in text:
                values = self._load_sealed(shape, text, sealer)
            else:
                values = shape.open.read(text)
        except UnreadableArguments:
            raise
        except Exception as error:  # validators in users' types may raise what they like
            raise self._unreadable(error) from error
        if _log.isEnabledFor(logging.DEBUG):
            self._report_unknown(shape, text)
        if shape.direct:
            return (), values
        names = shape.positional if shape.rest and values.get(shape.rest) else shape.first
        args = tuple(values.pop(name) if name in values else shape.defaults[name] for name in names)
        if shape.rest is not None:
            args += tuple(values.pop(shape.rest, ()))
        if shape.extra is not None:
            # What used to be one of them may have become a parameter; then that comes first.
            values = {**values.pop(shape.extra, {}), **values}
        return args, values

    def _load_sealed(self, shape: Shape, text: str, sealer: Sealer | None) -> dict[str, Any]:
        written = from_json(text)
        if not isinstance(written, dict):
            raise ValueError("they are no JSON object")  # noqa: TRY004  # it is text
        missing = shape.required - written.keys()
        if missing:
            raise ValueError(f"argument {min(missing)!r} is missing")
        opened = {
            name: self._open(name, value[SEALED], sealer)
            for name, value in written.items()
            if is_sealed(value)
        }
        if not opened.keys() <= shape.sealed.keys():
            # No longer marked as secret, so it is read as if it had been written in the open.
            written |= {name: from_json(plain) for name, plain in opened.items()}
            text = to_json(written).decode()
        values = shape.open.read(text)
        for name, codec in shape.sealed.items():
            if name in written:
                plain = opened[name] if name in opened else to_json(written[name])
                values[name] = self._read_secret(name, codec, plain)
        return values

    def _open(self, name: str, token: str, sealer: Sealer | None) -> bytes:
        if sealer is None:
            raise UnreadableArguments(
                f"the arguments of {self.name}() cannot be read: {name!r} is sealed, and this "
                f"process has no key; set {SETTING}"
            )
        try:
            return sealer.unseal(token, tasks=self._names, parameter=name)
        except Unsealable as error:
            raise UnreadableArguments(
                f"the arguments of {self.name}() cannot be read: {error}"
            ) from error

    def _read_secret(self, name: str, codec: Codec, plain: bytes) -> Any:
        try:
            return codec.read_one(plain)
        except ValidationError as error:
            why = _kind(error)
        except Exception as error:
            why = type(error).__qualname__
        raise UnreadableArguments(  # outside the clauses, as when writing
            f"the arguments of {self.name}() cannot be read: argument {name!r} is {MASK} and does "
            f"not fit its type: {why}"
        )

    def _unreadable(self, error: Exception) -> UnreadableArguments:
        why = str(error)
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            place = f"argument {first['loc'][0]!r}: " if first["loc"] else ""
            shown = first["type"] not in ("missing", "json_invalid")
            why = place + describe_first(error, with_input=shown)
        return UnreadableArguments(
            f"the arguments of {self.name}() cannot be read: {why}. The code has changed since "
            "they were written, or the row was; let new parameters have defaults, and old types "
            "be readable, until such jobs are gone"
        )

    def _report_unknown(self, shape: Shape, text: str) -> None:
        known = {*shape.positional, *shape.by_name, shape.rest, shape.extra}
        unknown = [name for name in from_json(text) if name not in known]
        if unknown:
            _log.debug(
                "%s() has no parameter %s any more; left out of a job's arguments",
                self.name,
                ", ".join(map(repr, unknown)),
            )

    # ------------------------------------------------------------------ refusing

    def _refuse_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> NoReturn:
        given = self._injected.intersection(kwargs)
        if given:
            raise TypeError(
                f"{self.name}() cannot be given {min(given)!r}: it is filled in when the job runs"
            )
        plain = Signature(self._func).plain
        own = plain.replace(
            parameters=[
                each for name, each in plain.parameters.items() if name not in self._injected
            ],
            return_annotation=inspect.Signature.empty,
        )
        why = "cannot be called with these arguments"
        try:
            own.bind(*args, **kwargs)
        except TypeError as error:
            why = str(error)
        raise TypeError(f"{self.name}() {why}; it takes {own}")

    def _refuse_values(
        self, error: ValidationError, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> NoReturn:
        first = error.errors(include_url=False)[0]
        if first["type"] == "missing" and len(first["loc"]) == 1:
            self._refuse_call(args, kwargs)
        raise BadJob(
            f"{self.name}(): argument {first['loc'][0]!r} does not fit its type: "
            f"{describe_first(error)}{_remedy(first['input'])}"
        ) from error

    def _refuse_value(
        self, name: str, value: object, why: str, error: Exception | None
    ) -> NoReturn:
        remedy = _remedy(value) or "; annotate the parameter with its type, or convert the value"
        raise BadJob(
            f"{self.name}(): argument {name!r} is {shorten(value)} of type "
            f"{type(value).__qualname__}, which cannot travel to the job as JSON: {why}{remedy}"
        ) from error

    def _refuse_size(self, size: int, limit: int, sizes: Mapping[str, int]) -> NoReturn:
        largest = max(sizes, key=sizes.__getitem__)
        raise BadJob(
            f"{self.name}(): the arguments take {size:,} bytes, and {limit:,} are allowed; the "
            f"largest is {largest!r} with {sizes[largest]:,}. Store it elsewhere and pass where "
            "it is, or raise the limit"
        )


class Result:
    """Turns what one task returns into text and back, by its return annotation.

    Without an annotation, or with one that cannot be resolved (imported for type checkers only),
    it has to be what JSON has. ``None`` is no result and travels as no text, whatever the
    annotation says.

    Args:
        func: the function.
        name: the task's name, for messages.
        strip: classes that a return annotation may name and that are no results, such as
            ``Snooze``.
    """

    def __init__(
        self, func: Callable[..., object], name: str, *, strip: tuple[type, ...] = ()
    ) -> None:
        self.name = name
        self._func = func
        self._strip = strip
        self._lock = threading.Lock()
        self._codec: Codec | None = None

    def prepare(self) -> None:
        """Look at the annotation now.

        Raises:
            BadJob: it is a type that cannot be JSON.
        """
        self._build()

    def dump(self, value: object) -> str | None:
        """The JSON text of a result, ``None`` for ``None``.

        Raises:
            BadJob: it does not fit the annotation, or cannot be JSON.
        """
        if value is None:
            return None
        codec = self._codec or self._build()
        try:
            return codec.write_one(value).decode()
        except (ValidationError, NotWritable) as error:
            why = describe_first(error) if isinstance(error, ValidationError) else error.why
            raise BadJob(
                f"{self.name}() returned {shorten(value)} of type {type(value).__qualname__}, "
                f"which cannot be kept as its result: {why}; return what the annotation says, "
                "annotate what is returned, or return None"
            ) from error

    def load(self, text: str | None) -> Any:
        """The result again.

        Raises:
            UnreadableResult: the text does not fit the annotation as it is now.
            BadJob: the annotation cannot be used.
        """
        if text is None:
            return None
        codec = self._codec or self._build()
        try:
            return codec.read_one(text.encode())
        except Exception as error:
            why = describe_first(error) if isinstance(error, ValidationError) else str(error)
            raise UnreadableResult(f"the result of {self.name}() cannot be read: {why}") from error

    def _build(self) -> Codec:
        with self._lock:
            if self._codec is None:
                self._codec = self._make()
            return self._codec

    def _make(self) -> Codec:
        try:
            annotation = Signature(self._func).returns()
        except Exception:
            annotation = Any
        annotation = _without(annotation, self._strip)
        if mentions_secret(annotation):
            raise BadJob(
                f"{self.name}() returns something marked Secret, and results are kept in the "
                "open; keep it where only those can read it who may"
            )
        try:
            return Codec({VALUE: Slot(annotation, True)})
        except Exception as error:
            raise BadJob(
                f"{self.name}() returns {name_of_type(annotation)}, which cannot be kept as its "
                f"result: {why_no_codec(error)}; return an id, a model or None"
            ) from error


def _without(annotation: Any, strip: tuple[type, ...]) -> Any:
    """A return annotation without the outcomes it may name."""

    def is_outcome(one: Any) -> bool:
        return isinstance(one, type) and issubclass(one, strip)

    if is_union(annotation):
        left = tuple(each for each in typing.get_args(annotation) if not is_outcome(each))
        return typing.Union[left] if left else type(None)  # noqa: UP007  # made at run time
    return type(None) if is_outcome(annotation) else annotation


def _kind(error: ValidationError) -> str:
    """What is wrong with a secret, without showing any of it."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = "".join(f"[{step!r}]" for step in first["loc"][1:] if isinstance(step, int))
    return f"{first['type']}{' at ' + place if place else ''}"


def _remedy(value: object) -> str:
    data = (str, bytes, int, float, list, tuple, dict, set, frozenset, type(None), BaseModel)
    return "" if isinstance(value, data) else "; pass its id and let the job find or open it"
