"""What a tool can answer beside plain data: text, pictures, sound, documents."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "Audio",
    "Embedded",
    "Image",
    "Link",
    "Message",
    "Part",
    "Result",
    "Text",
    "document",
    "parts_of",
]


@dataclass(frozen=True, slots=True)
class Text:
    """Text for the model."""

    text: str

    def wire(self) -> dict[str, Any]:
        """As MCP writes it."""
        return {"type": "text", "text": self.text}


@dataclass(frozen=True, slots=True)
class Image:
    """A picture.

    Attributes:
        data: the file's bytes.
        mime_type: such as ``image/png``.
    """

    data: bytes
    mime_type: str = "image/png"

    def wire(self) -> dict[str, Any]:
        """As MCP writes it."""
        return {"type": "image", "data": _base64(self.data), "mimeType": self.mime_type}


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound.

    Attributes:
        data: the file's bytes.
        mime_type: such as ``audio/wav``.
    """

    data: bytes
    mime_type: str = "audio/wav"

    def wire(self) -> dict[str, Any]:
        """As MCP writes it."""
        return {"type": "audio", "data": _base64(self.data), "mimeType": self.mime_type}


@dataclass(frozen=True, slots=True)
class Embedded:
    """A document that comes along.

    Attributes:
        uri: its name.
        content: text, or bytes for anything else.
        mime_type: ``None``: ``text/plain`` or ``application/octet-stream``.
    """

    uri: str
    content: str | bytes
    mime_type: str | None = None

    def wire(self) -> dict[str, Any]:
        """As MCP writes it."""
        return {"type": "resource", "resource": document(self.uri, self.content, self.mime_type)}


@dataclass(frozen=True, slots=True)
class Link:
    """A document that can be read from this server.

    Attributes:
        uri: its name, as ``resources/read`` takes it.
        name: for programs.
        title: for people, ``None`` for the name.
        mime_type: ``None`` if unknown.
    """

    uri: str
    name: str
    title: str | None = None
    mime_type: str | None = None

    def wire(self) -> dict[str, Any]:
        """As MCP writes it."""
        found: dict[str, Any] = {"type": "resource_link", "uri": self.uri, "name": self.name}
        if self.title is not None:
            found["title"] = self.title
        if self.mime_type is not None:
            found["mimeType"] = self.mime_type
        return found


Part = Text | Image | Audio | Embedded | Link
"""One piece of what a tool or a prompt says."""


@dataclass(frozen=True, slots=True)
class Message:
    """A line of a prompt.

    Attributes:
        content: text, or one of the other parts.
        role: who says it.
    """

    content: str | Part
    role: Literal["user", "assistant"] = "user"

    def wire(self) -> dict[str, Any]:
        """As MCP writes it."""
        part = Text(self.content) if isinstance(self.content, str) else self.content
        return {"role": self.role, "content": part.wire()}


@dataclass(frozen=True, slots=True)
class Result:
    """An answer that says more than its data.

    Attributes:
        data: what the face gets as its props and the model as ``structuredContent``. ``None``
            for nothing.
        text: what the model reads. ``None``: the data as JSON.
        parts: pictures and the like, after the text.
        meta: for the face alone (``backstay.meta``): the model does not see it.
        is_error: whether this says that it did not work.
    """

    data: Any = None
    text: str | None = None
    parts: Sequence[Part] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    is_error: bool = False


def parts_of(value: Any) -> list[Part] | None:
    """``value`` as parts, if it is one or a list of them; ``None`` if it is something else."""
    if isinstance(value, Part):
        return [value]
    if isinstance(value, list | tuple) and value and all(isinstance(x, Part) for x in value):
        return list(value)
    return None


def document(uri: str, content: str | bytes, mime_type: str | None) -> dict[str, Any]:
    """The contents of a resource, as MCP writes them."""
    if isinstance(content, str):
        return {"uri": uri, "mimeType": mime_type or "text/plain", "text": content}
    return {
        "uri": uri,
        "mimeType": mime_type or "application/octet-stream",
        "blob": _base64(content),
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
