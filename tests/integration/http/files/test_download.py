"""Files arrive whole or not at all, bounded in memory and on the disk."""

import asyncio
import gzip
import hashlib
import os
import threading
import tracemalloc
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

from backstay.errors import BadAnswer, BadIntegration, UpstreamBusy, UpstreamError
from backstay.integration.http.files.arriving_file import ArrivingFile
from backstay.integration.http.files.download import download
from tests.integration.upstream import Line, Received, Upstream, answer, json_answer
from tests.integration.upstreams.api import api_of
from tests.integration.upstreams.behaviour import (
    busy,
    drips,
    endless_body,
    gzip_bomb,
    hang_in_body,
    packed_wrongly,
    redirect,
    reset_in_body,
    short_body,
    truncated_gzip,
)
from tests.support import async_test

CONTENT = bytes(range(256)) * 3000
MB = 1024 * 1024


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    found: ModuleType = request.param
    return found


@async_test
async def test_a_file_is_where_it_was_wanted_with_its_size_and_checksum(
    tmp_path: Path, module: ModuleType
) -> None:
    whole = answer(CONTENT, headers=[("Content-Type", "Text/CSV; charset=utf-8")])
    async with Upstream(whole) as upstream, api_of(upstream.url, module=module) as api:
        found = await download(api, tmp_path / "report.csv", query={"day": 1}, headers={"X-A": "b"})
        assert upstream.last.target == "/items?day=1"
        assert upstream.last.header("x-a") == "b"
        assert upstream.last.header("accept-encoding") == "identity"
    assert found.path == tmp_path / "report.csv"
    assert found.path.read_bytes() == CONTENT
    assert found.size_bytes == len(CONTENT)
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert found.media_type == "text/csv"
    assert os.listdir(tmp_path) == ["report.csv"]


@async_test
async def test_a_checksum_that_is_right_is_in_any_case_of_letters(tmp_path: Path) -> None:
    wanted = hashlib.sha256(CONTENT).hexdigest().upper()
    async with Upstream(answer(CONTENT)) as upstream, api_of(upstream.url) as api:
        found = await download(api, str(tmp_path / "file"), sha256=wanted)
    assert found.path.read_bytes() == CONTENT


@async_test
async def test_a_file_without_a_length_is_taken_until_its_end(tmp_path: Path) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in (b"ab", b"cde"))
    chunked = answer(chunks + b"0\r\n\r\n", headers=[("Transfer-Encoding", "chunked")], length=None)
    close = answer(b"abcde", headers=[("Connection", "close")], length=None)
    async with Upstream({"/items": [chunked, close]}) as upstream, api_of(upstream.url) as api:
        for _ in range(2):
            await download(api, tmp_path / "file")
            assert (tmp_path / "file").read_bytes() == b"abcde"


@async_test
async def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    async with Upstream(answer(b"")) as upstream, api_of(upstream.url) as api:
        assert (await download(api, tmp_path / "file")).size_bytes == 0
    assert (tmp_path / "file").read_bytes() == b""


@async_test
async def test_a_packed_file_is_unpacked_though_it_was_asked_for_otherwise(
    tmp_path: Path, module: ModuleType
) -> None:
    packed = answer(gzip.compress(CONTENT), headers=[("Content-Encoding", "gzip")])
    async with Upstream(packed) as upstream, api_of(upstream.url, module=module) as api:
        assert (await download(api, tmp_path / "file")).size_bytes == len(CONTENT)
        assert (tmp_path / "file").read_bytes() == CONTENT


BAD: dict[str, tuple[Any, str]] = {
    "too large, as it says": (answer(bytes(2 * MB)), f"a file of {2 * MB} bytes, and at most"),
    "too large, and does not say": (endless_body, "a file of more bytes, and at most"),
    "too large when it is unpacked": (gzip_bomb(256 * MB), "a file of more bytes, and at most"),
    "packed in an unknown way": (
        answer(b"x", headers=[("Content-Encoding", "br")]),
        "packed as 'br'",
    ),
    "packed twice": (answer(b"x", headers=[("Content-Encoding", "gzip, gzip")]), "although asked"),
    "packed wrongly": (packed_wrongly(), "packed wrongly"),
    "cut short": (truncated_gzip(), "cut short"),
    "no file": (answer(b"", "204 No Content", length=None), "answered 204 with no file"),
    "a part": (answer(b"x", 206), "answered 206 with no file"),
    "elsewhere": (redirect("/other"), "answered 302, which leads elsewhere"),
}


@pytest.mark.parametrize("case", BAD)
@async_test
async def test_what_will_not_do_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, module: ModuleType, case: str
) -> None:
    script, message = BAD[case]
    (tmp_path / "file").write_text("old")
    async with Upstream(script) as upstream, api_of(upstream.url, module=module) as api:
        with pytest.raises(BadAnswer, match=message) as raised:
            await download(api, tmp_path / "file", max_bytes=MB)
        assert raised.value.endpoint == "Shop.list_items"
        assert raised.value.answered is not None
        await upstream.until(lambda up: not up.open_connections or up.requests[-1].path == "/items")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("behaviour", [short_body, reset_in_body], ids=["short", "reset"])
@async_test
async def test_a_file_that_breaks_off_is_the_clients_error_and_leaves_nothing(
    tmp_path: Path, module: ModuleType, behaviour: Any
) -> None:
    async with Upstream(behaviour) as upstream, api_of(upstream.url, module=module) as api:
        with pytest.raises(module.TransportError):
            await download(api, tmp_path / "file")
    assert os.listdir(tmp_path) == []


