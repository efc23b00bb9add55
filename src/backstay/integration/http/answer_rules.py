"""What an endpoint may answer, read from its return annotation, and answers read by it."""

from __future__ import annotations

import json
import re
import types
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import PydanticCustomError

from backstay.errors import BadAnswer, BadIntegration, UpstreamError
from backstay.integration.http.shown_body import shown_body
from backstay.integration.http.upstream_errors import BUSY, upstream_error

__all__ = ["AnswerRules", "is_response"]

_BY_STATUS: Final = re.compile(r"http([1-5][0-9]{2}|[45]xx)", re.IGNORECASE)
_MOST_FIELDS: Final = 20
_MOST_FAULTS: Final = 1000
_LONGEST_PLACE: Final = 200
_TOLD: Final = 100
"""Characters of a body that a message has."""
_STREAMS: Final = (AsyncIterator, AsyncIterable, AsyncGenerator)


def is_response(value: object) -> bool:
    """Whether that is a client's response, of httpx's kind."""
    if isinstance(value, BaseModel):  # one that tells of somebody else's answer
        return False
    # Asked of the class, for one whose body is not read yet raises where it is asked for it.
    return isinstance(getattr(value, "status_code", None), int) and all(
        hasattr(type(value), name) or name in getattr(value, "__dict__", ())
        for name in ("headers", "content")
    )


