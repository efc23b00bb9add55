"""Calls to what somebody else chose never reach what only this service reaches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

from backstay.errors import AddressRefused, BadIntegration
from backstay.integration.http.public_addresses import check_url, public_transport
from tests.support import async_test
from tests.widgets.file_server import Names, answer, serving
from tests.widgets.test_file_fetch import certificate

BOTH = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])

HOSTILE = [
    "http://127.0.0.1/",
    "http://[::1]/",
    "http://10.0.0.1/",
    "http://169.254.169.254/latest/meta-data",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::7f00:1]/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://0/",
    "http://localhost/",
    "http://inner.test/",
    "http://nowhere.test/",
    "http://user@good.test/",
    "http://user:hunter2@good.test/",
    "http://good.test@127.0.0.1/",
    "ftp://good.test/",
    "file:///etc/passwd",
]


def names() -> Names:
    return Names(
        inner_test=["1.1.1.1", "10.0.0.1"], good_test="1.1.1.1", localhost=["127.0.0.1", "::1"]
    )


class Rebinding(Names):
    """Answers with something else each time."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self._answers = list(answers)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return [self._answers.pop(0)]


def client(module: ModuleType, lookup: Any, **options: Any) -> Any:
    redirects = options.pop("follow_redirects", False)
    options.setdefault("verify", False)  # loads no authorities
    transport = public_transport(module, lookup=lookup, **options)
    return module.AsyncClient(transport=transport, follow_redirects=redirects, timeout=10)


# ------------------------------------------------------------------ what is refused


@BOTH
@pytest.mark.parametrize("url", HOSTILE)
@async_test
async def test_what_is_not_public_is_refused_before_anything_is_connected(
    module: ModuleType, url: str
) -> None:
    async with client(module, names()) as http:
        with pytest.raises(
            (AddressRefused, module.InvalidURL, module.UnsupportedProtocol)
        ) as refused:
            await http.get(url)
    assert "hunter2" not in str(refused.value)
    assert "10.0.0.1" not in str(refused.value) or "10.0.0.1" in url, "what is inside is not told"


@pytest.mark.parametrize(
    "url",
    [
        *HOSTILE,
        "",
        "good.test",
        "//good.test/",
        "http://",
        "http://good.test:0/",
        "http://good.test:99999/",
        "http://good.test\\@127.0.0.1/",
        "http://good.test/\r\nX: y",
        "http://[::1/",
        "http://" + "a" * 9000,
    ],
)
@async_test
async def test_an_address_is_judged_where_it_is_entered(url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        await check_url(url, lookup=names())
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["https://good.test/x?y", "http://good.test:8080", "https://1.1.1.1", "https://GOOD.test"],
)
@async_test
async def test_a_public_address_is_good(url: str) -> None:
    await check_url(url, lookup=Names(good_test="1.1.1.1"))


@async_test
async def test_a_name_in_another_script_is_looked_up_in_its_ascii_form() -> None:
    known = Names(**{"xn--bcher-kva_test": "1.1.1.1"})
    await check_url("https://bücher.test/", lookup=known)
    assert known.asked == ["xn--bcher-kva.test"]


@async_test
async def test_what_is_private_is_good_where_that_is_said() -> None:
    await check_url("http://10.0.0.1/", allow_private=True)
    with pytest.raises(AddressRefused, match="link-local"):
        await check_url("http://169.254.169.254/", allow_private=True)


@BOTH
@async_test
async def test_a_name_that_answers_differently_later_gains_nothing(module: ModuleType) -> None:
    async with serving({"/file": answer(b"secret")}) as server:
        lookup = Rebinding("1.1.1.1", "127.0.0.1")
        await check_url(server.url(host="evil.test"), lookup=lookup)
        async with client(module, lookup) as http:
            with pytest.raises(AddressRefused, match="leads to a loopback address"):
                await http.get(server.url(host="evil.test"))
    assert server.requests == []


@BOTH
@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("http://169.254.169.254/latest", "link-local"),
        ("http://inner.test/", "link-local"),
        ("http://user:hunter2@127.0.0.1/", "password"),
        ("http://0x7f000001/", "number"),
        ("http://[::ffff:a9fe:a9fe]/", "link-local"),
    ],
)
@async_test
async def test_every_redirect_is_judged(module: ModuleType, to: str, told: str) -> None:
    lookup = Names(start_test="127.0.0.1", inner_test="169.254.169.254")
    async with serving({"/a": answer(status="302 Found", Location=to)}) as server:
        async with client(module, lookup, allow_private=True, follow_redirects=True) as http:
            with pytest.raises(AddressRefused, match=told):
                await http.get(server.url("/a", host="start.test"))


