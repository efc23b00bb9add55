import math
import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, computed_field

from backstay.jobs.codec import VALUE, Codec, NotWritable, Slot, describe_first, shorten


def codec_of(**annotations: Any) -> Codec:
    return Codec({name: Slot(each, True) for name, each in annotations.items()})


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    price: float


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int

    @computed_field
    def twice(self) -> int:
        return 2 * self.a


@dataclass(eq=False)
class Plain:
    a: float
    seen: object = field(default=None, compare=False)


class Stars(BaseModel):
    password: SecretStr


class TestCodec:
    def test_what_is_known_to_come_back_is_not_read_back(self) -> None:
        assert codec_of(a=int, b=list[str | None], c=dict[str, uuid.UUID]).trusted
        for annotation in (Any, dict, int | str, Extra, dict[int, str], Plain, tuple):
            assert not codec_of(a=int, b=annotation).trusted

    def test_one_value_is_written_and_read_without_a_name(self) -> None:
        codec = codec_of(**{VALUE: list[bytes]})
        assert codec.write_one([b"\xff"]) == b'["_w=="]'
        assert codec.read_one(b'["_w=="]') == [b"\xff"]

    def test_members_without_a_slot_are_left_out(self) -> None:
        assert codec_of(a=int).read('{"a":1,"b":2}') == {"a": 1}

    def test_a_slot_that_is_not_required_may_be_missing(self) -> None:
        codec = Codec({"a": Slot(int, False)})
        assert codec.read("{}") == {}
        assert codec.write({}) == b"{}"

    def test_computed_fields_do_not_travel(self) -> None:
        codec = codec_of(a=Computed)
        assert codec.write({"a": Computed(a=1)}) == b'{"a":{"a":1}}'

    def test_fields_that_a_model_does_not_know_travel_if_it_allows_them(self) -> None:
        codec = codec_of(a=Extra)
        one = Extra(price=1, colour="red")  # type: ignore[call-arg]
        assert codec.read(codec.write({"a": one})) == {"a": one}

    def test_not_a_number_is_the_same_wherever_it_stands(self) -> None:
        for annotation, value in (
            (dict[str, float | int], {"a": math.nan}),
            (list[Plain], [Plain(math.nan)]),
            (tuple[Plain, int | str], (Plain(math.nan), 1)),
        ):
            codec = codec_of(a=annotation)
            assert b"NaN" in codec.write({"a": value})

    def test_sizes_are_told_by_name(self) -> None:
        sizes = codec_of(a=str, b=str).sizes({"a": "x", "b": "x" * 50})
        assert sizes["b"] == sizes["a"] + 49

    @pytest.mark.parametrize(
        ("annotation", "value", "why"),
        [
            (Any, (1,), r"come back as \[1\]"),
            (Any, object(), "Unable to serialize unknown type"),
            (Any, "\ud800", "half of a surrogate pair"),
            (Stars, Stars(password=SecretStr("x")), "stars"),
        ],
    )
    def test_what_cannot_be_written_says_which_and_why(
        self, annotation: Any, value: Any, why: str
    ) -> None:
        with pytest.raises(NotWritable, match=why) as caught:
            codec_of(a=int, b=annotation).write({"a": 1, "b": value})
        assert caught.value.name == "b"
        assert caught.value.value is value

    def test_what_is_nested_too_deeply_is_not_written(self) -> None:
        deep: list[Any] = []
        for _ in range(5_000):
            deep = [deep]
        with pytest.raises(NotWritable):
            codec_of(a=Any).write({"a": deep})


class TestMessages:
    def test_the_first_mistake_is_described_on_one_line(self) -> None:
        with pytest.raises(ValidationError) as caught:
            codec_of(a=list[int]).validate({"a": [1, "x"]})
        assert describe_first(caught.value).startswith("[1]: Input should be a valid integer")
        assert describe_first(caught.value).endswith("(got 'x')")
        assert "got" not in describe_first(caught.value, with_input=False)

    def test_values_are_cut_and_kept_on_one_line(self) -> None:
        class Broken:
            def __repr__(self) -> str:
                raise RuntimeError

        class Wide:
            def __repr__(self) -> str:
                return "one\n  two"

        assert shorten("short") == "'short'"
        assert len(shorten("x" * 1_000_000)) == 80
        assert shorten(Broken()).startswith("<")
        assert shorten(Wide()) == "one two"
