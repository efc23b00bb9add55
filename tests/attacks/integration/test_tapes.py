"""Tapes: what somebody else has written runs nothing, and what is recorded tells no secret."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from backstay.errors import BadAnswer, BadIntegration, UnmockedCall, UpstreamError
from backstay.testing import record_integration, replay_integration
from tests.attacks.integration.victim import Victim
from tests.integration.upstream import Upstream, answer, json_answer
from tests.support import async_test

SECRET = "sEcReT/tOkEn+=&4711"
VALUES: list[Any] = [None, True, -1, 10**30, "", "x", "\ud800", [], [["a"]], {}, {"a": []}]


def _written(form: str) -> str:
    return "".join(form.format(ord(each)) for each in SECRET)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(SECRET, id="plain"),
        pytest.param(SECRET.upper(), id="capitals"),
        pytest.param(quote(SECRET), id="url"),
        pytest.param(quote(quote(SECRET, safe=""), safe=""), id="url_twice"),
        pytest.param("".join(f"%{each:02X}" for each in SECRET.encode()), id="url_all"),
        pytest.param(html.escape(SECRET), id="html"),
        pytest.param(_written("&#{};"), id="html_numbers"),
        pytest.param(_written("&#x{:X};"), id="html_hex"),
        pytest.param(SECRET.replace("/", "\\/"), id="json_of_php"),
        pytest.param(_written("\\u{:04x}"), id="json_escapes"),
        pytest.param(_written("\\x{:02x}"), id="script_escapes"),
        pytest.param(SECRET.encode().hex(), id="hex"),
        pytest.param(base64.b64encode(SECRET.encode()).decode(), id="base64"),
        pytest.param(base64.urlsafe_b64encode(f"u:{SECRET}".encode()).decode(), id="base64_url"),
    ],
)
@async_test
async def test_an_echo_of_a_secret_is_not_recorded_however_it_is_written(
    written: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    echo = answer(f"cb(x={written})".encode(), 200, [("Content-Type", "text/plain")])
    async with Upstream(echo) as up:
        with record_integration(path):
            async with Victim(up.url, {"K": SECRET}) as victim:
                await victim.any()
    (exchange,) = json.loads(path.read_text())["exchanges"]
    assert written not in exchange["answer"]["body"]["text"]
    assert "***" in exchange["answer"]["body"]["text"]


def _poisoned(good: Any) -> Iterator[Any]:
    """The tape with each of its values replaced by each of ``VALUES``."""
    text = json.dumps(good)
    for place in _places(good):
        for value in VALUES:
            made = json.loads(text)
            at = made
            for each in place[:-1]:
                at = at[each]
            at[place[-1]] = value
            yield made
    answer_of = ("exchanges", 0, "answer")
    for more in (
        *({"error": each} for each in ("HTTPStatusError", "Client", "__class__", "os")),
        *({"url": each} for each in ("file:///etc/passwd", "http://[", "\r\nX: y")),
        *({"body": each} for each in ({"base64": "!"}, {"form": [1]}, {"parts": [1]}, {"text": 1})),
        {"headers": ["x: y\r\nz: 1"]},
    ):
        made = json.loads(text)
        at = made
        for each in answer_of:
            at = at[each]
        at.update(more)
        yield made


def _places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        yield (*before, key)
        if isinstance(each, dict | list):
            yield from _places(each, (*before, key))


@async_test
async def test_a_poisoned_tape_is_refused_or_read_as_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    async with Upstream(json_answer({"a": [1]}, headers=[("X-A", "b")])) as up:
        victim = Victim(up.url)
        with record_integration(path):
            async with victim:
                await victim.post({"b": 1})
        good = json.loads(path.read_text())
        asked = len(up.requests)
        async with victim:
            for each in _poisoned(good):
                path.write_text(json.dumps(each))
                try:
                    with replay_integration(path):
                        await victim.post({"b": 1})
                except (BadIntegration, UnmockedCall, UpstreamError, BadAnswer, httpx.HTTPError):
                    pass
        assert len(up.requests) == asked
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"backstay_tape": 1, "exchanges": ' + "[" * 100_000, "\xff", "9" * 5000],
    ids=["brackets", "inner_brackets", "no_utf8", "digits"],
)
def test_a_tape_that_is_made_to_break_its_reader_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadIntegration, match="is no tape"), replay_integration(path):
        pass