class AnswerRules:
    """What one endpoint may answer.

    ``A | B | SchemaError.http404`` has a success side, ``A | B``, and an error: what stands in the
    declaration's ``SchemaError`` is an error, everything else is not. The status alone decides by
    which side an answer is read.

    Args:
        label: what the endpoint is called in messages.
        annotation: what its method returns, resolved.
        schema_error: the declaration's ``SchemaError``, or ``None``.
        handled: statuses of 400 or more that the method turns into a result of the success side.
        raise_errors: raise ``UpstreamError`` instead of returning error models.

    Attributes:
        success: the annotation's success side; of one that yields, of a single item.
        errors: the models of ``SchemaError``, by their names (``"http404"``, ``"http5xx"``).
        returned: those that the annotation names; others can only be raised.

    Raises:
        BadIntegration: pydantic cannot read answers into that.
    """

    def __init__(
        self,
        label: str,
        annotation: Any,
        schema_error: type | None,
        *,
        handled: frozenset[int] = frozenset(),
        raise_errors: bool = False,
    ) -> None:
        self.label = label
        self._handled = handled
        self._raise_errors = raise_errors
        self.errors: Mapping[str, type[BaseModel]] = _models_of(schema_error)
        if get_origin(annotation) in _STREAMS:
            annotation = get_args(annotation)[0]
        sides = _sides(annotation)
        models = set(self.errors.values())
        self.returned = frozenset(each for each in sides if _is_in(each, models))
        good = [each for each in sides if not _is_in(each, models)]
        if not good:
            raise BadIntegration(
                f"{label} returns errors alone; say what it answers if all goes well, or None"
            )
        self.success: Any = good[0] if len(good) == 1 else Union[tuple(good)]  # noqa: UP007 -- made at run time
        self._by_status = {
            match[1].lower(): model
            for name, model in self.errors.items()
            if (match := _BY_STATUS.fullmatch(name)) is not None
        }
        self._others = [
            model
            for name, model in self.errors.items()
            if _BY_STATUS.fullmatch(name) is None and model in self.returned
        ]
        self._raw = isinstance(self.success, type) and hasattr(self.success, "raise_for_status")
        self._adapter: TypeAdapter[Any] | None = None
        if not self._raw and self.success is not Any:
            success: Any = self.success
            try:
                self._adapter = TypeAdapter(success)
            except PydanticSchemaGenerationError:
                try:
                    # A class of the user's own: its instances are passed on.
                    self._adapter = TypeAdapter(
                        success, config=ConfigDict(arbitrary_types_allowed=True)
                    )
                except PydanticSchemaGenerationError as error:
                    raise BadIntegration(
                        f"{label}: nothing can be read as {self.success!r}"
                    ) from error

    def error_model(self, status: int) -> type[BaseModel] | None:
        """The model of bodies that come with a status; ``None`` if none is declared for it."""
        for each in (str(status), f"{status // 100}xx"):
            if (found := self._by_status.get(each)) is not None:
                return found
        return self._others[0] if self._others else None

    def is_error(self, status: int | None) -> bool:
        """Whether that status is no success, and none that the method deals with itself."""
        return status is not None and status >= 300 and status not in self._handled

    def read(self, result: Any, answer: Any = None, status: int | None = None) -> Any:
        """What the endpoint's caller gets.

        Args:
            result: what the method returned.
            answer: the last response that came, ``None`` if that is unknown.
            status: its status.

        Raises:
            BadAnswer: it is not what the annotation says.
            UpstreamError: an error that the annotation does not name.
        """
        is_answer = is_response(result)
        if is_answer:
            answer, status = result, result.status_code
            if self._raw:
                return result
        if isinstance(result, tuple(self.returned)):
            return self._error(result, status or 0, answer)
        if status is not None and self.is_error(status):
            return self._read_error(result, answer, status)
        if is_answer:
            return self._read_response(result)
        if status is None and self.returned:
            return self._read_either(result)
        return self._validated(result, status)

    def _read_response(self, answer: Any) -> Any:
        if self.success is bytes:
            return answer.content
        if self.success is str:
            return answer.text
        body = answer.content
        status = answer.status_code
        if not body:
            return self._validated(None, status)
        if self._adapter is None and "json" not in answer.headers.get("content-type", "json"):
            return answer.text
        if self._adapter is None:
            return _parsed(body, self.label, status)
        try:
            return self._adapter.validate_json(body)
        except ValidationError as error:
            faults = error
        raise self._bad(faults, status, "what it declares")

    def _read_either(self, result: Any) -> Any:
        """Nobody knows the status, as where a test stands in: what fits the success side is one."""
        try:
            return self._validated(result, None)
        except BadAnswer:
            for model in self.errors.values():
                if model in self.returned:
                    try:
                        return self._error(model.model_validate(result), 0, None)
                    except ValidationError:
                        continue
            raise

    def _validated(self, data: Any, status: int | None) -> Any:
        if self._adapter is None:
            return data
        try:
            return self._adapter.validate_python(data)
        except ValidationError as error:
            faults = error
        raise self._bad(faults, status, "what it declares")

    def _read_error(self, result: Any, answer: Any, status: int) -> Any:
        if status < 400:
            raise self._elsewhere(status)
        model = self.error_model(status)
        if model is None or model not in self.returned:
            raise self.refusal(status, answer)
        body = _body_of(answer)
        try:
            found = (
                model.model_validate(result)
                if body is None
                else model.model_validate_json(body or b"null")
            )
        except ValidationError as error:
            faults = error
        else:
            return self._error(found, status, answer)
        if status in BUSY:  # that it is busy is all there is to know
            raise self._upstream(status, answer)
        raise self._bad(faults, status, f"its {model.__name__}")

    def _error(self, found: Any, status: int, answer: Any) -> Any:
        if self._raise_errors or type(found) not in self.returned:
            raise self._upstream(status, answer, found)
        return found

    def _upstream(self, status: int, answer: Any, error: Any = None) -> UpstreamError:
        body = shown_body(answer)
        what = f"answered {status}" if status else f"answered with {type(error).__name__}"
        if error is None:
            model = self.error_model(status)
            why = (
                ", for which no SchemaError is declared"
                if model is None
                else f" with what is not its {model.__name__}"
            )
            what = f"{what}{why}: {body[:_TOLD]!r}"
        return upstream_error(
            f"{self.label} {what}",
            endpoint=self.label,
            answered=status,
            headers=getattr(answer, "headers", None),
            error=error,
            body=body,
        )

    def refusal(self, status: int, answer: Any) -> UpstreamError | BadAnswer:
        """The error for an answer that cannot be returned, with its body as a model if it fits one."""
        if status < 400:
            return self._elsewhere(status)
        model = self.error_model(status)
        found = None
        if model is not None:
            try:
                found = model.model_validate_json(_body_of(answer) or b"null")
            except ValidationError:
                found = None
        return self._upstream(status, answer, found)

    def _elsewhere(self, status: int) -> BadAnswer:
        return BadAnswer(
            f"{self.label} answered {status}, which leads elsewhere; follow_redirects=True follows, "
            f"and handled=[{status}] leaves it to the method",
            endpoint=self.label,
            answered=status,
        )

    def unreadable(self, error: BaseException | None, status: int | None) -> BadAnswer:
        """The error for an answer that the method itself could not read."""
        return BadAnswer(
            f"{self.label} {_answered(status)}what is no JSON: {_first_line(error)}",
            endpoint=self.label,
            answered=status,
        )

    def _bad(self, error: ValidationError, status: int | None, what: str) -> BadAnswer:
        # Not the values found: what is secret in an answer would stand in logs. They are in the text of
        # pydantic's own error, which is why that is neither the cause nor the context of this one.
        if error.error_count() > _MOST_FAULTS:  # telling a million of them takes seconds
            return BadAnswer(
                f"{self.label} {_answered(status)}what is not {what} in {error.error_count()} places",
                endpoint=self.label,
                answered=status,
            )
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        fields = tuple(dict.fromkeys(_place(each["loc"]) for each in faults))
        told = "; ".join(
            f"{_place(each['loc']) or 'the body'}: {each['msg']}" for each in faults[:_MOST_FIELDS]
        )
        bad = BadAnswer(
            f"{self.label} {_answered(status)}what is not {what}: {told}",
            endpoint=self.label,
            answered=status,
            fields=fields,
        )
        bad.__cause__ = _without_values(error)
        return bad


