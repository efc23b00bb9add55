"""A tape is recorded once and replayed for ever, and no secret is on it."""

import base64
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import httpx2
import pytest

from backstay.errors import BadIntegration, UnmockedCall
from backstay.integration.http.auth.bearer import BearerAuth
from backstay.integration.http.auth.oauth2 import OAuth2ClientCredentials
from backstay.testing.integrations.patch import patch_integration
from backstay.testing.integrations.rules import MockRules
from backstay.testing.integrations.tape import Tape
from backstay.testing.integrations.tapes import record_integration, replay_integration, tape
from tests.integration.upstream import Line, Received, Upstream, answer, json_answer
from tests.support import async_test
from tests.testing.integrations.bank import Bank

both = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
CHARGE = {"id": 1, "sum": 5}
ODD = "o/d+d?k=y&é %"
FIELD = "field-secret-55"
SECRETS = {
    "credential": "cred-secret-11",
    "odd": ODD,
    "number": "70712345",
    "bearer": "bearer-secret-22",
    "argument": "argument-secret-33",
    "cookie": "cookie-secret-44",
    "field": FIELD,
    "userinfo": "userinfo-secret-66",
    "token": "token-secret-77",
}


def forms(secret: str) -> list[str]:
    found = [secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]]
    return [*found, secret.encode().hex()]


def decoded(text: str) -> bytes:
    """All that could be base64 in there, wherever it begins."""
    runs = re.findall(r"[A-Za-z0-9+/_-]{6,}", text)
    told = [
        base64.urlsafe_b64decode(cut + "=" * (-len(cut) % 4))
        for run in runs
        for begin in range(4)
        for end in range(2)
        if (cut := run.translate(str.maketrans("+/", "-_"))[begin : len(run) - end])
        and len(cut) % 4 != 1
    ]
    return b" ".join(told)


async def echo(line: Line, request: Received) -> None:
    """Say all that was sent, in the body and in headers."""
    said = {
        "target": request.target,
        "headers": dict(request.headers),
        "body": request.body.decode("utf-8", "replace"),
        "session_token": SECRETS["token"],
        "next": f"http://other/?api_key={FIELD}",
    }
    cookie = f"sid={SECRETS['cookie']}; Path=/"
    await line.send(json_answer(said, headers=[("Set-Cookie", cookie), ("X-Echo", request.target)]))


async def use(bank: Any) -> list[Any]:
    """Send secrets in every place there is."""
    cred, number = bank.credentials["key"], bank.credentials["number"]
    odd = bank.credentials["odd"]
    basic = base64.b64encode(f"user:{odd}".encode()).decode()
    said = [
        await bank.anything(cred, query={"q": cred, "page": 1}, headers={"X-Own": f"v {cred}"}),
        await bank.anything(odd, body={"deep": [{"x": f"<{odd}>", "n": number}], "pin": 1234}),
        await bank.anything("f", form={"password": FIELD, "note": odd, "b64": basic}),
        await bank.anything("m", files={"secret": ("a.txt", FIELD), "doc": (cred, odd)}),
        await bank.anything("b", content=f"\0{cred}".encode()),
        await bank.anything("t", content=f"<a><password>{FIELD}</password>{odd}</a>".encode()),
        await bank.anything("h", headers={"Cookie": f"sid={SECRETS['cookie']}", "X-B": basic}),
    ]
    # A token that was given is used from then on, where nobody would look for one.
    token = said[-1]["session_token"]
    said.append(await bank.anything(f"bot{token}", query={"password": SECRETS["argument"]}))
    return said


@both
@async_test
async def test_no_secret_is_on_a_tape_and_it_can_be_replayed_all_the_same(
    module: Any, tmp_path: Path
) -> None:
    path = tmp_path / "tape.json"
    credentials = {"key": SECRETS["credential"], "odd": ODD, "number": int(SECRETS["number"])}
    async with Upstream(echo) as upstream:
        url = upstream.url.replace("://", f"://me:{SECRETS['userinfo']}@")
        auth = BearerAuth(SECRETS["bearer"])
        async with Bank(upstream.url, credentials, auth=auth, client=module) as bank:
            async with Bank(url, credentials, client=module) as other:
                with record_integration(path):
                    real = await use(bank)
                    await other.anything("last")
        seen = " ".join(f"{each.target} {each.headers} {each.body!r}" for each in upstream.requests)
    assert SECRETS["bearer"] in seen
    assert SECRETS["credential"] in seen
    assert base64.b64encode(f"me:{SECRETS['userinfo']}".encode()).decode() in seen

    text = path.read_text()
    for name, secret in SECRETS.items():
        for form in forms(secret):
            assert form.lower() not in text.lower(), f"{name} as {form}"
        assert secret.encode() not in decoded(text), f"{name} in base64"
    assert "127.0.0.1" not in text.replace('"host": "127.0.0.1', "")

    # Whoever replays need not know a single secret.
    others = {"key": "test-key", "odd": "test odd", "number": 90909090}
    async with Bank("http://other.invalid", others, client=module) as bank:
        with replay_integration(path) as played:
            replayed = await use(bank)
            await bank.anything("last")
    played.assert_all_used()
    assert len(replayed) == len(real)
    assert replayed[0]["target"] == "/anything/***?q=***&page=1"


