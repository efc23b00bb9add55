"""Fetching what somebody else names, from servers that are as bad as they can be."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import ssl
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backstay.widgets.file_fetch import FetchLimits, FileRefused, open_url
from tests.support import async_test
from tests.widgets.file_server import FileServer, Names, answer, serving

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # for plain http: loads no authorities


async def fetch(
    url: str,
    *,
    names: Names | None = None,
    tls: ssl.SSLContext = NO_TLS,
    allow_private: bool = True,
    max_bytes: int = 1_000_000,
    timeout_s: float = 15,
    idle_timeout_s: float = 10,
    allowed_types: Sequence[str] = (),
    max_redirects: int = 3,
) -> bytes:
    limits = FetchLimits(
        max_bytes=max_bytes,
        timeout_s=timeout_s,
        idle_timeout_s=idle_timeout_s,
        allowed_types=allowed_types,
        allow_private=allow_private,
        max_redirects=max_redirects,
    )
    async with open_url(url, limits, lookup=names or Names(), tls=tls) as incoming:
        return await incoming.read()


async def hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


# ---------------------------------------------------------------------- as it should be


@async_test
async def test_a_file_arrives_as_it_is() -> None:
    async with serving({"/file": answer(PNG, Content_Type="text/html")}) as server:
        async with open_url(
            server.url("/file?sig=1"), FetchLimits(allow_private=True), tls=NO_TLS
        ) as incoming:
            assert (incoming.host, incoming.size) == ("127.0.0.1", len(PNG))
            assert incoming.media_type == "image/png", "by its content"
            assert await incoming.read() == PNG
    head = server.requests[0].lower()
    assert head.startswith("get /file?sig=1 http/1.1")
    assert "accept-encoding: identity" in head
    assert "cookie" not in head
    assert "authorization" not in head


@async_test
async def test_an_empty_file_is_a_file() -> None:
    async with serving({"/file": answer(b"")}) as server:
        assert await fetch(server.url()) == b""


@async_test
async def test_a_large_file_comes_in_small_pieces() -> None:
    body = bytes(range(256)) * 4096
    async with serving({"/file": answer(body)}) as server:
        limits = FetchLimits(allow_private=True)
        async with open_url(server.url(), limits, tls=NO_TLS) as incoming:
            pieces = [piece async for piece in incoming]
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= 64 * 1024


@async_test
async def test_a_file_exactly_as_large_as_allowed_is_taken_and_one_byte_more_is_not() -> None:
    async with serving({"/file": answer(b"x" * 100)}) as server:
        assert len(await fetch(server.url(), max_bytes=100)) == 100
        with pytest.raises(FileRefused, match="at most 99"):
            await fetch(server.url(), max_bytes=99)


@async_test
async def test_who_stops_reading_leaves_no_connection_behind() -> None:
    async with serving({"/file": answer(b"x" * 5_000_000)}) as server:
        limits = FetchLimits(allow_private=True)
        async with open_url(server.url(), limits, tls=NO_TLS) as incoming:
            async for _ in incoming:
                break
        await server.gone.wait()


# ---------------------------------------------------------------------- where to


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "https"),
        ("file", "https"),
        ("file:///etc/passwd", "begins with 'file'"),
        ("ftp://host/x", "begins with 'ftp'"),
        ("gopher://127.0.0.1:6379/_x", "begins with 'gopher'"),
        ("https:///path", "https"),
        ("https://user:pass@host/x", "user name or a password"),
        ("https://user@host/x", "user name or a password"),
        ("https://host:99999/", "is no URL"),
        ("https://host\r\nX: y/", "is no URL"),
        ("https://[::1/", "is no URL"),
        ("https://2130706433/", "is a number"),
        ("https://0x7f.1/", "is a number"),
        ("https://" + "a" * 9000, "9008 characters"),
    ],
)
@async_test
async def test_an_address_that_is_none_is_refused_before_anything_is_asked(
    url: str, told: str
) -> None:
    names = Names()
    with pytest.raises(FileRefused, match=told):
        await fetch(url, names=names)
    assert names.asked == []


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]"],
)
@async_test
async def test_private_addresses_are_not_asked(address: str) -> None:
    with pytest.raises(FileRefused, match="from where nothing is fetched"):
        await fetch(f"https://{address}/latest/meta-data", allow_private=False)


@async_test
async def test_a_name_that_leads_home_is_not_asked_even_over_https() -> None:
    async with serving({"/file": answer(PNG)}) as server:
        names = Names(evil_test="127.0.0.1")
        with pytest.raises(FileRefused, match="'evil.test' leads to a loopback address"):
            await fetch(
                server.url(host="evil.test", scheme="https"), names=names, allow_private=False
            )
    assert server.requests == []


@async_test
async def test_plain_http_goes_to_loopback_only_and_only_if_private_is_allowed() -> None:
    names = Names(files_test="10.0.0.1", public_test="1.1.1.1")
    for host in ("files.test", "public.test"):
        with pytest.raises(FileRefused, match="plain http"):
            await fetch(f"http://{host}/x", names=names)
    with pytest.raises(FileRefused, match="plain http"):
        await fetch("http://public.test/x", names=names, allow_private=False)


@async_test
async def test_the_name_is_asked_once_and_the_connection_goes_to_the_address_that_was_judged() -> (
    None
):
    async with serving({"/file": answer(PNG)}) as server:
        # Nobody else knows this name, so a second lookup, by anybody, could not succeed.
        names = Names(files_test="127.0.0.1")
        assert await fetch(server.url(host="files.test"), names=names) == PNG
    assert names.asked == ["files.test"]
    assert f"Host: files.test:{server.port}" in server.requests[0]


@async_test
async def test_the_next_address_is_tried_when_nobody_is_at_the_first() -> None:
    async with serving({"/file": answer(PNG)}) as server:
        names = Names(files_test=["127.0.0.2", "127.0.0.1"])
        assert await fetch(server.url(host="files.test"), names=names) == PNG


# ---------------------------------------------------------------------- redirects


def redirect(to: str, status: str = "302 Found") -> bytes:
    return answer(status=status, Location=to)


@pytest.mark.parametrize("status", ["301 X", "302 X", "303 X", "307 X", "308 X"])
@async_test
async def test_redirects_are_followed(status: str) -> None:
    async with serving({"/a": redirect("/b?x=1", status), "/b": answer(PNG)}) as server:
        assert await fetch(server.url("/a")) == PNG


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("http://169.254.169.254/latest/meta-data", "link-local"),
        ("https://169.254.169.254/latest/meta-data", "link-local"),
        ("//169.254.169.254/", "link-local"),
        ("http://10.0.0.1/", "plain http"),
        ("https://inner.test/", "link-local"),
        ("file:///etc/passwd", "begins with 'file'"),
        ("https://user:pass@127.0.0.1/", "password"),
        ("https://host:port/", "no URL"),
        ("https://0x7f000001/", "number"),
    ],
)
@async_test
async def test_a_redirect_is_judged_as_the_first_address_was(to: str, told: str) -> None:
    names = Names(inner_test="169.254.169.254")
    async with serving({"/a": redirect(to)}) as server:
        with pytest.raises(FileRefused, match=told):
            await fetch(server.url("/a"), names=names)


@async_test
async def test_redirects_end_after_three() -> None:
    paths = {f"/{n}": redirect(f"/{n + 1}") for n in range(10)}
    async with serving({**paths, "/10": answer(PNG)}) as server:
        assert await fetch(server.url("/7")) == PNG
        with pytest.raises(FileRefused, match="more than 3 times"):
            await fetch(server.url("/6"))
        with pytest.raises(FileRefused, match="more than 0 times"):
            await fetch(server.url("/9"), max_redirects=0)


@async_test
async def test_a_redirect_to_nowhere_and_an_answer_that_is_no_file_are_refused() -> None:
    paths = {
        "/nowhere": answer(status="302 Found"),
        "/missing": answer(status="404 Not Found"),
        "/part": answer(b"x", status="206 Partial Content"),
    }
    async with serving(dict(paths)) as server:
        with pytest.raises(FileRefused, match="redirects to nowhere"):
            await fetch(server.url("/nowhere"))
        with pytest.raises(FileRefused, match="answered 404; the link may have expired"):
            await fetch(server.url("/missing"))
        with pytest.raises(FileRefused, match="answered 206"):
            await fetch(server.url("/part"))


# ---------------------------------------------------------------------- size


@async_test
async def test_a_size_declared_too_large_is_refused_before_the_body_comes() -> None:
    async def boast(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(length=10**12))
        await hang(writer)

    async with serving({"/file": boast}) as server:
        with pytest.raises(FileRefused, match="has 1000000000000 bytes or more"):
            await fetch(server.url())


@async_test
async def test_a_body_without_a_size_ends_where_it_grows_too_large() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(length=None))
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with serving({"/file": endless}) as server:
        with pytest.raises(FileRefused, match="at most 1000000 are taken"):
            await fetch(server.url())
        await server.gone.wait()


@async_test
async def test_a_body_larger_than_declared_is_cut_where_it_was_declared_to_end() -> None:
    async with serving({"/file": answer(b"x" * 1000, length=10)}) as server:
        assert await fetch(server.url()) == b"x" * 10


@async_test
async def test_a_body_shorter_than_declared_is_no_file() -> None:
    async with serving({"/file": answer(b"x" * 10, length=1000)}) as server:
        with pytest.raises(FileRefused, match="broke off"):
            await fetch(server.url())


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
@async_test
async def test_a_server_that_packs_although_asked_not_to_is_understood(pack: object) -> None:
    body = b"hello" * 1000
    packed = gzip.compress(body) if pack is gzip.compress else zlib.compress(body)
    coding = "gzip" if pack is gzip.compress else "deflate"
    async with serving({"/file": answer(packed, Content_Encoding=coding)}) as server:
        assert await fetch(server.url()) == body


@async_test
async def test_a_bomb_is_counted_as_it_grows() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    async with serving({"/file": answer(bomb, Content_Encoding="gzip")}) as server:
        with pytest.raises(FileRefused, match=r"has 10\d\d\d\d\d bytes or more"):
            await fetch(server.url())


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"x" * 1000, mtime=0)[:-9], b""])
@async_test
async def test_what_is_packed_wrongly_or_cut_short_is_no_file(body: bytes) -> None:
    async with serving({"/file": answer(body, Content_Encoding="gzip")}) as server:
        with pytest.raises(FileRefused, match="packed wrongly or cut short"):
            await fetch(server.url())


@async_test
async def test_a_packing_nobody_asked_for_is_refused() -> None:
    async with serving({"/file": answer(b"x", Content_Encoding="br")}) as server:
        with pytest.raises(FileRefused, match="packs it as 'br'"):
            await fetch(server.url())


# ---------------------------------------------------------------------- time and faults


@async_test
async def test_a_server_that_says_nothing_is_given_up() -> None:
    async with serving({"/file": hang}) as server:
        with pytest.raises(FileRefused, match=r"said nothing for 0\.05 seconds"):
            await fetch(server.url(), idle_timeout_s=0.05)


@async_test
async def test_a_server_that_drips_is_given_up_when_the_time_is_over() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(length=1000))
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.005)

    async with serving({"/file": drip}) as server:
        with pytest.raises(FileRefused, match=r"within 0\.1 seconds"):
            await fetch(server.url(), timeout_s=0.1)
        await server.gone.wait()


@async_test
async def test_a_name_that_takes_its_time_counts_as_well() -> None:
    class Slow(Names):
        async def __call__(self, host: str, port: int) -> Sequence[str]:
            await asyncio.Event().wait()
            return []

    with pytest.raises(FileRefused, match=r"within 0\.05 seconds"):
        await fetch("https://files.test/", names=Slow(), timeout_s=0.05)


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.write(answer(length=1000) + b"some")
    await writer.drain()
    writer.transport.abort()


async def silence(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def nonsense(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\0\1\2 this is no HTTP\r\n\r\n")


async def endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"y" * 1000 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize("behaviour", [reset, silence, nonsense, endless_head])
@async_test
async def test_a_server_that_breaks_off_is_a_refusal_like_any_other(behaviour: object) -> None:
    async with serving({"/file": behaviour}) as server:  # type: ignore[dict-item]  # one of the four above
        with pytest.raises(FileRefused, match="could not be reached, or broke off"):
            await fetch(server.url())


@async_test
async def test_a_port_where_nobody_is_is_a_refusal_like_any_other() -> None:
    async with serving({}) as server:
        pass
    with pytest.raises(FileRefused, match="could not be reached"):
        await fetch(server.url())


@async_test
async def test_a_refusal_tells_the_host_and_nothing_else_of_the_address() -> None:
    async with serving({"/secret": answer(status="403 Forbidden")}) as server:
        with pytest.raises(FileRefused) as refused:
            await fetch(server.url("/secret?signature=hunter2"))
    assert "127.0.0.1" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "hunter2" not in str(refused.value)


@async_test
async def test_a_cancellation_closes_the_connection() -> None:
    started = asyncio.Event()

    async def begin(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(length=900_000))
        started.set()
        while True:  # until there is nobody to write to
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0)

    async with serving({"/file": begin}) as server:
        fetching = asyncio.create_task(fetch(server.url()))
        await started.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await server.gone.wait()


# ---------------------------------------------------------------------- type


@async_test
async def test_a_type_that_is_not_wanted_is_refused_whatever_the_server_calls_it() -> None:
    page = answer(b"<!DOCTYPE html><p>Please log in", Content_Type="image/png")
    async with serving({"/file": page, "/png": answer(PNG, Content_Type="text/html")}) as server:
        with pytest.raises(FileRefused, match=r"is text/html by its content, and image/\* is"):
            await fetch(server.url(), allowed_types=["image/*"])
        assert await fetch(server.url("/png"), allowed_types=["image/*"]) == PNG


@async_test
async def test_a_type_that_is_not_wanted_is_refused_before_the_rest_has_come() -> None:
    async def begin(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(length=900_000) + b"\x7fELF" + b"\0" * 70_000)
        await hang(writer)

    async with serving({"/file": begin}) as server:
        with pytest.raises(FileRefused, match="application/x-elf"):
            await fetch(server.url(), allowed_types=["image/*"])


# ---------------------------------------------------------------------- certificates


def certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=10))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(file)
    return theirs, ssl.create_default_context(cafile=str(file))


async def fetch_over_tls(server: FileServer, host: str, tls: ssl.SSLContext) -> bytes:
    names = Names(files_test="127.0.0.1", other_test="127.0.0.1")
    return await fetch(server.url(host=host, scheme="https"), names=names, tls=tls)


def test_the_certificate_is_checked_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    theirs, ours = certificate("files.test", tmp_path)

    @async_test
    async def check() -> None:
        async with serving({"/file": answer(PNG)}, tls=theirs) as server:
            assert await fetch_over_tls(server, "files.test", ours) == PNG
            for host in ("other.test", "127.0.0.1"):
                with pytest.raises(FileRefused, match="could not be reached"):
                    await fetch_over_tls(server, host, ours)

    check()


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    theirs, _ = certificate("files.test", tmp_path)

    @async_test
    async def check() -> None:
        async with serving({"/file": answer(PNG)}, tls=theirs) as server:
            limits = FetchLimits(allow_private=True)
            url = server.url(host="files.test", scheme="https")
            with pytest.raises(FileRefused, match="could not be reached"):
                async with open_url(url, limits, lookup=Names(files_test="127.0.0.1")):
                    pass
            assert server.requests == []

    check()


# ---------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"max_bytes": -1}, "max_bytes must not be negative, got -1"),
        ({"max_redirects": -1}, "max_redirects must not be negative"),
        ({"timeout_s": 0}, "timeout_s must be seconds above 0, got 0"),
        ({"idle_timeout_s": float("nan")}, "idle_timeout_s must be"),
        ({"allowed_types": ["image"]}, "is no media type"),
    ],
)
def test_limits_that_are_none_are_refused_where_they_are_written(
    wrong: dict[str, int], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        FetchLimits(**wrong)  # type: ignore[arg-type]  # wrong on purpose