@BOTH
@async_test
async def test_a_redirect_home_is_not_followed_though_the_first_address_was_good(
    module: ModuleType,
) -> None:
    # The first server would have to be public, which a test has none of: a transport that only
    # answers stands in for it, and the judging one stands behind.
    inner = public_transport(module, lookup=names(), verify=False)

    class First(module.AsyncBaseTransport):  # type: ignore[name-defined, misc]
        async def handle_async_request(self, request: Any) -> Any:
            if request.url.host == "good.test":
                return module.Response(307, headers={"Location": home})
            return await inner.handle_async_request(request)

    async with serving({"/file": answer(b"secret")}) as server:
        home = server.url()
        async with module.AsyncClient(transport=First(), follow_redirects=True) as http:
            with pytest.raises(AddressRefused, match="loopback"):
                await http.post("http://good.test/", content=b"x")
    await inner.aclose()
    assert server.requests == []


# ------------------------------------------------------------------ what is called


@BOTH
@async_test
async def test_the_connection_goes_to_the_address_that_was_judged(module: ModuleType) -> None:
    async with serving({"/file": answer(b"here")}) as server:
        # Nobody else knows this name, so a second lookup, by anybody, could not succeed.
        lookup = Names(files_test="127.0.0.1")
        async with client(module, lookup, allow_private=True) as http:
            response = await http.get(server.url(host="files.test"))
            assert (response.status_code, response.content) == (200, b"here")
    assert lookup.asked == ["files.test"]
    assert f"host: files.test:{server.port}" in server.requests[0].lower()


@BOTH
@async_test
async def test_the_next_address_is_tried_when_nobody_is_at_the_first(module: ModuleType) -> None:
    async with serving({"/file": answer(b"here")}) as server:
        for found in (["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"]):
            lookup = Names(files_test=found)
            async with client(module, lookup, allow_private=True) as http:
                assert (await http.get(server.url(host="files.test"))).content == b"here"


@BOTH
@async_test
async def test_proxies_of_the_environment_are_not_asked(module: ModuleType) -> None:
    with pytest.MonkeyPatch.context() as environment:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            environment.setenv(name, "http://127.0.0.1:9")
        transport = public_transport(
            module, lookup=Names(files_test="127.0.0.1"), allow_private=True, verify=False
        )
        async with serving({"/file": answer(b"here")}) as server:
            async with module.AsyncClient(transport=transport, trust_env=False) as http:
                response = await http.get(server.url(host="files.test"))
                assert response.content == b"here"


@BOTH
@async_test
async def test_errors_are_those_of_the_client(module: ModuleType) -> None:
    async def hang(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(length=1000) + b"some")
        await writer.drain()
        writer.transport.abort()

    paths = {"/hang": hang, "/cut": cut, "/garbage": b"\0\1\r\n\r\n"}
    async with serving(paths) as server:
        async with client(module, Names(), allow_private=True) as http:
            with pytest.raises(module.ReadTimeout) as timed_out:
                await http.get(server.url("/hang"), timeout=0.05)
            assert timed_out.value.request.url.path == "/hang"
            with pytest.raises((module.ReadError, module.RemoteProtocolError)):
                await http.get(server.url("/cut"))
            with pytest.raises(module.RemoteProtocolError):
                await http.get(server.url("/garbage"))
    async with client(module, Names(), allow_private=True) as http:
        with pytest.raises(module.ConnectError):
            await http.get(server.url())


@BOTH
@async_test
async def test_a_name_that_takes_its_time_is_a_time_out_of_connecting(module: ModuleType) -> None:
    class Slow(Names):
        async def __call__(self, host: str, port: int) -> Sequence[str]:
            await asyncio.Event().wait()
            return []

    async with client(module, Slow()) as http:
        with pytest.raises(module.ConnectTimeout):
            await http.get("http://files.test/", timeout=0.05)


@BOTH
@async_test
async def test_a_body_streams_and_who_stops_reading_leaves_no_connection_behind(
    module: ModuleType,
) -> None:
    async with serving({"/file": answer(b"x" * 5_000_000)}) as server:
        async with client(module, Names(), allow_private=True) as http:
            async with http.stream("GET", server.url()) as response:
                async for _ in response.aiter_bytes():
                    break
        await server.gone.wait()


@BOTH
def test_certificates_are_checked_against_the_name_and_not_the_address(
    module: ModuleType, tmp_path: Path
) -> None:
    theirs, ours = certificate("files.test", tmp_path)

    @async_test
    async def check() -> None:
        lookup = Names(files_test="127.0.0.1", other_test="127.0.0.1")
        async with serving({"/file": answer(b"here")}, tls=theirs) as server:
            async with client(module, lookup, allow_private=True, verify=ours) as http:
                url = server.url(host="files.test", scheme="https")
                assert (await http.get(url)).content == b"here"
                # The same address and an open connection make no difference.
                for host in ("other.test", "127.0.0.1"):
                    with pytest.raises(module.ConnectError):
                        await http.get(server.url(host=host, scheme="https"))

    check()


# ------------------------------------------------------------------ options


@BOTH
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"proxy": "http://127.0.0.1:9"}, r"proxy=\) would lead around"),
        ({"uds": "/tmp/socket"}, r"uds=\) would lead around"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_options_that_lead_around_the_judgement_are_refused(
    module: ModuleType, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadIntegration, match=told):
        public_transport(module, verify=False, **options)


def test_other_clients_are_not_known() -> None:
    with pytest.raises(BadIntegration, match="httpx and httpx2; got 'logging'"):
        public_transport(logging)