@both
@async_test
async def test_tokens_are_neither_asked_for_nor_kept(module: Any, tmp_path: Path) -> None:
    path = tmp_path / "tape.json"
    script = {
        "/token": json_answer({"access_token": "at-secret-88", "token_type": "Bearer"}),
        "/charges/a": [answer(status=401), json_answer(CHARGE)],
    }
    async with Upstream(script) as upstream:
        auth = OAuth2ClientCredentials(f"{upstream.url}/token", "client-id", "cs-secret-99")
        async with Bank(upstream.url, auth=auth, client=module) as bank:
            with record_integration(path):
                assert (await bank.charge("a", 5)).id == 1
        assert [each.path for each in upstream.requests].count("/token") >= 1
    assert len(json.loads(path.read_text())["exchanges"]) == 1
    assert "secret" not in path.read_text()
    auth = OAuth2ClientCredentials("https://token.invalid/token", "client-id", "x-secret")
    async with Bank("http://bank.invalid", auth=auth, client=module) as bank:
        with replay_integration(path):
            assert (await bank.charge("a", 5)).id == 1


@async_test
async def test_auto_records_once_and_replays_then(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tape.json"
    async with Upstream(json_answer(CHARGE)) as upstream, Bank(upstream.url) as bank:
        for mode in ("record", "replay", "replay"):
            async with tape(path) as made:
                assert made.mode == mode
                assert (await bank.charge("a", 5)).id == 1
        assert len(upstream.requests) == 1
        with pytest.raises(UnmockedCall, match=r'"amount": 6'), tape(path):
            await bank.charge("a", 6)
        with tape(path, mode="none"):
            await bank.charge("a", 6)
        with tape(path, mode="record"):
            await bank.charge("a", 7)
        assert len(upstream.requests) == 3
    assert [
        each["request"]["body"]["json"]["amount"]
        for each in json.loads(path.read_text())["exchanges"]
    ] == [7]


@async_test
async def test_the_environment_decides_for_those_that_are_undecided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tape.json"
    monkeypatch.setenv("BACKSTAY_TAPES", "replay")
    with pytest.raises(BadIntegration, match="there is no tape"), tape(path):
        pass
    monkeypatch.setenv("BACKSTAY_TAPES", "record")
    async with Upstream(json_answer(CHARGE)) as upstream, Bank(upstream.url) as bank:
        for _ in range(2):
            with tape(path):
                await bank.charge("a", 5)
        assert len(upstream.requests) == 2
        with replay_integration(path):
            await bank.charge("a", 5)
        assert len(upstream.requests) == 2
    monkeypatch.setenv("BACKSTAY_TAPES", "yes")
    with pytest.raises(BadIntegration, match="is one of auto, record, replay, none; got 'yes'"):
        tape(path).__enter__()


@async_test
async def test_a_test_that_fails_leaves_the_tape_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "tape.json"
    async with Upstream(json_answer(CHARGE)) as upstream, Bank(upstream.url) as bank:
        with pytest.raises(UnmockedCall), tape(path):
            raise UnmockedCall
        assert not path.exists()
        with tape(path):
            await bank.charge("a", 5)
    before = path.read_text()
    with pytest.raises(UnmockedCall), record_integration(path):
        raise UnmockedCall
    assert path.read_text() == before


@async_test
async def test_options_name_secrets_headers_and_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "tape.json"

    def redact(part: dict[str, Any]) -> dict[str, Any]:
        return {**part, "headers": []} if "status" in part else part

    def made(mode: Any, **more: Any) -> Any:
        options = {"secrets": ["licence"], "keep": ["session_id"], "headers": ["Accept"]}
        return tape(path, mode=mode, redact=redact, ignore=["at"], **options, **more)

    body = {"licence": "L-1", "session_id": "sid-1", "at": 1}
    async with Upstream(json_answer({"answer": 1})) as upstream, Bank(upstream.url) as bank:
        with made("record"):
            await bank.anything("x", body=body, headers={"Accept": "a"})
        (kept,) = json.loads(path.read_text())["exchanges"]
        with made("replay", repeat_last=True):
            for at in range(3):
                await bank.anything("x", body={**body, "at": at}, headers={"Accept": "a"})
            with pytest.raises(UnmockedCall):
                await bank.anything("x", body=body, headers={"Accept": "b"})
        assert len(upstream.requests) == 1
    assert kept["request"]["body"]["json"] == {"licence": "***", "session_id": "sid-1", "at": 1}
    assert kept["request"]["headers"] == ["accept: a"]
    assert kept["answer"]["headers"] == []


def test_what_makes_no_sense_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadIntegration, match="got \"?'always'"):
        tape(tmp_path, mode="always")  # type: ignore[arg-type]
    with pytest.raises(BadIntegration, match=r"write \['accept'\]"):
        tape(tmp_path, headers="accept")


