"""Files as widgets meet them."""

from __future__ import annotations

import asyncio
import ssl
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from backstay.widgets.files import FileReference, FileRefused, temp_file
from tests.support import async_test
from tests.widgets.file_server import FileServer, Names, answer, serving

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # for plain http: loads no authorities


def refer(server: FileServer, *, name: str | None = None, size: int | None = None) -> FileReference:
    return FileReference(download_url=server.url(), file_id="f_1", file_name=name, size=size)


# ---------------------------------------------------------------------- references


@async_test
async def test_what_is_referred_to_is_read() -> None:
    async with serving({"/file": answer(PNG)}) as server:
        found = await refer(server).read(allow_private=True, tls=NO_TLS, allowed_types=["image/*"])
    assert found == PNG


@async_test
async def test_what_is_referred_to_comes_in_pieces() -> None:
    async with serving({"/file": answer(PNG)}) as server:
        async with refer(server).open(allow_private=True, tls=NO_TLS) as incoming:
            assert incoming.media_type == "image/png"
            assert [piece async for piece in incoming] == [PNG]


@async_test
async def test_without_a_word_on_it_nothing_private_is_asked() -> None:
    async with serving({"/file": answer(PNG)}) as server:
        with pytest.raises(FileRefused, match="loopback"):
            await refer(server).read(tls=NO_TLS)
    assert server.requests == []


@async_test
async def test_a_size_that_is_too_large_already_is_not_fetched() -> None:
    async with serving({"/file": answer(PNG)}) as server:
        with pytest.raises(FileRefused, match="has 1001 bytes, and at most 1000"):
            await refer(server, size=1001).read(allow_private=True, max_bytes=1000, tls=NO_TLS)
    assert server.requests == []


@async_test
async def test_a_size_that_is_a_lie_does_not_help() -> None:
    async with serving({"/file": answer(PNG)}) as server:
        with pytest.raises(FileRefused, match="at most 10 are taken"):
            await refer(server, size=5).read(allow_private=True, max_bytes=10, tls=NO_TLS)


@async_test
async def test_the_name_given_is_asked_of_whom_it_is_said() -> None:
    names = Names(files_test="127.0.0.1")
    async with serving({"/file": answer(PNG)}) as server:
        ref = FileReference(download_url=server.url(host="files.test"), file_id="f_1")
        assert await ref.read(allow_private=True, lookup=names, tls=NO_TLS) == PNG
    assert names.asked == ["files.test"]


@async_test
async def test_a_temporary_file_is_there_for_the_block_and_gone_after_it() -> None:
    async with serving({"/file": answer(PNG)}) as server:
        ref = refer(server, name="../../photo.PNG")
        async with ref.as_temp_file(allow_private=True, tls=NO_TLS) as path:
            assert path.read_bytes() == PNG
            assert path.suffix == ".png"
            assert ".." not in path.parts
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not path.exists()


@async_test
async def test_the_connection_is_closed_while_the_block_works() -> None:
    async with serving({"/file": answer(PNG)}) as server:
        async with refer(server).as_temp_file(allow_private=True, tls=NO_TLS):
            await server.gone.wait()


@async_test
async def test_a_block_that_fails_leaves_no_file() -> None:
    left: list[Path] = []

    async def fail(ref: FileReference) -> None:
        async with ref.as_temp_file(allow_private=True, tls=NO_TLS) as path:
            left.append(path)
            raise ZeroDivisionError

    async with serving({"/file": answer(PNG)}) as server:
        with pytest.raises(ZeroDivisionError):
            await fail(refer(server))
    assert not left[0].exists()


@async_test
async def test_a_block_that_is_cancelled_leaves_no_file() -> None:
    left: list[Path] = []
    inside = asyncio.Event()

    async def work(ref: FileReference) -> None:
        async with ref.as_temp_file(allow_private=True, tls=NO_TLS) as path:
            left.append(path)
            inside.set()
            await asyncio.Event().wait()

    async with serving({"/file": answer(PNG)}) as server:
        working = asyncio.create_task(work(refer(server)))
        await inside.wait()
        assert left[0].exists()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    assert not left[0].exists()


