"""Sessions, revocations and API keys in a database: SQLite's or PostgreSQL's, for all processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from backstay.auth.port import ApiKeyRecord, RefreshRecord, Revocation, Rotation, Turn
from backstay.auth.rotation import Family, judge_turn
from backstay.auth.store_tables import AuthTables
from backstay.db.database import Database
from backstay.errors import BackstayError, BadAuth, MissingExtra, TokensUncheckable

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.exc import DBAPIError, IntegrityError
    from sqlalchemy.ext.asyncio import AsyncConnection
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["DatabaseAuthStore"]

_INSERTS: Mapping[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_BATCH = 500
_CONNECTIONS = 4
_TRIES = 5
# Serializable and repeatable-read engines refuse one of two that meet: serialization_failure and
# deadlock_detected.
_MET = frozenset({"40001", "40P01"})
_FORBIDDEN = "42501"  # insufficient_privilege


class _Overtaken(Exception):
    """Somebody else exchanged the token in between."""


class DatabaseAuthStore:
    """An ``AuthStore`` in a database, whose transactions are its own, never a request's.

    A database that is shared with the app is reached by a few connections of its own
    (``Database.apart``), from ``open`` to ``close``. Or else whoever keeps all of the app's busy
    would have every token refused.

    Args:
        database: where; its tables are made by ``open``.
        prefix: in front of the tables' names: lower-case letters, digits and underscores.
        owned: ``close`` closes the database, too.

    Raises:
        BadAuth: it is neither SQLite nor PostgreSQL, or the prefix is no plain name.
    """

    def __init__(
        self, database: Database, *, prefix: str = "backstay_", owned: bool = False
    ) -> None:
        if database.dialect not in _INSERTS:
            raise BadAuth(
                f"sessions and keys are kept in SQLite or PostgreSQL; {database.url} is neither"
            )
        self._given = self._database = database
        self._prefix = prefix
        self._owned = owned
        self._tables = tables = AuthTables(prefix)
        sessions, refresh = tables.sessions, tables.refresh
        # What a record and a family are made of, in that order.
        self._records = sa.select(
            refresh.c.digest,
            refresh.c.session,
            sessions.c.subject,
            sessions.c.scopes,
            refresh.c.issued_at,
            refresh.c.expires_at,
            sessions.c.begun_at,
            refresh.c.used_at,
            sessions.c.latest,
            sessions.c.parent,
            sessions.c.ended_at,
        ).join_from(refresh, sessions, refresh.c.session == sessions.c.session)
        self._by_digest = self._records.where(refresh.c.digest == sa.bindparam("digest"))
        self._api_keys = sa.select(*tables.api_keys.c)

    async def open(self) -> None:
        """Make the tables, if they are missing. Several processes may do so at once.

        Raises:
            BadAuth: what stands there is not ours, or of another version.
            TokensUncheckable: the database is out of reach, or this role may not make them.
        """
        if not self._owned and self._database is self._given:
            self._database = self._given.apart(connections=_CONNECTIONS)
        try:
            await self._make_tables()
        except BaseException:
            await self.close()
            raise

    async def _make_tables(self) -> None:
        with self._checked():
            async with self._database.reading() as connection:
                there = await connection.run_sync(self._tables.are_there, self._database.url)
            if there:
                return
            try:
                async with self._database.async_engine.begin() as connection:
                    await connection.run_sync(self._tables.make, self._database.url)
            except DBAPIError as error:
                if _state(error) != _FORBIDDEN:
                    raise
                raise TokensUncheckable(
                    f"the tables of sessions and keys are missing in {self._database.url}, and "
                    "this role may not make them; let one with CREATE rights start once, or run "
                    "what this prints: python -c 'from backstay.auth.store_tables import ddl; "
                    f'print(ddl("{self._prefix}"))\', then GRANT SELECT, INSERT, UPDATE, DELETE on '
                    "them"
                ) from error

    async def close(self) -> None:
        """Close what is the store's own: the connections, or the whole database."""
        database, self._database = self._database, self._given
        if self._owned or database is not self._given:
            await database.close()

    # ------------------------------------------------------------------ sessions

    async def add_refresh(self, record: RefreshRecord) -> None:
        with self._checked():
            try:
                async with self._database.async_engine.begin() as connection:
                    await connection.execute(
                        self._tables.sessions.insert(),
                        {
                            "session": record.session,
                            "subject": record.subject,
                            "scopes": record.scopes,
                            "begun_at": record.begun_at,
                            "latest": record.digest,
                            "expires_at": record.expires_at,
                        },
                    )
                    await self._add_token(connection, record)
            except IntegrityError as error:
                raise BadAuth(
                    f"session {record.session!r} or its token is remembered already: a login makes "
                    "new ones of both, and rotate_refresh() goes on with a session"
                ) from error

    async def rotate_refresh(
        self, digest: bytes, successor: RefreshRecord, *, now: datetime, reuse_s: float = 0.0
    ) -> Rotation:
        with self._checked():
            for _ in range(_TRIES):
                # What is refused is refused without a lock: guesses hold up no writer.
                found = await self._find(digest)
                if found is None:
                    return Rotation(Turn.UNKNOWN, None)
                record, family = found
                turn = judge_turn(record, family, now=now, reuse_s=reuse_s)
                if turn is not Turn.DONE:
                    return Rotation(turn, record)
                try:
                    async with self._database.async_engine.begin() as connection:
                        return await self._rotate(connection, record, successor, now, reuse_s)
                except _Overtaken:
                    continue
                except DBAPIError as error:
                    if _state(error) not in _MET:
                        raise
            raise TokensUncheckable(
                f"a refresh token was exchanged by somebody else {_TRIES} times in between"
            )

    async def _rotate(
        self,
        connection: AsyncConnection,
        record: RefreshRecord,
        successor: RefreshRecord,
        now: datetime,
        reuse_s: float,
    ) -> Rotation:
        """In a transaction: all of it, or nothing."""
        sessions, refresh = self._tables.sessions, self._tables.refresh
        # Whoever exchanges a token of this session or ends it comes through this row, one after
        # the other. In SQLite the transaction has the write lock already.
        await connection.execute(
            sa.select(sessions.c.session)
            .where(sessions.c.session == record.session)
            .with_for_update()
        )
        row = (await connection.execute(self._by_digest, {"digest": record.digest})).one_or_none()
        if row is None:
            return Rotation(Turn.UNKNOWN, None)
        record, family = _read(row)
        turn = judge_turn(record, family, now=now, reuse_s=reuse_s)
        if turn is not Turn.DONE:
            return Rotation(turn, record)
        # The condition decides even where no lock was held: an engine of the app's own may begin
        # SQLite's transactions without one.
        gone_on = await connection.execute(
            sessions.update()
            .where(
                sessions.c.session == record.session,
                sessions.c.latest == family.latest,
                sessions.c.ended_at.is_(None),
            )
            .values(latest=successor.digest, parent=record.digest, expires_at=successor.expires_at)
        )
        if gone_on.rowcount != 1:
            raise _Overtaken
        await connection.execute(
            refresh.update().where(refresh.c.digest == family.latest).values(used_at=now)
        )
        await self._add_token(connection, replace(successor, session=record.session))
        return Rotation(turn, record)

    async def _add_token(self, connection: AsyncConnection, record: RefreshRecord) -> None:
        values = {
            "digest": record.digest,
            "session": record.session,
            "issued_at": record.issued_at,
            "expires_at": record.expires_at,
        }
        await connection.execute(self._tables.refresh.insert(), values)

    async def find_refresh(self, digest: bytes) -> RefreshRecord | None:
        with self._checked():
            found = await self._find(digest)
        return None if found is None or found[1].ended else found[0]

    async def _find(self, digest: bytes) -> tuple[RefreshRecord, Family] | None:
        rows = await self._database.fetch(self._by_digest, {"digest": digest})
        return _read(rows[0]) if rows else None

    async def end_session(self, session: str, *, now: datetime) -> bool:
        return bool(await self._end(self._tables.sessions.c.session == session, now))

    async def end_sessions(self, subject: str, *, now: datetime) -> list[str]:
        return await self._end(self._tables.sessions.c.subject == subject, now)

    async def _end(self, which: sa.ColumnElement[bool], now: datetime) -> list[str]:
        sessions = self._tables.sessions
        with self._checked():
            rows = await self._database.write(
                sessions.update()
                .where(which, sessions.c.ended_at.is_(None))
                .values(ended_at=now)
                .returning(sessions.c.session, sessions.c.expires_at)
            )
        return sorted(row.session for row in rows if row.expires_at > now)

    async def sessions(self, subject: str, *, now: datetime) -> Sequence[RefreshRecord]:
        sessions, refresh = self._tables.sessions, self._tables.refresh
        with self._checked():
            rows = await self._database.fetch(
                self._records.where(
                    sessions.c.subject == subject,
                    sessions.c.ended_at.is_(None),
                    refresh.c.digest == sessions.c.latest,
                    refresh.c.expires_at > now,
                ).order_by(sessions.c.begun_at.desc(), sessions.c.session)
            )
        return [_read(row)[0] for row in rows]

    # ------------------------------------------------------------------ revocations

    async def revoke(self, *revocations: Revocation, now: datetime) -> None:
        # A statement writes no row twice, and two that write the same rows in another order could
        # wait for each other.
        joined: dict[tuple[str, str], Revocation] = {}
        for each in revocations:
            key = each.kind, each.value
            joined[key] = each.joined(joined.get(key, each))
        ordered = [joined[key] for key in sorted(joined)]
        for start in range(0, len(ordered), _BATCH):
            with self._checked():
                await self._database.write(self._noting(ordered[start : start + _BATCH], now))

    def _noting(self, revocations: Sequence[Revocation], now: datetime) -> Any:
        table = self._tables.revocations
        insert = _INSERTS[self._database.dialect](table).values(
            [
                {
                    "kind": each.kind,
                    "value": each.value,
                    "at": each.at,
                    "expires_at": each.expires_at,
                    "noted_at": now,
                }
                for each in revocations
            ]
        )
        # Of two that arrive in the wrong order the earlier must take nothing away.
        later = {
            name: sa.case(
                (insert.excluded[name] > table.c[name], insert.excluded[name]), else_=table.c[name]
            )
            for name in ("at", "expires_at", "noted_at")
        }
        return insert.on_conflict_do_update(
            index_elements=[table.c.kind, table.c.value], set_=later
        )

    async def revocations(
        self, *, now: datetime, since: datetime | None = None
    ) -> Sequence[Revocation]:
        table = self._tables.revocations
        wanted = sa.select(table.c.kind, table.c.value, table.c.at, table.c.expires_at).where(
            table.c.expires_at > now
        )
        if since is not None:
            wanted = wanted.where(table.c.noted_at >= since)
        with self._checked():
            rows = await self._database.fetch(wanted)
        return [Revocation(*_plain(row)) for row in rows]

    # ------------------------------------------------------------------ API keys

    async def add_api_key(self, record: ApiKeyRecord) -> None:
        table = self._tables.api_keys
        values = {column.name: getattr(record, column.name) for column in table.c}
        with self._checked():
            try:
                await self._database.write(table.insert().values(values))
            except IntegrityError as error:
                raise BadAuth(f"there is an API key {record.id!r} already") from error

    async def find_api_key(self, key_id: str) -> ApiKeyRecord | None:
        table = self._tables.api_keys
        with self._checked():
            rows = await self._database.fetch(self._api_keys.where(table.c.id == key_id))
        return ApiKeyRecord(*_plain(rows[0])) if rows else None

    async def api_keys(self, owner: str | None = None) -> Sequence[ApiKeyRecord]:
        table = self._tables.api_keys
        wanted = self._api_keys if owner is None else self._api_keys.where(table.c.owner == owner)
        with self._checked():
            rows = await self._database.fetch(
                wanted.order_by(table.c.created_at.desc(), table.c.id)
            )
        return [ApiKeyRecord(*_plain(row)) for row in rows]

    async def revoke_api_key(self, key_id: str, *, now: datetime) -> bool:
        table = self._tables.api_keys
        with self._checked():
            rows = await self._database.write(
                table.update()
                .where(table.c.id == key_id, table.c.revoked_at.is_(None))
                .values(revoked_at=now)
                .returning(table.c.expires_at)
            )
        return any(row.expires_at is None or row.expires_at > now for row in rows)

    async def touch_api_key(self, key_id: str, *, now: datetime) -> None:
        table = self._tables.api_keys
        minute = now.replace(second=0, microsecond=0)
        earlier = sa.or_(table.c.last_used_at.is_(None), table.c.last_used_at < minute)
        with self._checked():
            await self._database.write(
                table.update().where(table.c.id == key_id, earlier).values(last_used_at=minute)
            )

    # ------------------------------------------------------------------ tidying up

    async def prune(self, *, now: datetime) -> int:
        """As the port says, a few hundred rows at a time. API keys stay, ended or not: people look
        at their list.
        """
        sessions, refresh = self._tables.sessions, self._tables.refresh
        revocations = self._tables.revocations
        pruned = await self._delete(refresh, refresh.c.expires_at <= now)
        pruned += await self._delete(revocations, revocations.c.expires_at <= now)
        tokens = sa.select(refresh.c.digest).where(refresh.c.session == sessions.c.session)
        await self._delete(sessions, sa.and_(sessions.c.expires_at <= now, ~tokens.exists()))
        return pruned

    async def _delete(self, table: sa.Table, which: sa.ColumnElement[bool]) -> int:
        key = sa.tuple_(*table.primary_key)
        some = sa.select(*table.primary_key).where(which).limit(_BATCH)
        # Whoever prunes at the same time takes others, in PostgreSQL.
        statement = table.delete().where(key.in_(some.with_for_update(skip_locked=True)))
        deleted = 0
        while True:
            with self._checked():
                rows = await self._database.write(statement.returning(*table.primary_key))
            deleted += len(rows)
            if len(rows) < _BATCH:
                return deleted

    @contextmanager
    def _checked(self) -> Iterator[None]:
        """Whatever goes wrong with the database: nobody knows whether a token is good."""
        try:
            yield
        except BackstayError:
            raise
        except Exception as error:
            # Not the error's own text, which has the statement's parameters in it.
            raise TokensUncheckable(
                f"sessions and keys in {self._database.url} cannot be read or written: "
                f"{type(error).__qualname__}; see __cause__"
            ) from error


def _read(row: Sequence[Any]) -> tuple[RefreshRecord, Family]:
    *record, latest, parent, ended_at = _plain(row)
    return RefreshRecord(*record), Family(latest, parent, ended=ended_at is not None)


def _state(error: DBAPIError) -> str | None:
    """The SQLSTATE, ``None`` where there is none."""
    found = getattr(error.orig, "sqlstate", None)
    return found if isinstance(found, str) else None


def _plain(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(row)