@async_test
async def test_in_a_folder_each_test_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "tests/a/test_b.py::TestC::test_d[x/y] (call)")
    with tape(tmp_path) as made:
        assert made.path == tmp_path / "test_b.TestC.test_d[x-y].json"
    monkeypatch.delenv("PYTEST_CURRENT_TEST")

    @tape(tmp_path)
    def my_test() -> None: ...

    my_test()
    name = "test_in_a_folder_each_test_has_a_file_of_its_own.-locals-.my_test.json"
    assert (tmp_path / name).is_file()
    with pytest.raises(BadIntegration, match="name a file that ends in .json"):
        tape(tmp_path).__enter__()


@async_test
async def test_pages_and_races_are_replayed_with_what_was_used_of_them(tmp_path: Path) -> None:
    path = tmp_path / "tape.json"
    asked = 0

    async def behave(line: Line, request: Received) -> None:
        nonlocal asked
        asked += 1
        if request.path == "/rates":
            await (line.hang() if asked == 1 else line.send(json_answer({"number": asked})))
            return
        page = int(request.query.partition("page=")[2] or 1)
        more = f"{upstream.url}/history?token=t-{page}&page={page + 1}" if page < 3 else None
        await line.send(json_answer({"rows": [{"number": page}], "next": more}))

    async def use(bank: Bank) -> list[Any]:
        return [await bank.rates(), [each.number async for each in bank.history()]]

    async with Upstream(behave) as upstream, Bank(upstream.url) as bank:
        with record_integration(path) as recorded:
            assert await use(bank) == [{"number": 2}, [1, 2, 3]]
        # The copy that lost the race was cancelled.
        assert len(recorded.exchanges) == 4
    with replay_integration(path) as played:
        assert await use(Bank("http://bank.invalid")) == [{"number": 2}, [1, 2, 3]]
    played.assert_all_used()


@async_test
async def test_mocks_inside_of_a_tape_go_first(tmp_path: Path) -> None:
    path = tmp_path / "tape.json"
    async with Upstream(json_answer(CHARGE)) as upstream, Bank(upstream.url) as bank:
        with tape(path):
            await bank.charge("a", 5)
        with tape(path), patch_integration(MockRules({Bank.charges: []})):
            assert await bank.charges() == []
            assert (await bank.charge("a", 5)).id == 1


def test_replaying_opens_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "tape.json"
    request = {
        "method": "POST",
        "url": "{base_url}/charges/a",
        "body": {"json": {"amount": 5, "note": ""}},
    }
    done = {
        "endpoint": "Bank.charge",
        "request": request,
        "answer": {"status": 200, "body": {"json": CHARGE}},
    }
    path.write_text(json.dumps({"backstay_tape": 1, "exchanges": [done]}))
    program = textwrap.dedent(
        """
        import asyncio, socket, sys
        from backstay.testing.integrations.tapes import replay_integration
        from tests.testing.integrations.bank import Bank

        async def main():
            def watch(event, args):
                if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
                    print("touched", event, args)
            sys.addaudithook(watch)
            with replay_integration(sys.argv[1]):
                print((await Bank("http://bank.invalid").charge("a", 5)).id)

        asyncio.run(main())
        """
    )
    root = Path(__file__).resolve().parents[3]
    told = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert told.stdout == "1\n"


def test_tapes_are_nested_and_the_inner_one_goes_first(tmp_path: Path) -> None:
    with tape(tmp_path / "a.json") as outer, tape(tmp_path / "b.json") as inner:
        assert isinstance(inner, Tape)
        assert outer.path != inner.path
