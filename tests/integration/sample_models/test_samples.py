"""Samples are read from whatever holds JSON, and what is none is refused with its place."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from backstay.errors import BadIntegration
from backstay.integration.sample_models import samples
from backstay.integration.sample_models.samples import LEVELS, read_sample


def test_a_file_is_read_in_the_encoding_its_first_bytes_say(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        file.write_bytes('{"имя": "ё"}'.encode(encoding))
        assert read_sample(file, "sample") == [{"имя": "ё"}]


@pytest.mark.parametrize("text", ['{"a": 1}\n{"a": 2}\n', '\x1e{"a": 1}\n\x1e{"a": 2}\n'])
def test_values_one_after_another_are_several(text: str) -> None:
    assert read_sample(text, "sample") == [{"a": 1}, {"a": 2}]
    assert read_sample("\ufeff" + text, "sample") == [{"a": 1}, {"a": 2}]


def test_what_pydantic_can_turn_into_json_is_a_sample() -> None:
    class Order(BaseModel):
        number: int = Field(alias="orderNumber")

    value = {
        "order": Order(orderNumber=1),
        "day": date(2024, 1, 2),
        "at": datetime(2024, 1, 2, tzinfo=UTC),
        "id": UUID(int=1),
        5: (1, 2),
    }
    assert read_sample(value, "sample") == [
        {
            "order": {"orderNumber": 1},
            "day": "2024-01-02",
            "at": "2024-01-02T00:00:00Z",
            "id": str(UUID(int=1)),
            "5": [1, 2],
        }
    ]


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ('{"a": 1,\n "b": }', "order.json, line 2, column 7: this is no JSON"),
        ('{"a": 1} x', "order.json, line 1, column 10: this is no JSON"),
        ("", "order.json is empty"),
        (" \n", "order.json is empty"),
        ('{"a": NaN}', "order.json has NaN, which is no JSON"),
        ('{"a": -Infinity}', "order.json has -Infinity"),
        ('{"a": 1e999}', "order.json has the number 1e999, too large"),
        ('{"a": ' + "1" * 5000 + "}", "order.json has a number that cannot be read"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' twice"),
        ('{"a": ["\\ud800"]}', "half of a surrogate pair at $.'a'[0]"),
        ('{"\\ud800": 1}', "half of a surrogate pair at $.'\\ud800'"),
        (b'{"a": "\xff"}', "order.json is no text in UTF-8: byte 7 is 0xff"),
        ({"a": [1, {"b": float("nan")}]}, "order.json has nan at $.'a'[1].'b'"),
        ({"a": object()}, "order.json is no JSON and cannot be turned into it"),
        ("[" * 100_000, "order.json has more than 200 levels"),
        ("[" * 300 + "]" * 300, "order.json has more than 200 levels"),
        (Path("nowhere.json"), "nowhere.json cannot be read: No such file"),
    ],
    ids=[str(number) for number in range(17)],
)
def test_what_is_no_json_is_refused_with_the_place(sample: Any, said: str) -> None:
    with pytest.raises(BadIntegration) as caught:
        read_sample(sample, "order.json")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_object_that_holds_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    with pytest.raises(BadIntegration, match="cannot be turned into"):
        read_sample(loop, "sample")


def test_samples_at_the_limits_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = "[" * LEVELS + "]" * LEVELS
    assert json.dumps(read_sample(deep, "sample")[0]) == deep
    monkeypatch.setattr(samples, "LIMIT_BYTES", 1024 * 1024)
    file = tmp_path / "large.json"
    for size, is_read in ((1024 * 1024, True), (1024 * 1024 + 1, False)):
        text = '"' + "a" * (size - 2) + '"'
        file.write_text(text)
        for sample in (text, text.encode(), file):
            if is_read:
                assert len(read_sample(sample, "sample")) == 1
            else:
                with pytest.raises(BadIntegration, match="is larger than 1 MB"):
                    read_sample(sample, "sample")
