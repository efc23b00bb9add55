"""Answers that are files, on their way to the disk."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from backstay.errors import BadAnswer, BadIntegration
from backstay.integration.http.api import ApiHTTP, Query
from backstay.integration.http.files.arriving_file import ArrivingFile
from backstay.integration.http.unpacking import CODINGS, Unpacking

__all__ = ["Download", "download"]

P = ParamSpec("P")
R = TypeVar("R")

_TOGETHER: Final = 256 * 1024
"""How much is written at once; each time is a way to a thread and back."""
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_WITHOUT_FILE: Final = frozenset({204, 205, 206})


@dataclass(frozen=True, slots=True)
class Download:
    """A file that has arrived.

    Attributes:
        path: where it is.
        size_bytes: of the file.
        sha256: of the file, in hexadecimal digits.
        media_type: as the answer says, without parameters; ``None`` if it does not.
    """

    path: Path
    size_bytes: int
    sha256: str
    media_type: str | None


async def download(
    api: ApiHTTP,
    to: str | Path,
    *,
    max_bytes: int = 1024**3,
    sha256: str | None = None,
    query: Query | None = None,
    headers: Mapping[str, str] | None = None,
    **send_options: Any,
) -> Download:
    """Ask the endpoint for a file, and put it where it belongs when it is whole.

    Memory holds a few hundred KiB of it at a time. It is written beside its place, and is on the disk
    before it is in its place, replacing what was there. Whatever goes wrong before, a cancellation or
    the end of the process included, leaves all as it was.

    Args:
        api: of the endpoint.
        to: where it will be. Its folder is there already.
        max_bytes: no more than so many are taken, counted after unpacking. Default: 1 GiB.
        sha256: what it has to have, in hexadecimal digits; ``None`` if nobody knows.
        query: see ``api.stream``.
        headers: of the request. It asks for the file not to be packed, unless they say otherwise.
        send_options: see ``api.stream``.

    Raises:
        BadAnswer: it is larger, or shorter than the answer says, packed wrongly, or has another
            checksum; or the answer has no file.
        UpstreamError: the answer is an error.
        OSError: the disk is full, for one.
        BadIntegration: an option makes no sense.
    """
    if max_bytes < 0:
        raise BadIntegration(f"download(max_bytes=) is not negative; got {max_bytes}")
    if sha256 is not None and _SHA256.fullmatch(sha256) is None:
        raise BadIntegration(f"download(sha256=) is 64 hexadecimal digits; got {sha256!r}")
    place = Path(to)
    if not place.name:
        raise BadIntegration(f"download(to=) is where the file will be; got {str(to)!r}, a folder")
    sent = dict(headers or {})
    if not any(name.lower() == "accept-encoding" for name in sent):
        sent["Accept-Encoding"] = "identity"
    async with api.stream(query=query, headers=sent, **send_options) as response:
        arrival = _Arrival(response, api.endpoint.label, max_bytes)
        file = ArrivingFile(place)
        try:
            await _in_thread(file.open)
            await arrival.write_to(file)
            if sha256 is not None and file.sha256 != sha256.lower():
                raise arrival.bad(f"a file whose SHA-256 is {file.sha256}, and not {sha256}")
            await _in_thread(file.put_in_place)
            return Download(place, file.size_bytes, file.sha256, arrival.media_type)
        finally:
            await _in_thread(file.close)


class _Arrival:
    """One answer whose body is a file."""

    def __init__(self, response: Any, label: str, max_bytes: int) -> None:
        self._response = response
        self._label = label
        self._max_bytes = max_bytes
        status = response.status_code
        if status >= 300 or status in _WITHOUT_FILE:
            raise self.bad("no file")
        coding = response.headers.get("content-encoding", "").strip().lower()
        if coding not in CODINGS:
            raise self.bad(f"a file packed as {coding[:40]!r}, although asked not to")
        self._unpacking = Unpacking(coding)
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.media_type: str | None = media_type or None
        self._declared = self._declared_bytes()
        # Packed, it may be larger than it says; hardly ever smaller, and then it is refused later.
        if CODINGS[coding] == 0 and (self._declared or 0) > max_bytes:
            raise self._too_large(self._declared)

    async def write_to(self, file: ArrivingFile) -> None:
        size = 0
        waiting = bytearray()
        async for piece in self._pieces():
            size += len(piece)
            if size > self._max_bytes:
                raise self._too_large(None)
            waiting += piece
            if len(waiting) >= _TOGETHER:
                await _in_thread(file.write, bytes(waiting))
                waiting.clear()
        if waiting:
            await _in_thread(file.write, bytes(waiting))

    async def _pieces(self) -> AsyncIterator[bytes]:
        if getattr(self._response, "is_stream_consumed", False):
            # It never came over a network, as where a test answers: read, and unpacked, by now.
            yield self._response.content
            return
        came = 0
        async with aclosing(self._response.aiter_raw()) as raw:
            async for piece in raw:
                came += len(piece)
                for part in self._unpacked(piece):
                    yield part
        try:
            self._unpacking.end()
        except ValueError as error:
            raise self.bad(f"a packed file, and {error}") from error
        if self._declared is not None and came != self._declared:
            raise self.bad(f"{came} bytes of a file, and Content-Length says {self._declared}")

    def _unpacked(self, piece: bytes) -> Iterator[bytes]:
        try:
            yield from self._unpacking.add(piece)
        except ValueError as error:
            raise self.bad(f"a packed file, and {error}") from error

    def bad(self, what: str) -> BadAnswer:
        status = self._response.status_code
        return BadAnswer(
            f"{self._label} answered {status} with {what}", endpoint=self._label, answered=status
        )

    def _too_large(self, size: int | None) -> BadAnswer:
        found = "more" if size is None else f"{size}"
        return self.bad(f"a file of {found} bytes, and at most {self._max_bytes} are taken")

    def _declared_bytes(self) -> int | None:
        headers = self._response.headers
        text = headers.get("content-length", "")
        if headers.get("transfer-encoding") or not (text.isascii() and text.isdecimal()):
            return None
        return int(text) if len(text) < 20 else None


async def _in_thread(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call ``func`` in a thread, and be there until it is back, also if that is cancelled.

    Otherwise a file would be closed while a thread writes to it.
    """
    call = asyncio.ensure_future(asyncio.to_thread(func, *args, **kwargs))
    cancelled: asyncio.CancelledError | None = None
    while not call.done():
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        call.exception()  # has been seen, and goes second
        raise cancelled
    return call.result()