def _without_values(error: ValidationError) -> ValidationError:
    return ValidationError.from_exception_data(
        error.title,
        [
            {
                "type": PydanticCustomError(each["type"], "{told}", {"told": each["msg"]}),
                "loc": each["loc"],
                "input": None,
            }
            for each in error.errors(include_input=False, include_url=False, include_context=False)
        ],
        hide_input=True,
    )


def _place(loc: tuple[int | str, ...]) -> str:
    """In one line, for the other side chose the keys."""
    text = ".".join(str(each)[:_LONGEST_PLACE] for each in loc)[:_LONGEST_PLACE]
    return text if text.isprintable() else ascii(text)[1:-1]


def _answered(status: int | None) -> str:
    return "gave " if status is None else f"answered {status} with "


def _first_line(error: BaseException | None) -> str:
    return str(error).splitlines()[0][:100] if str(error) else type(error).__name__


def _parsed(body: bytes, label: str, status: int) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(
            f"{label} answered {status} with what is no JSON: {_first_line(error)}",
            endpoint=label,
            answered=status,
        ) from error


def _body_of(answer: Any) -> bytes | None:
    """``None`` where there is no answer, or none whose body was read."""
    try:
        body: bytes | None = answer.content
    except (AttributeError, RuntimeError):  # httpx: ResponseNotRead
        return None
    return body


def _models_of(schema_error: type | None) -> dict[str, type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    for base in reversed(schema_error.__mro__ if schema_error is not None else ()):
        found |= {
            name: each
            for name, each in vars(base).items()
            if isinstance(each, type) and issubclass(each, BaseModel)
        }
    return found


def _sides(annotation: Any) -> list[Any]:
    """A union's members, however deep; one that is none alone."""
    if get_origin(annotation) in {Union, types.UnionType}:
        return [side for each in get_args(annotation) for side in _sides(each)]
    if isinstance(annotation, types.NoneType):
        return [None]
    return [annotation]


def _is_in(each: Any, models: set[type[BaseModel]]) -> bool:
    try:
        return each in models
    except TypeError:  # what cannot be hashed is no class
        return False
