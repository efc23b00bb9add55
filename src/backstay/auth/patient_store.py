"""A store that answers soon, or says that it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextvars import Context as Variables
from datetime import datetime
from typing import Any, TypeVar

from backstay.auth.port import ApiKeyRecord, AuthStore, RefreshRecord, Revocation, Rotation
from backstay.errors import TokensUncheckable

__all__ = ["PatientStore"]

T = TypeVar("T")


class PatientStore:
    """An ``AuthStore`` that asks another, and is patient for so long and no longer.

    A call that takes longer is cancelled, and nobody waits for that either: to be rid of a
    connection to a database that hangs takes a while of its own. A store does all of a call or
    nothing, so what was cancelled leaves nothing half done. Opening, closing and pruning may take
    as long as they do, for no client waits for them.

    Args:
        store: the other.
        patience_s: seconds that each call may take, above 0.
    """

    def __init__(self, store: AuthStore, *, patience_s: float) -> None:
        self._store = store
        self._patience_s = patience_s
        self._given_up: set[asyncio.Task[Any]] = set()

    async def _soon(self, call: Coroutine[Any, Any, T]) -> T:
        loop = asyncio.get_running_loop()
        task, enough = loop.create_task(call), loop.create_future()
        # In a context of its own (PEP 567): the event loop keeps a timer that was cancelled until
        # its time has come, and with it the request that it was made for.
        timer = loop.call_later(self._patience_s, enough.cancel, context=Variables())
        try:
            await asyncio.wait({task, enough}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._give_up(task)
            raise
        finally:
            timer.cancel()
        if task.done():
            return task.result()
        self._give_up(task)
        raise TokensUncheckable(
            f"the store of sessions and keys has not answered within {self._patience_s:g} s "
            "(STORE_PATIENCE_SECONDS)"
        )

    def _give_up(self, task: asyncio.Task[Any]) -> None:
        # Kept, for the event loop holds on to no task by itself.
        self._given_up.add(task)
        task.add_done_callback(self._forget)
        task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._given_up.discard(task)
        if not task.cancelled():
            task.exception()  # has been seen

    # ------------------------------------------------------------------ as long as it takes

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=self._patience_s)
        await self._store.close()

    async def prune(self, *, now: datetime) -> int:
        return await self._store.prune(now=now)

    # ------------------------------------------------------------------ soon

    async def add_refresh(self, record: RefreshRecord) -> None:
        await self._soon(self._store.add_refresh(record))

    async def rotate_refresh(
        self, digest: bytes, successor: RefreshRecord, *, now: datetime, reuse_s: float = 0.0
    ) -> Rotation:
        return await self._soon(
            self._store.rotate_refresh(digest, successor, now=now, reuse_s=reuse_s)
        )

    async def find_refresh(self, digest: bytes) -> RefreshRecord | None:
        return await self._soon(self._store.find_refresh(digest))

    async def end_session(self, session: str, *, now: datetime) -> bool:
        return await self._soon(self._store.end_session(session, now=now))

    async def end_sessions(self, subject: str, *, now: datetime) -> list[str]:
        return await self._soon(self._store.end_sessions(subject, now=now))

    async def sessions(self, subject: str, *, now: datetime) -> Sequence[RefreshRecord]:
        return await self._soon(self._store.sessions(subject, now=now))

    async def revoke(self, *revocations: Revocation, now: datetime) -> None:
        await self._soon(self._store.revoke(*revocations, now=now))

    async def revocations(
        self, *, now: datetime, since: datetime | None = None
    ) -> Sequence[Revocation]:
        return await self._soon(self._store.revocations(now=now, since=since))

    async def add_api_key(self, record: ApiKeyRecord) -> None:
        await self._soon(self._store.add_api_key(record))

    async def find_api_key(self, key_id: str) -> ApiKeyRecord | None:
        return await self._soon(self._store.find_api_key(key_id))

    async def api_keys(self, owner: str | None = None) -> Sequence[ApiKeyRecord]:
        return await self._soon(self._store.api_keys(owner))

    async def revoke_api_key(self, key_id: str, *, now: datetime) -> bool:
        return await self._soon(self._store.revoke_api_key(key_id, now=now))

    async def touch_api_key(self, key_id: str, *, now: datetime) -> None:
        await self._soon(self._store.touch_api_key(key_id, now=now))
