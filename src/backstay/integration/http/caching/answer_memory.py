"""Answers kept in memory."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from dataclasses import replace
from typing import Final

import hishel

from backstay.integration.http.caching.answer_storage import AnswerStorage, KeptAnswer

__all__ = ["AnswerMemory"]

_MOST_OF_A_KEY: Final = 32


class AnswerMemory(AnswerStorage):
    """Keeps what was used last, up to a size.

    Args:
        max_bytes: see ``AnswerStorage``.
        max_answer_bytes: see ``AnswerStorage``.
    """

    def __init__(self, *, max_bytes: int, max_answer_bytes: int) -> None:
        super().__init__(max_bytes=max_bytes, max_answer_bytes=max_answer_bytes)
        self._kept: OrderedDict[uuid.UUID, KeptAnswer] = OrderedDict()
        self._by_key: dict[str, list[uuid.UUID]] = {}
        self.size_bytes = 0

    async def keep(self, kept: KeptAnswer) -> None:
        self._kept[kept.id] = kept
        ids = self._by_key.setdefault(kept.key, [])
        ids.append(kept.id)
        self.size_bytes += kept.size_bytes
        if len(ids) > _MOST_OF_A_KEY:
            self._drop(ids[0])
        while self.size_bytes > self.max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, id_: uuid.UUID) -> None:
        kept = self._kept.pop(id_, None)
        if kept is None:
            return
        self.size_bytes -= kept.size_bytes
        ids = self._by_key[kept.key]
        ids.remove(id_)
        if not ids:
            del self._by_key[kept.key]

    async def get_entries(self, key: str) -> list[hishel.Entry]:
        now = time.time()
        found = []
        # The latest first: of two with the same date that one is taken.
        for id_ in reversed(list(self._by_key.get(key, ()))):
            kept = self._kept[id_]
            if kept.expires_at is not None and kept.expires_at <= now:
                self._drop(id_)
                continue
            kept.expires_at = self._expires_at(kept.deadline, kept.idle_s, now)
            self._kept.move_to_end(id_)
            found.append(kept.entry())
        return found

    async def update_headers(self, id: uuid.UUID, headers: hishel.Headers) -> None:  # noqa: A002  # hishel's name
        kept = self._kept.get(id)
        if kept is not None:
            kept.response = replace(kept.response, headers=headers)

    async def remove_entry(self, id: uuid.UUID) -> None:  # noqa: A002  # hishel's name
        self._drop(id)

    async def close(self) -> None:
        self._kept.clear()
        self._by_key.clear()
        self.size_bytes = 0
