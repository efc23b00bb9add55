"""Answers are kept as long as HTTP allows it, and by nobody for somebody else."""

from __future__ import annotations

import asyncio
import gzip
import logging
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from backstay.errors import BadIntegration, MissingExtra
from backstay.integration.http.auth.api_key import ApiKeyAuth
from backstay.integration.http.auth.bearer import BearerAuth
from backstay.integration.http.auth.signed import SignedAuth
from backstay.integration.http.caching.http_caching import HTTPCaching
from tests.integration.http.auth_client import BOTH
from tests.integration.upstream import Line, Received, Upstream, answer
from tests.support import async_test

SECRET = "hunter2-hunter2"


def client(module: ModuleType, caching: HTTPCaching, **options: Any) -> Any:
    auth = options.pop("auth", None)
    return module.AsyncClient(
        transport=caching.around(module, module.AsyncHTTPTransport(verify=False)),
        auth=None if auth is None else auth.for_client(module),
        timeout=10,
        **options,
    )


def made(seconds_ago: float) -> tuple[str, str]:
    """``Date`` of so many seconds ago: how old an answer is, without waiting."""
    return "Date", format_datetime(datetime.now(UTC) - timedelta(seconds=seconds_ago), usegmt=True)


def fresh(body: bytes = b"kept", **more: str) -> bytes:
    headers = [
        ("Cache-Control", "max-age=60"),
        *((k.replace("_", "-"), v) for k, v in more.items()),
    ]
    return answer(body, headers=headers)


@pytest.fixture(params=["memory", "file"])
def caching(request: pytest.FixtureRequest, tmp_path: Path) -> HTTPCaching:
    return HTTPCaching(None if request.param == "memory" else tmp_path / "kept" / "answers.db")


# ------------------------------------------------------------------ RFC 9111


@BOTH
def test_what_is_fresh_is_asked_for_once(module: ModuleType, caching: HTTPCaching) -> None:
    @async_test
    async def check() -> None:
        async with Upstream(fresh()) as home:
            async with client(module, caching) as http:
                first, second = await http.get(home.url), await http.get(home.url)
                other = await http.get(f"{home.url}/other")
        assert (first.content, second.content, other.content) == (b"kept", b"kept", b"kept")
        assert [each.extensions["caching"]["from_cache"] for each in (first, second, other)] == [
            False,
            True,
            False,
        ]
        assert len(home.requests) == 2

    check()


@BOTH
def test_what_is_over_is_asked_for_by_its_tag(module: ModuleType, caching: HTTPCaching) -> None:
    @async_test
    async def check() -> None:
        over = [("Cache-Control", "max-age=60"), ("ETag", '"1"'), made(100)]
        script = [answer(b"kept", headers=over), answer(status=304, headers=[("ETag", '"1"')])]
        async with Upstream([*script, answer(b"new")]) as home:
            async with client(module, caching) as http:
                await http.get(home.url)
                second = await http.get(home.url)
                assert (second.status_code, second.content) == (200, b"kept")
                assert second.extensions["caching"]["revalidated"]
                third = await http.get(home.url)
        assert home.requests[0].header("if-none-match") is None
        assert home.requests[1].header("if-none-match") == '"1"'
        assert third.content == b"kept", "the 304 made it fresh again"
        assert len(home.requests) == 2

    check()


@BOTH
def test_what_has_changed_is_replaced(module: ModuleType, caching: HTTPCaching) -> None:
    @async_test
    async def check() -> None:
        over = [("Cache-Control", "max-age=60"), ("ETag", '"1"'), made(100)]
        async with Upstream([answer(b"old", headers=over), fresh(b"new", ETag='"2"')]) as home:
            async with client(module, caching) as http:
                bodies = [(await http.get(home.url)).content for _ in range(3)]
        assert bodies == [b"old", b"new", b"new"]
        assert len(home.requests) == 2

    check()


@BOTH
def test_answers_are_kept_apart_by_what_they_vary_with(
    module: ModuleType, caching: HTTPCaching
) -> None:
    async def translate(line: Line, request: Received) -> None:
        language = request.header("accept-language") or ""
        await line.send(fresh(language.encode(), Vary="Accept-Language"))

    @async_test
    async def check() -> None:
        async with Upstream(translate) as home:
            async with client(module, caching) as http:
                for language in ("de", "en", "de", "en"):
                    response = await http.get(home.url, headers={"Accept-Language": language})
                    assert response.text == language
        assert len(home.requests) == 2

    check()


