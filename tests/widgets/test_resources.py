"""Documents, prompts and what completes their arguments."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.errors import BadWidget, ValidationError
from backstay.widgets import Embedded, Image, Message, Text
from backstay.widgets.resources import Prompt, Resource, Template


def of(uri: str, **more: Any) -> Template:
    def read(order: str, line: str) -> None: ...

    return Template(uri, read, {}, more.get("mime_type"), more.get("context"))


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("orders://7/lines/2", {"order": "7", "line": "2"}),
        ("orders://%C3%A4%20b/lines/x.y", {"order": "ä b", "line": "x.y"}),
        ("orders://a%2Fb/lines/2", {"order": "a/b", "line": "2"}),
        ("orders://7/lines/", None),
        ("orders://7/8/lines/2", None),
        ("orders://7/lines/2?x=1", None),
        ("orders://7/lines/2/more", None),
        ("xorders://7/lines/2", None),
        ("orders://7/linesX2", None),
    ],
)
def test_a_template_matches_its_addresses_and_no_others(
    uri: str, found: dict[str, str] | None
) -> None:
    assert of("orders://{order}/lines/{line}").match(uri) == found


def test_dots_and_the_like_in_a_template_are_themselves() -> None:
    assert of("o.x://{order}/{line}").match("oax://1/2") is None


@pytest.mark.parametrize(
    "uri", ["orders://{order}", "orders://{order}/{line}/{more}", "o://{+order}"]
)
def test_variables_have_to_be_the_functions_parameters(uri: str) -> None:
    with pytest.raises(BadWidget, match="they have to be the same"):
        of(uri)


def test_the_context_is_no_variable() -> None:
    def read(order: str, ctx: Any) -> None: ...

    assert Template("o://{order}", read, {}, None, "ctx").variables == ["order"]


@pytest.mark.parametrize(
    ("value", "mime_type", "found"),
    [
        ("text", None, {"mimeType": "text/plain", "text": "text"}),
        ("<p>", "text/html", {"mimeType": "text/html", "text": "<p>"}),
        (b"\x00", None, {"mimeType": "application/octet-stream", "blob": "AA=="}),
        ({"a": [1]}, None, {"mimeType": "application/json", "text": '{"a":[1]}'}),
        (
            Embedded("other://x", "t"),
            None,
            {"uri": "other://x", "mimeType": "text/plain", "text": "t"},
        ),
    ],
)
def test_what_was_read_is_written_by_its_kind(
    value: Any, mime_type: str | None, found: dict[str, Any]
) -> None:
    resource = Resource(uri="a:b", read=lambda: value, described={}, mime_type=mime_type)
    assert resource.contents("a:b", value) == {"uri": "a:b", **found}


def test_a_documents_meta_comes_with_it() -> None:
    described = {"_meta": {"k": 1}}
    assert Resource(uri="a:b", read=str, described=described).contents("a:b", "")["_meta"] == {
        "k": 1
    }
    template = Template("a:{b}", lambda b: b, described, None, None)
    assert template.contents("a:x", "")["_meta"] == {"k": 1}


PROMPT = Prompt(
    name="greet",
    write=lambda who, how="kindly": who,
    described={"description": "Greets."},
    arguments={"who": True, "how": False},
)


def test_arguments_of_a_prompt_are_checked() -> None:
    assert PROMPT.check({"who": "Ada"}) == {"who": "Ada"}
    with pytest.raises(ValidationError, match=r"'greet' needs 'who'; it takes who, how") as caught:
        PROMPT.check({"how": "so"})
    assert caught.value.field == "who"
    with pytest.raises(ValidationError, match="does not know 'why'"):
        PROMPT.check({"who": "Ada", "why": "?"})


@pytest.mark.parametrize(
    ("value", "roles"),
    [
        ("hi", ["user"]),
        (Text("hi"), ["user"]),
        (["hi", Message("there", "assistant"), Image(b"x")], ["user", "assistant", "user"]),
        ((), []),
    ],
)
def test_what_a_prompt_wrote_becomes_messages(value: Any, roles: list[str]) -> None:
    found = PROMPT.result(value)
    assert [each["role"] for each in found["messages"]] == roles
    assert found["description"] == "Greets."


@pytest.mark.parametrize("value", [None, 3, {"a": 1}, ["hi", 3]])
def test_a_prompt_that_wrote_something_else_is_told_what_it_may(value: Any) -> None:
    with pytest.raises(TypeError, match=r"the prompt 'greet' gave .*it gives text, Image, Audio"):
        PROMPT.result(value)