def test_a_fetch_that_is_cancelled_or_refused_half_way_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    @async_test
    async def check() -> None:
        begun = asyncio.Event()

        async def begin(writer: asyncio.StreamWriter) -> None:
            writer.write(answer(length=900_000) + b"x" * 200_000)
            await writer.drain()
            begun.set()
            await asyncio.Event().wait()

        async def fetch(ref: FileReference) -> None:
            async with ref.as_temp_file(allow_private=True, tls=NO_TLS):
                raise AssertionError("the file cannot have come")

        async def break_off(writer: asyncio.StreamWriter) -> None:
            writer.write(answer(length=900_000) + b"x" * 200_000)
            await writer.drain()

        async with serving({"/file": begin}) as server:
            fetching = asyncio.create_task(fetch(refer(server)))
            await begun.wait()
            while not list(tmp_path.iterdir()):  # the file is made when its beginning has come
                await asyncio.sleep(0)
            fetching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetching
        assert list(tmp_path.iterdir()) == []
        async with serving({"/file": break_off}) as server:
            with pytest.raises(FileRefused):
                await fetch(refer(server))
        assert list(tmp_path.iterdir()) == []

    check()


def test_a_reference_keeps_its_address_to_itself() -> None:
    ref = FileReference(download_url="https://host/key?sig=hunter2", file_id="f_1")
    assert "hunter2" not in repr(ref)


def test_clients_may_add_to_a_reference() -> None:
    ref = FileReference.model_validate(
        {"download_url": "https://host/x", "file_id": "f_1", "thumbnail": "x"}
    )
    assert (ref.mime_type, ref.file_name, ref.size) == (None, None, None)
    with pytest.raises(ValidationError):
        FileReference.model_validate({"file_id": "f_1"})


# ---------------------------------------------------------------------- bytes on disk


def test_bytes_are_on_disk_for_the_block() -> None:
    with temp_file(PNG) as path:
        assert path.read_bytes() == PNG
        assert path.suffix == ".png", "as its content suggests"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


@async_test
async def test_bytes_are_on_disk_for_an_async_block() -> None:
    async with temp_file(b"x", ".bin") as path:
        assert path.read_bytes() == b"x"
        assert path.suffix == ".bin"
    assert not path.exists()


def test_a_file_that_the_block_has_moved_away_is_the_blocks(tmp_path: Path) -> None:
    with temp_file(PNG) as path:
        path.rename(tmp_path / "kept.png")
    assert (tmp_path / "kept.png").read_bytes() == PNG


def test_bytes_leave_the_disk_when_the_block_fails() -> None:
    left: list[Path] = []

    def fail() -> None:
        with temp_file(PNG) as path:
            left.append(path)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not left[0].exists()


@async_test
async def test_bytes_leave_the_disk_when_the_block_is_cancelled() -> None:
    left: list[Path] = []
    inside = asyncio.Event()

    async def work() -> None:
        async with temp_file(PNG) as path:
            left.append(path)
            inside.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await inside.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert not left[0].exists()


def test_a_cancellation_while_it_is_written_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    @async_test
    async def check() -> None:
        async def work() -> None:
            async with temp_file(b"x" * 5_000_000, ".bin"):
                await asyncio.Event().wait()

        working = asyncio.create_task(work())
        await asyncio.sleep(0)  # it has made the file and handed it to a thread
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    check()
    assert list(tmp_path.iterdir()) == []


def test_one_file_is_for_one_block_at_a_time() -> None:
    file = temp_file(PNG)
    with file:
        with pytest.raises(RuntimeError, match="open already"), file:
            pass
    with file as path:
        assert path.exists()


@pytest.mark.parametrize("suffix", ["/../x", "\\x", "a\0"])
def test_a_suffix_is_no_path(suffix: str) -> None:
    with pytest.raises(ValueError, match="without a path"):
        temp_file(PNG, suffix)
