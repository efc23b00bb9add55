"""Credentials are a dictionary whose values nobody sees by accident."""

import json
import logging

import pytest
from pydantic import SecretBytes, SecretStr

from backstay.integration.http.credentials import Credentials


def test_they_show_their_names_and_hide_their_values(caplog: pytest.LogCaptureFixture) -> None:
    credentials = Credentials({"API_TOKEN": "s3cret", "user": "ada"})
    with caplog.at_level(logging.INFO):
        logging.getLogger("x").info("%s %r", credentials, {"in": credentials})
    for text in (repr(credentials), str(credentials), f"{credentials}", caplog.text):
        assert "s3cret" not in text
        assert "API_TOKEN" in text


def test_methods_find_their_values_in_them() -> None:
    credentials = Credentials({"API_TOKEN": "s3cret"})
    assert credentials["API_TOKEN"] == "s3cret"
    assert json.loads(json.dumps(credentials)) == {"API_TOKEN": "s3cret"}


def test_a_name_that_is_missing_is_told_with_those_that_are_there() -> None:
    with pytest.raises(KeyError, match=r"no 'KEY'; it has API_TOKEN") as raised:
        Credentials({"API_TOKEN": "s3cret"})["KEY"]
    assert "s3cret" not in str(raised.value)


def test_its_texts_are_what_nobody_else_may_see() -> None:
    given = {
        "a": "one",
        "b": SecretStr("two"),
        "c": "",
        "d": 3,
        "e": SecretBytes(b"four"),
        "f": None,
    }
    assert Credentials(given).texts() == ("one", "two", "four")


def test_all_texts_in_them_are_known_however_they_are_wrapped() -> None:
    credentials = Credentials(
        {"a": "one", "b": SecretStr("two"), "c": b"three", "d": {"e": ["four", 5]}, "f": ""}
    )
    assert credentials.texts() == ("one", "two", "three", "four")