@BOTH
@pytest.mark.parametrize(
    "control", ["no-store", "no-cache", "max-age=0", "max-age=60, no-store", "private, no-cache"]
)
def test_what_may_not_be_served_again_is_asked_for_each_time(
    module: ModuleType, caching: HTTPCaching, control: str
) -> None:
    @async_test
    async def check() -> None:
        async with Upstream(answer(b"x", headers=[("Cache-Control", control)])) as home:
            async with client(module, caching) as http:
                for _ in range(3):
                    await http.get(home.url)
        assert len(home.requests) == 3

    check()
    if "no-store" in control and caching.path is not None:
        file = sqlite3.connect(caching.path)
        assert file.execute("SELECT count(*) FROM answers").fetchone() == (0,)
        file.close()


@BOTH
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_changes_something_is_never_kept_and_makes_what_is_kept_forgotten(
    module: ModuleType, caching: HTTPCaching, method: str
) -> None:
    @async_test
    async def check() -> None:
        async with Upstream(fresh()) as home:
            async with client(module, caching) as http:
                for _ in range(2):
                    await http.request(method, home.url, content=b"body")
                await http.get(home.url)
                await http.get(home.url)
                await http.request(method, home.url, content=b"body")
                await http.get(home.url)
        assert [each.method for each in home.requests] == [method, method, "GET", method, "GET"]
        assert [each.body for each in home.requests if each.method == method] == [b"body"] * 3

    check()


