"""Resources, prompts and completion: what a server offers beside tools."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from pydantic_core import to_json

from backstay.calls import name_of
from backstay.errors import BadWidget, ValidationError
from backstay.widgets.content import Embedded, Message, Part, document

__all__ = ["Completer", "Prompt", "Resource", "Template"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A document that clients may read.

    Attributes:
        uri: its address.
        read: gives text, bytes, or anything that is JSON.
        described: how ``resources/list`` tells it.
        mime_type: ``None`` for what fits the content.
    """

    uri: str
    read: Callable[..., Any]
    described: Mapping[str, Any]
    mime_type: str | None = None

    def contents(self, uri: str, value: Any) -> dict[str, Any]:
        """What was read, as MCP writes it."""
        return _contents(uri, value, self.mime_type, self.described.get("_meta"))


_VARIABLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Template:
    """Documents whose address has variables: ``orders://{order_id}/lines`` (RFC 6570, level 1).

    A variable is one segment of the path and comes percent-decoded: ``%2F`` makes a slash in it,
    so it is no safe name of a file.

    Args:
        template: the address.
        read: takes the variables by name.
        described: how ``resources/templates/list`` tells it.
        mime_type: ``None`` for what fits the content.

    Raises:
        BadWidget: its variables are not the function's parameters.
    """

    def __init__(
        self,
        template: str,
        read: Callable[..., Any],
        described: Mapping[str, Any],
        mime_type: str | None,
        context: str | None,
    ) -> None:
        self.template = template
        self.read = read
        self.described = described
        self.mime_type = mime_type
        self.variables = _VARIABLE.findall(template)
        takes = [each for each in inspect.signature(read).parameters if each != context]
        if sorted(takes) != sorted(self.variables):
            raise BadWidget(
                f"the resource {template!r} has the variables {self.variables}, and "
                f"{name_of(read)} takes {takes}; they have to be the same"
            )
        pattern = ""
        for index, piece in enumerate(_VARIABLE.split(template)):
            pattern += f"(?P<{piece}>[^/?#]+)" if index % 2 else re.escape(piece)
        self._pattern = re.compile(pattern)

    def match(self, uri: str) -> dict[str, str] | None:
        """The variables of an address, ``None`` if it is none of these."""
        found = self._pattern.fullmatch(uri)
        if found is None:
            return None
        return {name: unquote(value) for name, value in found.groupdict().items()}

    def contents(self, uri: str, value: Any) -> dict[str, Any]:
        """What was read, as MCP writes it."""
        return _contents(uri, value, self.mime_type, self.described.get("_meta"))


def _contents(
    uri: str, value: Any, mime_type: str | None, meta: Mapping[str, Any] | None
) -> dict[str, Any]:
    if isinstance(value, Embedded):
        found = document(value.uri, value.content, value.mime_type or mime_type)
    elif isinstance(value, str | bytes):
        found = document(uri, value, mime_type)
    else:
        text = to_json(value, inf_nan_mode="null").decode()
        found = document(uri, text, mime_type or "application/json")
    if meta:
        found["_meta"] = dict(meta)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt that a person may choose in the client.

    Attributes:
        name: for programs.
        write: takes the arguments by name, gives text, a part, a ``Message`` or a list of these.
        described: how ``prompts/list`` tells it.
        arguments: names, and whether each is required.
    """

    name: str
    write: Callable[..., Any]
    described: Mapping[str, Any]
    arguments: Mapping[str, bool] = field(default_factory=dict)

    def check(self, given: Mapping[str, str]) -> dict[str, str]:
        """The arguments, if they will do.

        Raises:
            ValidationError: one is missing or unknown.
        """
        missing = [name for name, needed in self.arguments.items() if needed and name not in given]
        unknown = [name for name in given if name not in self.arguments]
        if missing or unknown:
            wrong = missing or unknown
            what = "needs" if missing else "does not know"
            raise ValidationError(
                f"the prompt {self.name!r} {what} {', '.join(map(repr, wrong))}; it takes "
                f"{', '.join(self.arguments) or 'nothing'}",
                field=wrong[0],
            )
        return dict(given)

    def result(self, value: Any) -> dict[str, Any]:
        """A ``GetPromptResult`` of what was written."""
        lines: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
        messages = []
        for line in lines:
            if isinstance(line, str | Part):
                messages.append(Message(line).wire())
            elif isinstance(line, Message):
                messages.append(line.wire())
            else:
                raise TypeError(
                    f"the prompt {self.name!r} gave {line!r}; it gives text, Image, Audio, "
                    "Embedded, Message, or a list of these"
                )
        found: dict[str, Any] = {"messages": messages}
        if description := self.described.get("description"):
            found["description"] = description
        return found


Completer = Callable[..., Sequence[str] | Awaitable[Sequence[str]]]
"""``complete(value)`` or ``complete(value, arguments)``: what the argument could be."""