@async_test
async def test_another_checksum_is_refused_and_both_are_named(tmp_path: Path) -> None:
    async with Upstream(answer(b"abc")) as upstream, api_of(upstream.url) as api:
        with pytest.raises(BadAnswer, match="SHA-256 is ba7816bf.*, and not 0{64}"):
            await download(api, tmp_path / "file", sha256="0" * 64)
    assert os.listdir(tmp_path) == []


@async_test
async def test_as_many_bytes_as_may_be_are_taken(tmp_path: Path) -> None:
    async with Upstream(answer(b"abc")) as upstream, api_of(upstream.url) as api:
        assert (await download(api, tmp_path / "file", max_bytes=3)).size_bytes == 3
        with pytest.raises(BadAnswer, match="at most 2"):
            await download(api, tmp_path / "file", max_bytes=2)


@async_test
async def test_an_error_is_raised_with_its_model(tmp_path: Path) -> None:
    script = {"/items": [json_answer({"reason": "gone"}, 404), busy("7", 503)]}
    async with Upstream(script) as upstream, api_of(upstream.url) as api:
        with pytest.raises(UpstreamError, match="404") as raised:
            await download(api, tmp_path / "file")
        assert raised.value.error.reason == "gone"  # type: ignore[attr-defined]
        with pytest.raises(UpstreamBusy):
            await download(api, tmp_path / "file")
    assert os.listdir(tmp_path) == []


@async_test
async def test_options_that_make_no_sense_are_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    async with Upstream() as upstream, api_of(upstream.url) as api:
        with pytest.raises(BadIntegration, match="max_bytes"):
            await download(api, tmp_path / "file", max_bytes=-1)
        with pytest.raises(BadIntegration, match="64 hexadecimal digits"):
            await download(api, tmp_path / "file", sha256="abc")
        with pytest.raises(BadIntegration, match="a folder"):
            await download(api, "")
        assert upstream.requests == []


@async_test
async def test_a_folder_that_is_not_there_is_the_systems_error(tmp_path: Path) -> None:
    async with Upstream(answer(b"abc")) as upstream, api_of(upstream.url) as api:
        with pytest.raises(FileNotFoundError):
            await download(api, tmp_path / "nowhere" / "file")
        await api.send()


@async_test
async def test_a_cancelled_download_leaves_no_file_and_no_connection(
    tmp_path: Path, module: ModuleType
) -> None:
    async with Upstream(hang_in_body) as upstream, api_of(upstream.url, module=module) as api:
        call = asyncio.create_task(download(api, tmp_path / "file"))
        await upstream.until(lambda up: len(up.requests) == 1)
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await upstream.until(lambda up: up.open_connections == 0)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("step", ["open", "write", "put_in_place", "close"])
@async_test
async def test_a_thread_at_work_is_waited_for_by_who_is_cancelled_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    loop = asyncio.get_running_loop()
    at_work, go_on = asyncio.Event(), threading.Event()
    real = getattr(ArrivingFile, step)
    files: list[ArrivingFile] = []

    def slow(self: ArrivingFile, *args: Any) -> None:
        files.append(self)
        loop.call_soon_threadsafe(at_work.set)
        go_on.wait()
        real(self, *args)

    monkeypatch.setattr(ArrivingFile, step, slow)
    async with Upstream(answer(b"abc")) as upstream, api_of(upstream.url) as api:
        call = asyncio.create_task(download(api, tmp_path / "file"))
        await at_work.wait()
        for _ in range(3):
            call.cancel()
            await asyncio.sleep(0)
            assert not call.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert files[0]._file == -1, "closed"
    # It had arrived before somebody thought better of it, or it never did.
    assert os.listdir(tmp_path) == (["file"] if step in {"put_in_place", "close"} else [])


@async_test
async def test_what_the_disk_says_is_raised_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ArrivingFile, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArrivingFile, "write", full)
    async with Upstream(answer(b"abc")) as upstream, api_of(upstream.url) as api:
        with pytest.raises(OSError, match="No space left"):
            await download(api, tmp_path / "file")
    assert os.listdir(tmp_path) == []


@async_test
async def test_several_downloads_of_one_file_leave_one_whole_file(tmp_path: Path) -> None:
    async with Upstream(answer(CONTENT)) as upstream, api_of(upstream.url) as api:
        await asyncio.gather(*(download(api, tmp_path / "file") for _ in range(10)))
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == CONTENT


@async_test
async def test_a_dripping_file_arrives(tmp_path: Path) -> None:
    async with (
        Upstream(drips(answer(b"a byte at a time"))) as upstream,
        api_of(upstream.url) as api,
    ):
        await download(api, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"a byte at a time"


@async_test
async def test_an_answer_that_never_was_on_a_network_is_a_file_too(
    tmp_path: Path, module: ModuleType
) -> None:
    def replay(request: Any) -> Any:
        packed = gzip.compress(b"replayed")
        return module.Response(200, content=packed, headers={"Content-Encoding": "gzip"})

    transport = module.MockTransport(replay)
    async with api_of("http://shop.test", module=module, transport=transport) as api:
        await download(api, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"replayed"


@async_test
async def test_memory_does_not_grow_with_the_file(tmp_path: Path, module: ModuleType) -> None:
    piece = os.urandom(64 * 1024)

    async def large(line: Line, request: Received) -> None:
        await line.send(answer(length=50 * MB))
        for _ in range(50 * MB // len(piece)):
            await line.send(piece)

    async with Upstream(large) as upstream, api_of(upstream.url, module=module) as api:
        tracemalloc.start()
        try:
            found = await download(api, tmp_path / "file")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert found.size_bytes == (tmp_path / "file").stat().st_size == 50 * MB
    assert peak < 4 * MB
