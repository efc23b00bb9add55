"""Answers of every client are understood."""

import asyncio
import socket
from datetime import UTC, datetime
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import CircuitBreakerError, StabilityTimeoutError, UpstreamError
from backstay.integration.stability.answers import (
    retry_after_s,
    status_behind,
    status_of,
    was_not_sent,
)
from tests.support import async_test

NOW = datetime(2027, 1, 1, tzinfo=UTC)


class Answer:
    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


class Failed(Exception):
    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


def test_a_status_is_found_in_answers_and_errors() -> None:
    assert status_of(Answer(status_code=503)) == 503
    assert status_of(Answer(status=503)) == 503
    assert status_of(Failed(response=Answer(status_code=404))) == 404
    assert status_of(Answer(status="done")) is None
    assert status_of(None) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Fri, 01 Jan 2027 00:01:00 GMT", 60),
        ("Fri, 01 Jan 2027 00:01:00", 60),
        ("Thu, 31 Dec 2026 23:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("1e9", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    error = Failed(response=Answer(headers={"Retry-After": value}))
    assert retry_after_s(error, NOW) == seconds
    assert retry_after_s(Failed(headers={"retry-after": value}), NOW) == seconds


@given(st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ [\d:]+ \S*"))
def test_whatever_others_send_is_a_time_or_nothing(value: str) -> None:
    seconds = retry_after_s(Failed(headers={"Retry-After": value}), NOW)
    assert seconds is None or seconds >= 0


def test_errors_of_ours_say_it_themselves() -> None:
    assert retry_after_s(CircuitBreakerError("x", retry_after_s=7), NOW) == 7
    assert retry_after_s(OSError(), NOW) is None
    assert retry_after_s(Failed(retry_after_s=float("nan")), NOW) is None


def test_numbers_that_are_no_status_are_none() -> None:
    assert status_of(Answer(status=3)) is None
    assert status_of(Answer(status=True)) is None


def test_the_status_behind_an_error_is_the_other_sides() -> None:
    assert status_behind(Failed(response=Answer(status=503))) == 503
    assert status_behind(UpstreamError("x", answered=404)) == 404
    assert status_behind(StabilityTimeoutError("x")) is None
    assert status_behind(Failed(status=500)) is None


def closed_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@async_test
async def test_what_every_client_says_of_a_closed_port_is_that_nothing_was_sent() -> None:
    url = f"http://127.0.0.1:{closed_port()}/"
    errors: list[Exception] = []
    for module in (httpx, httpx2):
        async with module.AsyncClient(trust_env=False) as client:
            try:
                await client.post(url)
            except module.RequestError as error:
                errors.append(error)
    async with aiohttp.ClientSession() as session:
        try:
            await session.post(url)
        except aiohttp.ClientError as error:
            errors.append(error)
    try:
        await asyncio.open_connection("127.0.0.1", closed_port())
    except OSError as error:
        errors.append(error)
    assert len(errors) == 4
    for error in errors:
        assert was_not_sent(error), repr(error)


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_the_names_that_clients_give_their_errors_are_known(module: Any) -> None:
    for sent in (
        module.ReadError,
        module.ReadTimeout,
        module.WriteError,
        module.RemoteProtocolError,
    ):
        assert not was_not_sent(sent("x"))
    for unsent in (module.ConnectError, module.ConnectTimeout, module.PoolTimeout):
        assert was_not_sent(unsent("x"))


def test_the_cause_of_an_error_says_it_too_and_its_context_does_not() -> None:
    error = ValueError()
    error.__cause__ = Failed()
    error.__cause__.__cause__ = socket.gaierror()
    assert was_not_sent(error)
    error.__cause__ = error
    assert not was_not_sent(error)
    error = ValueError()
    error.__context__ = ConnectionRefusedError()
    assert not was_not_sent(error)


def test_other_errors_of_that_name_say_nothing() -> None:
    class ConnectError(Exception):
        """As Connect RPC calls all of its errors."""

    assert not was_not_sent(ConnectError())
    assert was_not_sent(CircuitBreakerError("open"))
