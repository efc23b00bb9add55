"""Pictures, sound and documents as MCP writes them."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.widgets import Audio, Embedded, Image, Link, Message, Result, Text
from backstay.widgets.content import Part, document, parts_of


@pytest.mark.parametrize(
    ("part", "wire"),
    [
        (Text("hi"), {"type": "text", "text": "hi"}),
        (Image(b"\x89P"), {"type": "image", "data": "iVA=", "mimeType": "image/png"}),
        (Audio(b"RI", "audio/ogg"), {"type": "audio", "data": "Ukk=", "mimeType": "audio/ogg"}),
        (
            Embedded("shop://terms", "be kind"),
            {
                "type": "resource",
                "resource": {"uri": "shop://terms", "mimeType": "text/plain", "text": "be kind"},
            },
        ),
        (
            Embedded("shop://logo", b"\x00", "image/x-icon"),
            {
                "type": "resource",
                "resource": {"uri": "shop://logo", "mimeType": "image/x-icon", "blob": "AA=="},
            },
        ),
        (
            Link("shop://terms", "terms"),
            {"type": "resource_link", "uri": "shop://terms", "name": "terms"},
        ),
        (
            Link("shop://terms", "terms", title="Terms", mime_type="text/html"),
            {
                "type": "resource_link",
                "uri": "shop://terms",
                "name": "terms",
                "title": "Terms",
                "mimeType": "text/html",
            },
        ),
    ],
    ids=lambda each: type(each).__name__,
)
def test_each_part_is_written_as_the_protocol_has_it(part: Part, wire: dict[str, Any]) -> None:
    assert part.wire() == wire


def test_a_message_is_by_the_user_unless_said_otherwise() -> None:
    assert Message("hi").wire() == {"role": "user", "content": {"type": "text", "text": "hi"}}
    assert Message(Text("hi"), "assistant").wire()["role"] == "assistant"


def test_bytes_without_a_type_are_just_bytes() -> None:
    assert document("a:b", b"x", None)["mimeType"] == "application/octet-stream"


@pytest.mark.parametrize("value", ["text", {"a": 1}, [], [Text("a"), "b"], None, Result(), 7])
def test_what_is_not_all_parts_is_none(value: object) -> None:
    assert parts_of(value) is None


def test_one_part_or_a_list_of_them_are_parts() -> None:
    assert parts_of(Text("a")) == [Text("a")]
    assert parts_of((Text("a"), Image(b""))) == [Text("a"), Image(b"")]
