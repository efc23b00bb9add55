"""How models are read from JSON."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    SecretBytes,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError, to_json
from typing_extensions import TypedDict

from backstay.widgets.input_reading import Reading, decode_base64, read_model

HI = base64.b64encode(b"hi").decode()


def read(model: type[BaseModel], arguments: dict[str, Any], *, max_file_bytes: int = 1000) -> Any:
    reading = read_model(model, max_file_bytes=max_file_bytes)
    return reading.validate(to_json(arguments) if reading.strict else arguments)


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return read_model(model, max_file_bytes=1000).schema


# ---------------------------------------------------------------------- base64


@given(
    st.binary(max_size=300),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "\n", "\r\n", " "]),
    st.sampled_from(["", "data:;base64,", "data:image/png;base64,", "DATA:a/b;x=y;BASE64,"]),
)
def test_bytes_come_back_in_either_alphabet_padded_or_not_broken_or_not(
    data: bytes, url_safe: bool, padded: bool, broken_by: str, header: str
) -> None:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    if not padded:
        text = text.rstrip("=")
    text = broken_by.join(text[at : at + 76] for at in range(0, len(text), 76)) + broken_by
    assert decode_base64(header + text, max_bytes=300) == data


@given(st.text(max_size=40), st.integers(0, 40))
def test_any_text_is_bytes_within_the_limit_or_a_refusal(text: str, limit: int) -> None:
    try:
        found = decode_base64(text, max_bytes=limit)
    except PydanticCustomError:
        return
    assert len(found) <= limit
    assert len(base64.b64encode(found).rstrip(b"=")) <= len(text)


@pytest.mark.parametrize(
    "text", ["a", "!!!!", "aGk===", "a=Gk", "=", "aGk\0", "\N{SNOWMAN}", "\ud800", "aGk=aGk="]
)
def test_text_that_is_no_base64_is_no_file(text: str) -> None:
    with pytest.raises(PydanticCustomError, match="bytes in base64"):
        decode_base64(text, max_bytes=100)


@pytest.mark.parametrize(
    "text", ["data:", "data:image/png,abc", "data:image/png;base64", "data:;,"]
)
def test_a_data_url_that_is_not_base64_is_told_what_it_lacks(text: str) -> None:
    with pytest.raises(PydanticCustomError, match="must say that it is base64"):
        decode_base64(text, max_bytes=100)


@pytest.mark.parametrize("size", range(1, 8))
def test_the_limit_is_of_bytes_and_exact(size: int) -> None:
    text = base64.b64encode(b"x" * size).decode()
    assert len(decode_base64(text, max_bytes=size)) == size
    with pytest.raises(PydanticCustomError, match=f"is {size} bytes and at most {size - 1} are"):
        decode_base64(text, max_bytes=size - 1)


def test_what_is_too_long_is_refused_before_it_is_looked_at() -> None:
    # It is no base64 either, which nobody gets to see.
    with pytest.raises(PydanticCustomError, match="750 bytes and at most 10"):
        decode_base64("!" * 1000, max_bytes=10)


# ---------------------------------------------------------------------- where bytes may be


class Inner(BaseModel):
    data: bytes = b"inner"


@dataclass
class Record:
    data: bytes


class Table(TypedDict):
    data: bytes


class Everywhere(BaseModel):
    plain: bytes
    maybe: bytes | None = None
    many: list[bytes] = []
    pair: tuple[bytes, int] = (b"", 0)
    named: dict[str, bytes] = {}
    some: set[bytes] = set()
    marked: Annotated[bytes, Field(max_length=3)] = b""
    inner: Inner = Inner()
    record: Record | None = None
    table: Table | None = None
    again: Everywhere | None = None


def test_bytes_are_decoded_wherever_they_are() -> None:
    inner = {"data": HI}
    found = read(
        Everywhere,
        {
            "plain": HI,
            "maybe": HI,
            "many": [HI, "data:image/png;base64," + HI],
            "pair": [HI, 1],
            "named": {"x": HI},
            "some": [HI],
            "marked": HI,
            "inner": inner,
            "record": inner,
            "table": inner,
            "again": {"plain": HI},
        },
    )
    assert found == Everywhere(
        plain=b"hi",
        maybe=b"hi",
        many=[b"hi", b"hi"],
        pair=(b"hi", 1),
        named={"x": b"hi"},
        some={b"hi"},
        marked=b"hi",
        inner=Inner(data=b"hi"),
        record=Record(b"hi"),
        table={"data": b"hi"},
        again=Everywhere(plain=b"hi"),
    )


def test_the_model_itself_stays_as_it_was() -> None:
    read_model(Everywhere, max_file_bytes=1)
    assert Everywhere.model_validate({"plain": HI}).plain == HI.encode()
    field = Everywhere.model_json_schema()["$defs"]["Everywhere"]["properties"]["plain"]
    assert field["format"] == "binary"


def test_the_constraints_of_bytes_are_those_of_the_decoded() -> None:
    with pytest.raises(ValidationError, match="at most 3 bytes"):
        read(Everywhere, {"plain": HI, "marked": "aaaaaaaa"})


def test_bytes_given_within_the_process_stay_and_keep_to_the_limit() -> None:
    assert read(Inner, {"data": b"hi"}).data == b"hi"
    assert read(Inner, {"data": memoryview(b"hi")}).data == b"hi"
    with pytest.raises(ValidationError, match="3 bytes and at most 2"):
        read(Inner, {"data": b"abc"}, max_file_bytes=2)


def test_each_of_many_is_limited_by_itself() -> None:
    assert len(read(Everywhere, {"plain": HI, "many": [HI] * 9}, max_file_bytes=2).many) == 9
    with pytest.raises(ValidationError, match="3 bytes and at most 2"):
        read(Everywhere, {"plain": HI, "many": [HI, "YWJj"]}, max_file_bytes=2)


@pytest.mark.parametrize("wrong", [1, None, [], {}, True, 1.5])
def test_what_is_no_text_is_no_file(wrong: object) -> None:
    with pytest.raises(ValidationError, match="the file's bytes in base64"):
        read(Inner, {"data": wrong})


def test_a_text_beside_bytes_in_a_union_stays_a_text() -> None:
    class Either(BaseModel):
        value: bytes | str

    assert read(Either, {"value": HI}).value == HI


def test_types_that_decode_by_themselves_are_left_to_it() -> None:
    class Own(BaseModel):
        packed: Base64Bytes
        secret: SecretBytes

    found = read(Own, {"packed": HI, "secret": HI})
    assert found.packed == b"hi"
    assert found.secret.get_secret_value() == HI.encode()


def test_a_validator_of_the_users_gets_the_bytes() -> None:
    class Checked(BaseModel):
        data: bytes

        @model_validator(mode="after")
        def check(self) -> Checked:
            assert self.data == b"hi"
            return self

    assert read(Checked, {"data": HI}).data == b"hi"


def test_bytes_beside_an_init_of_its_own_are_refused_at_the_start() -> None:
    class Own(BaseModel):
        data: bytes

        def __init__(self, **values: Any) -> None:
            super().__init__(**values)

    class Outer(BaseModel):
        own: Own

    for model in (Own, Outer):
        with pytest.raises(TypeError, match="Own has bytes and an __init__ of its own"):
            read_model(model, max_file_bytes=1)


def test_an_init_of_its_own_runs_where_there_are_no_bytes() -> None:
    class Own(BaseModel):
        count: int

        def __init__(self, **values: Any) -> None:
            super().__init__(**{"count": 7, **values})

    assert read(Own, {}).count == 7
    assert "additionalProperties" not in schema_of(Own), "its __init__ decides"


# ---------------------------------------------------------------------- the schema


def test_the_schema_says_that_bytes_are_base64() -> None:
    fields = schema_of(Everywhere)["$defs"]["Everywhere"]["properties"]
    base64_text = {"type": "string", "contentEncoding": "base64"}
    assert fields["plain"] == {**base64_text, "title": "Plain"}
    assert fields["maybe"]["anyOf"][0] == base64_text
    assert fields["many"]["items"] == base64_text
    assert fields["marked"] == {**base64_text, "title": "Marked", "default": ""}


def test_the_schema_has_defaults_in_base64_and_the_media_type_if_it_is_said() -> None:
    class Photo(BaseModel):
        data: bytes = Field(b"\xff\xfe", json_schema_extra={"contentMediaType": "image/png"})

    field = schema_of(Photo)["properties"]["data"]
    assert field["contentMediaType"] == "image/png"
    assert field["contentEncoding"] == "base64"
    assert field["default"] == "//4="


def test_a_default_that_json_cannot_write_is_left_out_without_a_warning() -> None:
    class Odd(BaseModel):
        value: int | None = Field(default=object())  # type: ignore[assignment]  # odd on purpose

    assert "default" not in schema_of(Odd)["properties"]["value"]


def test_a_field_that_json_cannot_fill_is_refused_at_the_start() -> None:
    class Odd(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        value: Reading

    with pytest.raises(TypeError, match="Odd cannot be read from a client's JSON"):
        read_model(Odd, max_file_bytes=1)


def test_a_type_that_is_not_defined_is_refused_at_the_start() -> None:
    class Odd(BaseModel):
        value: NotThere  # type: ignore[name-defined]  # noqa: F821  # that is the point

    with pytest.raises(TypeError, match="NotThere"):
        read_model(Odd, max_file_bytes=1)


# ---------------------------------------------------------------------- what is no field


class Closed(BaseModel):
    name: str = ""
    inner: Inner = Inner()
    record: Record | None = None
    table: Table | None = None


class Ignoring(BaseModel):
    model_config = ConfigDict(extra="ignore")
    inner: Inner = Inner()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


@pytest.mark.parametrize(
    "arguments",
    [
        {"nmae": "x"},
        {"inner": {"more": 1}},
        {"record": {"data": HI, "more": 1}},
        {"table": {"data": HI, "more": 1}},
    ],
)
def test_what_is_no_field_is_refused_at_every_depth(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        read(Closed, arguments)
    kinds = {each["type"] for each in refused.value.errors()}
    assert kinds <= {"extra_forbidden", "unexpected_keyword_argument"}


def test_a_config_that_decides_on_extra_fields_decides_for_its_own_class_alone() -> None:
    read(Ignoring, {"more": 1})
    assert read(Open, {"more": 1}).more == 1
    with pytest.raises(ValidationError, match="inner.more"):
        read(Ignoring, {"inner": {"more": 1}})


def test_the_schema_says_what_is_refused() -> None:
    schema = schema_of(Closed)
    assert schema["additionalProperties"] is False
    for name in ("Inner", "Record", "Table"):
        assert schema["$defs"][name]["additionalProperties"] is False
    assert "additionalProperties" not in schema_of(Ignoring)
    assert schema_of(Open)["additionalProperties"] is True


# ---------------------------------------------------------------------- numbers and strictness


def test_numbers_that_json_does_not_have_are_refused_unless_the_model_wants_them() -> None:
    class Plain(BaseModel):
        x: float

    class Wanting(BaseModel):
        model_config = ConfigDict(allow_inf_nan=True)
        x: float

    class OneField(BaseModel):
        x: float = Field(allow_inf_nan=True)

    for value in (float("nan"), float("inf"), "NaN"):
        with pytest.raises(ValidationError, match="finite"):
            read(Plain, {"x": value})
        read(Wanting, {"x": value})
        read(OneField, {"x": value})


def test_an_int_too_long_to_be_written_is_refused_and_the_schema_tells_no_bound() -> None:
    class Count(BaseModel):
        n: int
        bounded: int = Field(0, ge=0)

    for value in (10**5000, -(10**5000)):
        with pytest.raises(ValidationError):
            read(Count, {"n": value})
    assert read(Count, {"n": 10**4000}).n == 10**4000
    fields = schema_of(Count)["properties"]
    assert fields["n"] == {"title": "N", "type": "integer"}
    assert fields["bounded"] == {"title": "Bounded", "type": "integer", "minimum": 0, "default": 0}


class Colour(Enum):
    RED = "red"


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    day: date
    id: uuid.UUID
    colour: Colour
    pair: tuple[int, int]
    data: bytes
    count: int = 0


def test_a_strict_model_is_strict_about_json_and_not_about_python() -> None:
    identity = "12345678-1234-5678-1234-567812345678"
    arguments = {"day": "2026-01-02", "id": identity, "colour": "red", "pair": [1, 2], "data": HI}
    found = read(Strict, arguments)
    assert found.day == date(2026, 1, 2)
    assert (found.id, found.colour) == (uuid.UUID(identity), Colour.RED)
    assert (found.pair, found.data) == ((1, 2), b"hi")
    with pytest.raises(ValidationError, match="count"):
        read(Strict, {**arguments, "count": "1"})


def test_only_what_is_strict_is_read_as_text() -> None:
    class Secretive(BaseModel):
        secret: SecretBytes

    class OneField(BaseModel):
        n: Annotated[int, Field(strict=True)]

    assert not read_model(Secretive, max_file_bytes=1).strict
    assert not read_model(Closed, max_file_bytes=1).strict
    assert read_model(OneField, max_file_bytes=1).strict
    assert read_model(Strict, max_file_bytes=1).strict


def test_a_collection_stops_at_its_first_bad_item() -> None:
    class Numbers(BaseModel):
        x: list[int] = []
        y: dict[str, int] = {}

    with pytest.raises(ValidationError) as refused:
        read(Numbers, {"x": ["a"] * 1000, "y": dict.fromkeys(map(str, range(1000)), "a")})
    assert refused.value.error_count() == 2
