"""Secrets of calls stay where they belong, whatever the other side answers."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from backstay.errors import UpstreamError
from backstay.integration import ApiKeyAuth, BearerAuth, HTTPCaching
from tests.attacks.integration.victim import SECRET, Victim
from tests.integration.upstream import Upstream, answer, json_answer
from tests.support import async_test


@async_test
async def test_a_next_page_that_repeats_the_key_does_not_put_it_into_logs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    pages = [json_answer({"next": f"/pages?page=2&key={SECRET}"}), json_answer({})]
    async with (
        Upstream(pages) as up,
        Victim(up.url, auth=ApiKeyAuth(SECRET, query="key")) as victim,
    ):
        assert len([each async for each in victim.pages()]) == 2
    assert [each.query for each in up.requests] == [f"key={SECRET}", f"page=2&key={SECRET}"]
    assert SECRET not in caplog.text


@async_test
async def test_an_error_that_repeats_a_key_does_not_tell_it() -> None:
    async with (
        Upstream(answer(f"no such key: {SECRET}".encode(), 403)) as up,
        Victim(up.url, auth=BearerAuth(SECRET)) as victim,
    ):
        with pytest.raises(UpstreamError) as caught:
            await victim.any()
    assert SECRET not in f"{caught.value!r} {caught.value} {caught.value.body}"


@async_test
async def test_kept_answers_tell_nothing_of_what_was_asked(tmp_path: Path) -> None:
    kept = json_answer(1, headers=[("Cache-Control", "max-age=100")])
    async with Upstream(kept) as up:
        victim = Victim(up.url, {"K": SECRET}, cache=HTTPCaching(tmp_path / "answers.db"))
        async with victim:
            for _ in range(2):
                await victim.any(headers={"X-Odd": SECRET}, query={"key": SECRET})
    assert len(up.requests) == 1
    content = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert content
    assert SECRET.encode() not in content


@pytest.mark.parametrize(
    "name", ["X-User-Token", "Private-Token", "X-Session", "DPoP", "X-Amz-Security-Token"]
)
@async_test
async def test_whoever_asks_with_another_token_gets_no_answer_of_somebody_else(name: str) -> None:
    answers = [
        json_answer(number, headers=[("Cache-Control", "max-age=100")]) for number in (1, 2, 3)
    ]
    async with Upstream(answers) as up, Victim(up.url, cache=HTTPCaching()) as victim:
        assert await victim.any(headers={name: "ada"}) == 1
        assert await victim.any(headers={name: "bob"}) == 2
        assert await victim.any(headers={name: "ada"}) == 1
