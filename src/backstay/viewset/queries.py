"""What the query string of a list may say, read in one pass.

FastAPI's own ``Query()`` parameters cost a request 10 to 15 µs each, whether they are sent or
not, and a list with filters has dozens. So a list's query string is read here, and what it may
say is told to OpenAPI by ``ListQuery.openapi()``, which goes into a route's ``openapi_extra``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from backstay.errors import BadViewSet

__all__ = ["ListQuery", "MAX_FILTERS", "QueryParameter", "refused", "split_list"]

MAX_FILTERS = 20
"""How many filters one request may use."""

_MAX_PARTS = 2000
_QUOTED = re.compile(r'"((?:[^"]|"")*)"(?=,|$)')
_ABSENT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryParameter:
    """One thing that a query string may say.

    Attributes:
        name: as it is written in a query string.
        type: for pydantic, of one value; values arrive as text.
        description: for people.
        default: the value when it is not sent. Left out: then there is no value.
        at_most: how many values it takes. ``None``: one. Several come separated by commas, in
            repetitions, or both; their value is a list.
        examples: for people, of one value. Those that the type does not accept are left out.
        is_filter: whether it counts as a filter.
        same_as: the name it stands for, if it is another spelling of a parameter, which OpenAPI
            is not told of.
    """

    name: str
    type: Any
    description: str = ""
    default: Any = field(default=_ABSENT)
    at_most: int | None = None
    examples: tuple[Any, ...] = ()
    is_filter: bool = False
    same_as: str | None = None
    adapter: TypeAdapter[Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "adapter", TypeAdapter(self.type))

    @property
    def has_default(self) -> bool:
        """Whether there is a value without it being sent."""
        return self.default is not _ABSENT

    def openapi(self) -> dict[str, Any]:
        """As a Parameter Object (OpenAPI 3.1 §4.8.12)."""
        value = _inlined(self.adapter.json_schema(mode="validation"))
        if examples := list(self._examples()):
            value["examples"] = examples
        if self.has_default:
            value["default"] = self.default
        parameter: dict[str, Any] = {"name": self.name, "in": "query", "required": False}
        if self.description:
            parameter["description"] = self.description
        if self.at_most is None:
            parameter["schema"] = value
        else:
            parameter["schema"] = {"type": "array", "items": value, "maxItems": self.at_most}
            parameter |= {"style": "form", "explode": False}
        return parameter

    def _examples(self) -> Iterator[Any]:
        for each in self.examples:
            try:
                yield self.adapter.dump_python(self.adapter.validate_python(each), mode="json")
            except ValidationError:
                continue


class ListQuery:
    """Reads query strings.

    Args:
        parameters: what they may say.
        refuse: names that have a meaning which this list does not offer, such as fields that
            are not filters. Like every name with ``__`` in it they are refused, since ignoring a
            filter would answer with what was not asked for. Others are ignored.
        also: names that somebody else reads, such as a dependency.

    Raises:
        BadViewSet: two parameters have one name.
    """

    def __init__(
        self,
        parameters: Iterable[QueryParameter],
        *,
        refuse: Collection[str] = (),
        also: Collection[str] = (),
    ) -> None:
        self._parameters: dict[str, QueryParameter] = {}
        for each in parameters:
            if each.name in self._parameters:
                raise BadViewSet(
                    f"two query parameters of one list are called {each.name!r}; list the field "
                    "under an alias"
                )
            self._parameters[each.name] = each
        self._refused = frozenset(refuse) - self._parameters.keys()
        self._also = frozenset(also)
        self._defaults = {
            each.name: each.default for each in self._parameters.values() if each.has_default
        }

    @property
    def names(self) -> tuple[str, ...]:
        """What is documented."""
        return tuple(each.name for each in self._documented())

    def openapi(self) -> list[dict[str, Any]]:
        """For ``openapi_extra={"parameters": ...}``."""
        return [each.openapi() for each in self._documented()]

    def read(self, query_string: bytes) -> dict[str, Any]:
        """The values that a query string gives, and defaults of those that it does not.

        Args:
            query_string: as in an ASGI scope.

        Returns:
            Values by name. What has no default and was not sent is not in it.

        Raises:
            RequestValidationError: something in it cannot be; all such things are listed.
        """
        values = dict(self._defaults)
        if not query_string:
            return values
        sent, errors = self._sent(query_string)
        filters = 0
        for parameter, texts in sent.values():
            filters += parameter.is_filter
            try:
                values[parameter.same_as or parameter.name] = _read(parameter, texts)
            except RequestValidationError as error:
                errors.extend(error.errors())
        if filters > MAX_FILTERS:
            errors.extend(
                refused(
                    None, "too_many_filters", f"Use {MAX_FILTERS} filters at most; got {filters}."
                ).errors()
            )
        if errors:
            raise RequestValidationError(errors)
        return values

    def _sent(
        self, query_string: bytes
    ) -> tuple[dict[str, tuple[QueryParameter, list[str]]], list[Any]]:
        """What was sent by the names that values have, and what is wrong with names."""
        try:
            parts = parse_qsl(
                query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_PARTS
            )
        except ValueError:
            raise refused(
                None, "too_many_parts", f"A query string has {_MAX_PARTS} parts at most."
            ) from None
        sent: dict[str, tuple[QueryParameter, list[str]]] = {}
        errors: list[Any] = []
        for name, text in parts:
            parameter = self._parameters.get(name)
            if parameter is not None:
                key = parameter.same_as or name
                sent.setdefault(key, (parameter, []))[1].append(text)
            elif self._looks_meant(name):
                errors.extend(self._unknown(name).errors())
        return sent, errors

    def _looks_meant(self, name: str) -> bool:
        if name in self._also:
            return False
        return "__" in name or name in self._refused or name.partition(".")[0] in self._refused

    def _unknown(self, name: str) -> RequestValidationError:
        known = ", ".join(self.names) or "nothing"
        return refused(name, "unknown_filter", f"This list knows no such filter. It knows: {known}")

    def _documented(self) -> list[QueryParameter]:
        return [each for each in self._parameters.values() if each.same_as is None]


def refused(
    name: str | None, error_type: str, message: str, *, input_value: Any = None
) -> RequestValidationError:
    """One thing that is wrong with a query string, in FastAPI's form.

    Args:
        name: the parameter; ``None`` for all of it.
        error_type: for programs.
        message: for people.
        input_value: what was sent.
    """
    location = ("query",) if name is None else ("query", name)
    return RequestValidationError(
        [{"type": error_type, "loc": location, "msg": message, "input": input_value}]
    )


def split_list(text: str) -> list[str]:
    """The values of a list that is written with commas.

    A value that has a comma itself is put in double quotes, and a double quote in such a value
    is doubled (as in RFC 4180): ``"Smith, John",Doe``. Quotes elsewhere mean themselves.
    """
    if '"' not in text:
        return text.split(",")
    values = []
    position = 0
    while True:
        if quoted := _QUOTED.match(text, position):
            values.append(quoted[1].replace('""', '"'))
            position = quoted.end()
        else:
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            values.append(text[position:end])
            position = end
        if position >= len(text):
            return values
        position += 1  # the comma


def _read(parameter: QueryParameter, texts: list[str]) -> Any:
    name = parameter.name
    if parameter.at_most is None:
        if len(texts) > 1:
            raise refused(name, "sent_twice", f"Send {name} once; it came {len(texts)} times.")
        return _validated(parameter, texts[0], ())
    values = [each for text in texts for each in split_list(text)]
    if len(values) > parameter.at_most:
        raise refused(
            name,
            "too_long",
            f"{name} takes {parameter.at_most} values at most; got {len(values)}.",
        )
    return [_validated(parameter, value, (index,)) for index, value in enumerate(values)]


def _validated(parameter: QueryParameter, text: str, where: tuple[int, ...]) -> Any:
    try:
        return parameter.adapter.validate_strings(text)
    except ValidationError as error:
        raise RequestValidationError(
            [
                {**each, "loc": ("query", parameter.name, *where)}
                for each in error.errors(include_url=False)
            ]
        ) from None


def _inlined(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema without ``$defs``, which a parameter has no place for."""
    definitions = schema.get("$defs", {})

    def inline(part: Any) -> Any:
        if isinstance(part, list):
            return [inline(each) for each in part]
        if not isinstance(part, Mapping):
            return part
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            rest = {key: inline(value) for key, value in part.items() if key != "$ref"}
            return {**inline(definitions[name]), **rest}
        return {key: inline(value) for key, value in part.items() if key != "$defs"}

    inlined: dict[str, Any] = inline(schema)
    return inlined