@BOTH
@async_test
async def test_an_answer_without_a_date_grows_old_all_the_same(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Upstream(fresh()) as home:
        async with client(module, HTTPCaching()) as http:
            response = await http.get(home.url)
            assert response.headers["date"]
            import hishel._core._spec as spec

            later = spec.time.time() + 61
            monkeypatch.setattr(spec.time, "time", lambda: later)
            await http.get(home.url)
    assert len(home.requests) == 2


@BOTH
@async_test
async def test_the_age_that_another_cache_tells_counts(module: ModuleType) -> None:
    async with Upstream(fresh(Age="61")) as home:
        async with client(module, HTTPCaching()) as http:
            await http.get(home.url)
            await http.get(home.url)
    assert len(home.requests) == 2


@BOTH
def test_a_packed_answer_is_unpacked_from_what_is_kept(
    module: ModuleType, caching: HTTPCaching
) -> None:
    @async_test
    async def check() -> None:
        packed = gzip.compress(b"text" * 1000, mtime=0)
        async with Upstream(fresh(packed, Content_Encoding="gzip")) as home:
            async with client(module, caching) as http:
                for _ in range(2):
                    assert (await http.get(home.url)).content == b"text" * 1000
        assert len(home.requests) == 1

    check()


# ------------------------------------------------------------------ whose answers


@BOTH
def test_answers_of_one_principal_are_not_anothers(
    module: ModuleType, caching: HTTPCaching
) -> None:
    async def greet(line: Line, request: Received) -> None:
        await line.send(fresh((request.header("authorization") or "nobody").encode()))

    @async_test
    async def check() -> None:
        tokens = iter(["ann", "bob", "ann", "bob"])
        async with Upstream(greet) as home:
            async with client(module, caching, auth=BearerAuth(lambda: next(tokens))) as http:
                seen = [(await http.get(home.url)).text for _ in range(4)]
                plain = (await http.get(home.url, auth=None)).text
                own = [
                    (await http.get(home.url, auth=None, headers={"Authorization": who})).text
                    for who in ("cy", "di", "cy")
                ]
        assert seen == ["Bearer ann", "Bearer bob", "Bearer ann", "Bearer bob"]
        assert (plain, own) == ("nobody", ["cy", "di", "cy"])
        assert len(home.requests) == 5

    check()


@BOTH
def test_no_secret_is_in_the_file_and_each_is_sent(module: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "answers.db"

    @async_test
    async def check() -> None:
        caching = HTTPCaching(path, secret_headers=["X-Tenant-Secret"])
        headers = {"Cookie": f"s={SECRET}", "X-Tenant-Secret": SECRET, "X-Api-Key": SECRET}
        async with Upstream(fresh(Vary="Cookie, Authorization")) as home:
            async with client(module, caching, auth=BearerAuth(SECRET)) as http:
                await http.get(home.url, headers=headers)
                await http.get(home.url, headers=headers)
            async with client(module, caching, auth=ApiKeyAuth(SECRET, query="key")) as http:
                await http.get(f"{home.url}/q?a=1")
                response = await http.get(f"{home.url}/q?a=1")
                assert response.extensions["caching"]["from_cache"]
        assert len(home.requests) == 2
        assert home.requests[0].header("authorization") == f"Bearer {SECRET}"
        assert {home.requests[0].header(name.lower()) for name in headers} == {
            SECRET,
            f"s={SECRET}",
        }
        assert home.requests[1].target == f"/q?a=1&key={SECRET}"

    check()
    written = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert b"kept" in written
    assert SECRET.encode() not in written


@BOTH
@async_test
async def test_a_key_in_the_query_is_sent_and_not_shown_below_either(module: ModuleType) -> None:
    seen: list[tuple[str, bytes]] = []

    def take(request: Any) -> Any:
        seen.append((str(request.url), request.url.raw_path))
        return module.Response(200)

    transport = HTTPCaching().around(module, module.MockTransport(take))
    auth = ApiKeyAuth(SECRET, query="key").for_client(module)
    async with module.AsyncClient(transport=transport, auth=auth) as http:
        await http.get("https://a.test/x")
    assert seen == [("https://a.test/x?key=***", f"/x?key={SECRET}".encode())]


def test_a_file_is_nobody_elses_and_nothing_is_put_beside_it(tmp_path: Path) -> None:
    @async_test
    async def check() -> None:
        async with Upstream(fresh()) as home:
            async with client(httpx, HTTPCaching(tmp_path / "answers.db")) as http:
                await http.get(home.url)
                files = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
        assert set(files) <= {"answers.db", "answers.db-wal", "answers.db-shm"}
        assert set(files.values()) == {0o600}

    check()


def test_what_is_in_a_file_is_there_for_the_next_process(tmp_path: Path) -> None:
    @async_test
    async def check() -> None:
        async with Upstream(fresh()) as home:
            for _ in range(2):
                # Each makes all of it anew, as another process would.
                caching = HTTPCaching(str(tmp_path / "answers.db"))
                async with client(httpx, caching, auth=BearerAuth(SECRET)) as http:
                    assert (await http.get(home.url)).content == b"kept"
        assert len(home.requests) == 1

    check()


@BOTH
@async_test
async def test_signed_answers_are_kept_where_it_is_known_who_signs(module: ModuleType) -> None:
    numbers = iter(range(100))

    def sign(*_: Any) -> dict[str, str]:
        return {"X-Signature": str(next(numbers))}

    async with Upstream(fresh()) as home:
        async with client(module, HTTPCaching(), auth=SignedAuth(sign)) as http:
            await http.get(home.url)
            await http.get(home.url)
        assert len(home.requests) == 2
        async with client(module, HTTPCaching(), auth=SignedAuth(sign, principal="7")) as http:
            await http.get(home.url)
            await http.get(home.url)
    assert len(home.requests) == 3


@BOTH
@async_test
async def test_a_shared_cache_keeps_nothing_private(module: ModuleType) -> None:
    private = answer(b"x", headers=[("Cache-Control", "private, max-age=60")])
    public = answer(b"x", headers=[("Cache-Control", "public, max-age=60")])
    paths = {"/private": private, "/plain": fresh(), "/public": public}
    async with Upstream(paths) as home:
        async with client(module, HTTPCaching(shared=True), auth=BearerAuth(SECRET)) as http:
            for path in (*paths, *paths):
                await http.get(home.url + path)
    assert [each.path for each in home.requests].count("/private") == 2
    assert [each.path for each in home.requests].count("/plain") == 2, "it was authorized"
    assert [each.path for each in home.requests].count("/public") == 1


# ------------------------------------------------------------------ while the other side fails


async def reset(line: Line, request: Received) -> None:
    line.reset()


@BOTH
@pytest.mark.parametrize("failure", [answer(status=500), answer(status=503), reset])
@pytest.mark.parametrize(
    ("control", "allowed_s", "served"),
    [
        ("max-age=60, stale-if-error=100", 0, True),
        ("max-age=60", 100, True),
        ("max-age=60", 0, False),
        ("max-age=60, stale-if-error=10", 0, False),
        ("max-age=60", 10, False),
        ("max-age=60, stale-if-error=100, must-revalidate", 100, False),
        ("no-cache, stale-if-error=100", 100, False),
    ],
)
@async_test
async def test_an_answer_that_is_over_does_while_the_other_side_fails(
    module: ModuleType, failure: Any, control: str, allowed_s: float, served: bool
) -> None:
    kept = answer(b"kept", headers=[("Cache-Control", control), made(90)])
    async with Upstream([kept, failure]) as home:
        async with client(module, HTTPCaching(stale_if_error_s=allowed_s)) as http:
            await http.get(home.url)
            if served:
                response = await http.get(home.url)
                assert (response.status_code, response.content) == (200, b"kept")
                assert response.extensions["caching"]["from_cache"]
            elif isinstance(failure, bytes):
                assert (await http.get(home.url)).status_code >= 500
            else:
                with pytest.raises(module.TransportError):
                    await http.get(home.url)
    assert len(home.requests) == 2


@BOTH
@async_test
async def test_nothing_that_is_kept_answers_a_failed_post_or_an_unknown_url(
    module: ModuleType,
) -> None:
    kept = answer(b"kept", headers=[("Cache-Control", "max-age=60"), made(90)])
    async with Upstream({"/": [kept, reset], "/other": reset}) as home:
        async with client(module, HTTPCaching(stale_if_error_s=1000)) as http:
            await http.get(home.url)
            with pytest.raises(module.TransportError):
                await http.post(home.url)
            with pytest.raises(module.TransportError):
                await http.get(f"{home.url}/other")
    assert len(home.requests) == 3


# ------------------------------------------------------------------ bounds and faults


@BOTH
def test_an_answer_that_is_too_large_is_passed_on_and_not_kept(
    module: ModuleType, tmp_path: Path
) -> None:
    @async_test
    async def check() -> None:
        for path in (None, tmp_path / "answers.db"):
            caching = HTTPCaching(path, max_answer_bytes=100)
            async with Upstream({"/a": fresh(b"x" * 101), "/b": fresh(b"x" * 100)}) as home:
                async with client(module, caching) as http:
                    for each in "aabb":
                        assert len((await http.get(f"{home.url}/{each}")).content) >= 100
            assert [each.path for each in home.requests] == ["/a", "/a", "/b"]

    check()


@BOTH
@async_test
async def test_many_calls_at_once_are_all_answered(module: ModuleType) -> None:
    async with Upstream(fresh()) as home:
        async with client(module, HTTPCaching()) as http:
            answers = await asyncio.gather(*(http.get(home.url) for _ in range(50)))
    assert {each.content for each in answers} == {b"kept"}


def test_a_call_that_is_cancelled_leaves_the_cache_as_it_was(caching: HTTPCaching) -> None:
    @async_test
    async def check() -> None:
        async def begin(line: Line, request: Received) -> None:
            await line.send(answer(b"half", length=1000, headers=[("Cache-Control", "max-age=60")]))
            await line.hang()

        async with Upstream([begin, fresh(b"whole")]) as home:
            async with client(httpx, caching) as http:
                call = asyncio.create_task(http.get(home.url))
                await home.until(lambda it: len(it.requests) == 1)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                await home.until(lambda it: it.open_connections == 0)
                assert (await http.get(home.url)).content == b"whole"
                assert (await http.get(home.url)).content == b"whole"
        assert len(home.requests) == 2

    check()


@BOTH
def test_a_file_that_is_something_else_is_left_alone_and_told(
    module: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "app.db"
    file = sqlite3.connect(path)
    file.execute("CREATE TABLE entries (text)")
    file.close()

    @async_test
    async def check() -> None:
        async with Upstream(fresh()) as home:
            async with client(module, HTTPCaching(path)) as http:
                with pytest.raises(
                    BadIntegration, match=r"app\.db'\) cannot be used: it holds something else"
                ):
                    await http.get(home.url)
        assert home.requests == []

    check()


@BOTH
def test_a_file_that_cannot_be_made_is_told_at_once(module: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(BadIntegration, match="the file cannot be made"):
        HTTPCaching(tmp_path).around(module, None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_bytes": 0}, r"max_bytes=\) is a number of bytes; got 0"),
        ({"max_answer_bytes": 1.5}, r"max_answer_bytes=\) is a number"),
        ({"stale_if_error_s": -1}, "is seconds, 0 or more; got -1"),
        ({"stale_if_error_s": float("inf")}, "is seconds"),
    ],
    ids=["zero", "fraction", "negative", "for ever"],
)
def test_bounds_that_are_none_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadIntegration, match=told):
        HTTPCaching(**options)


def test_other_clients_are_not_known() -> None:
    with pytest.raises(BadIntegration, match="httpx and httpx2; got 'logging'"):
        HTTPCaching().around(logging, None)


@BOTH
def test_without_hishel_the_extra_is_named(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hishel", "hishel.httpx", "hishel.httpx2"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=r"backstay\[http-cache\]"):
        HTTPCaching().around(module, None)
