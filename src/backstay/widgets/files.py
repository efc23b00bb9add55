"""Files that widgets take: what they are, where they are, and for how long.

A small file travels in the arguments, as a ``bytes`` field. A large one is referred to: the field is
a ``FileReference``, the client fills it in, and the widget fetches the file when it wants it::

    class PhotoInput(BaseModel):
        photo: FileReference

    async def execute(self, inputs: PhotoInput, ctx):
        async with inputs.photo.as_temp_file(allowed_types=["image/*"]) as path:
            ...
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TypedDict, Unpack

from pydantic import BaseModel, ConfigDict, Field

from backstay.widgets.addresses import Lookup, look_up
from backstay.widgets.file_fetch import FetchLimits, IncomingFile, open_url
from backstay.widgets.file_refusal import FileRefused
from backstay.widgets.file_type import require_type, sniff, suffix_of

__all__ = [
    "FetchOptions",
    "FileReference",
    "FileRefused",
    "TempFile",
    "require_type",
    "sniff",
    "temp_file",
]


class FetchOptions(TypedDict, total=False):
    """How a file is fetched. What is not given is as ``FetchLimits`` has it.

    Attributes:
        max_bytes: its size at most, in bytes (10 MiB).
        timeout_s: seconds for all of it (30).
        idle_timeout_s: seconds to connect and between two pieces (10).
        allowed_types: media types or ranges like ``image/*``, sniffed (any).
        allow_private: loopback and private networks may be asked (no).
        max_redirects: redirects followed at most (3).
    """

    max_bytes: int
    timeout_s: float
    idle_timeout_s: float
    allowed_types: Sequence[str]
    allow_private: bool
    max_redirects: int


class FileReference(BaseModel):
    """A file that the client keeps: the type of a field that ``openai/fileParams`` names.

    Nothing in it is verified: anybody who calls the widget may write whatever they like there.

    Attributes:
        download_url: where to fetch it, for a short while; https. It is a key to the file, so it
            does not show in ``repr``.
        file_id: the client's name for it.
        mime_type: what the client says it is, ``None`` if nothing.
        file_name: what it is called there, ``None`` if unknown. No path on this machine.
        size: how many bytes the client says it has, ``None`` if nothing.
    """

    model_config = ConfigDict(
        extra="ignore",  # clients add to these as they please
        frozen=True,
        json_schema_extra={"description": "A file that the user has given to the client."},
    )

    download_url: str = Field(repr=False)
    file_id: str
    mime_type: str | None = None
    file_name: str | None = None
    size: int | None = Field(default=None, ge=0)

    def open(
        self,
        *,
        lookup: Lookup = look_up,
        tls: ssl.SSLContext | None = None,
        **limits: Unpack[FetchOptions],
    ) -> AbstractAsyncContextManager[IncomingFile]:
        """Fetch it piece by piece: ``async with ref.open() as file: async for piece in file``.

        Args:
            lookup: who is asked for addresses; by default the system.
            tls: what certificates are checked with. ``None`` means the usual authorities, loaded
                for each fetch anew.
            limits: see ``FetchOptions``.

        Raises:
            FileRefused: it is not to be had, too large, too slow, or of another type.
            MissingExtra: httpx2 or puremagic is not installed.
            ValueError: a limit is none.
        """
        bounds = FetchLimits(**limits)
        if self.size is not None and self.size > bounds.max_bytes:
            raise FileRefused(
                f"the file has {self.size} bytes, and at most {bounds.max_bytes} are taken; "
                "give a smaller one"
            )
        return open_url(self.download_url, bounds, name=self.file_name, lookup=lookup, tls=tls)

    async def read(
        self,
        *,
        lookup: Lookup = look_up,
        tls: ssl.SSLContext | None = None,
        **limits: Unpack[FetchOptions],
    ) -> bytes:
        """Fetch it into memory. Arguments and errors are those of ``open``."""
        async with self.open(lookup=lookup, tls=tls, **limits) as incoming:
            return await incoming.read()

    @asynccontextmanager
    async def as_temp_file(
        self,
        *,
        lookup: Lookup = look_up,
        tls: ssl.SSLContext | None = None,
        **limits: Unpack[FetchOptions],
    ) -> AsyncGenerator[Path]:
        """Fetch it onto the disk: a file that is there for the block, and gone after it.

        Gone whatever ends the block, a cancellation included. Arguments and errors are those of
        ``open``.
        """
        async with contextlib.AsyncExitStack() as stack:
            incoming = await stack.enter_async_context(self.open(lookup=lookup, tls=tls, **limits))
            handle, path = _make(suffix_of(incoming.media_type, self.file_name))
            try:
                with os.fdopen(handle, "wb") as file:
                    async for piece in incoming:
                        # At most 64 KiB, into the system's memory: quicker than a thread's turn.
                        file.write(piece)
                await stack.aclose()  # the connection need not wait for the block
                yield path
            finally:
                path.unlink(missing_ok=True)


class TempFile:
    """Bytes as a file on disk for the length of a block, ``with`` or ``async with``.

    Only this user may read it. It is gone after the block whatever ends it, unless the block has
    moved it away.

    Args:
        data: what is in it.
        suffix: how its name ends, like ``".pdf"``. ``None`` means as its content suggests.

    Raises:
        ValueError: the suffix has a path in it.
    """

    def __init__(self, data: bytes, suffix: str | None = None) -> None:
        if suffix is not None and (set(suffix) & {"/", "\\", "\0"}):
            raise ValueError(f"suffix must be like '.pdf', without a path, got {suffix!r}")
        self._data = data
        self._suffix = suffix
        self._path: Path | None = None

    def __enter__(self) -> Path:
        handle = self._create()
        try:
            self._write(handle)
        except BaseException:
            self._remove()
            raise
        assert self._path is not None
        return self._path

    async def __aenter__(self) -> Path:
        handle = self._create()
        try:
            await asyncio.to_thread(self._write, handle)
        except BaseException:
            # The thread may still be at it; what it writes has no name any more.
            self._remove()
            raise
        assert self._path is not None
        return self._path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._remove()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._remove()

    def _create(self) -> int:
        if self._path is not None:
            raise RuntimeError("this temp_file(…) is open already; make one for each block")
        suffix = suffix_of(sniff(self._data)) if self._suffix is None else self._suffix
        handle, self._path = _make(suffix)
        return handle

    def _write(self, handle: int) -> None:
        with os.fdopen(handle, "wb") as file:
            file.write(self._data)

    def _remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None


def temp_file(data: bytes, suffix: str | None = None) -> TempFile:
    """Put bytes on disk for a block.

    As in ``with temp_file(inputs.photo, ".png") as path``; ``async with`` writes in a thread.

    Args:
        data: what is in it.
        suffix: how its name ends. ``None`` means as its content suggests.

    Raises:
        ValueError: the suffix has a path in it.
    """
    return TempFile(data, suffix)


def _make(suffix: str) -> tuple[int, Path]:
    handle, path = tempfile.mkstemp(prefix="backstay-", suffix=suffix)
    return handle, Path(path)
