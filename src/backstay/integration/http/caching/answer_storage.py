"""Where answers are kept, for the library that knows when they may be: a storage of hishel's."""

from __future__ import annotations

import time
import uuid
from abc import abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final

from backstay.errors import MissingExtra

try:
    import hishel
except ImportError as missing:
    raise MissingExtra("http-cache", "hishel") from missing

__all__ = ["AnswerStorage", "ENTRY_BYTES", "KeptAnswer"]

ENTRY_BYTES: Final = 2048
"""What keeping one costs beside its body, about."""


@dataclass(slots=True)
class KeptAnswer:
    """One answer, whole.

    Attributes:
        id: of this one.
        key: what it is found by; several answers to one key differ in what they vary with.
        request: what it answers, without its body.
        response: the answer, without its body.
        body: as it travelled.
        deadline: when it ends, however it is used; seconds since 1970, ``None`` for never.
        idle_s: after how many seconds without use it ends, ``None`` for never.
        expires_at: when it ends unless it is used before.
    """

    id: uuid.UUID
    key: str
    request: hishel.Request
    response: hishel.Response
    body: bytes
    deadline: float | None
    idle_s: float | None
    expires_at: float | None

    @property
    def size_bytes(self) -> int:
        """What it takes up."""
        return len(self.body) + len(self.request.url) + ENTRY_BYTES

    def entry(self) -> hishel.Entry:
        """As hishel takes it."""
        return hishel.Entry(
            id=self.id,
            request=self.request,
            response=replace(self.response, stream=_once(self.body)),
        )


class AnswerStorage(hishel.AsyncBaseStorage):
    """Keeps an answer when all of it has been read, in one piece.

    hishel's own ones write piece by piece; its file of SQLite's loses answers, and says so at
    length, when two write to it at once.

    Args:
        max_bytes: of all answers together.
        max_answer_bytes: of one body; larger ones are passed on and not kept.
    """

    def __init__(self, *, max_bytes: int, max_answer_bytes: int) -> None:
        super().__init__(max_stream_size=max_answer_bytes)
        self.max_bytes = max_bytes
        self.max_answer_bytes = max_answer_bytes

    @abstractmethod
    async def keep(self, kept: KeptAnswer) -> None:
        """Put it where ``get_entries`` finds it, and what was used longest ago out."""

    async def create_entry(
        self,
        request: hishel.Request,
        response: hishel.Response,
        key: str,
        *,
        ttl: float | None = None,
        tti: float | None = None,
    ) -> hishel.Entry:
        deadline, idle_s = self._limits(ttl, tti, time.time())  # as all of hishel tells the time
        kept = KeptAnswer(
            uuid.uuid4(), key, request, replace(response, stream=None), b"", deadline, idle_s, None
        )
        return hishel.Entry(
            id=kept.id,
            request=request,
            response=replace(response, stream=self._read(kept, response)),
        )

    async def _read(self, kept: KeptAnswer, response: hishel.Response) -> AsyncIterator[bytes]:
        pieces: list[bytes] | None = []
        size = 0
        if response.stream is not None:
            assert isinstance(response.stream, AsyncIterator)
            async for piece in response.stream:
                size += len(piece)
                if size > self.max_answer_bytes:
                    pieces = None
                if pieces is not None:
                    pieces.append(piece)
                yield piece
        if pieces is None:
            return
        kept.body = b"".join(pieces)
        if kept.size_bytes <= self.max_bytes:
            kept.expires_at = self._expires_at(kept.deadline, kept.idle_s, time.time())
            await self.keep(kept)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
