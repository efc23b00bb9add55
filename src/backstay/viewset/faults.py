"""Errors of databases: which of them are the client's, which pass, and which fields they are about."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError

from backstay.db.mapping import mapper_of
from backstay.errors import (
    BackstayError,
    DatabaseUnavailable,
    ItemConflict,
    ItemInvalid,
    VersionMismatch,
)

__all__ = ["Fault", "UNWRAPPED", "fault_of"]

UNWRAPPED: Final = (OverflowError, UnicodeEncodeError, OSError)
"""What drivers raise, and SQLAlchemy lets pass: for values that cannot be bound, and while connecting."""

Kind = Literal["taken", "missing", "used", "empty", "refused", "value", "stale", "busy"]

_KINDS: Final[Mapping[str, Kind]] = {
    "23505": "taken",
    "23P01": "taken",
    "23503": "missing",
    "23001": "used",
    "23502": "empty",
    "23514": "refused",
    "44000": "refused",
    "25006": "busy",  # writing to a standby, as after a failover
    "25P03": "busy",
}
_CLASSES: Final[Mapping[str, Kind]] = {
    "08": "busy",  # connections
    "22": "value",
    "40": "busy",  # deadlocks and serialisation
    "53": "busy",  # resources
    "54": "value",  # more than an index or a row can hold
    "55": "busy",  # locks
    "57": "busy",  # cancelled, shut down
    "58": "busy",  # I/O
}
"""PostgreSQL's error codes: those in full come before their classes (its manual, appendix A)."""

_SQLITE_KINDS: Final[Mapping[str, Kind]] = {
    "SQLITE_CONSTRAINT_UNIQUE": "taken",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "taken",
    "SQLITE_CONSTRAINT_ROWID": "taken",
    "SQLITE_CONSTRAINT_NOTNULL": "empty",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "missing",
    "SQLITE_CONSTRAINT_CHECK": "refused",
    "SQLITE_CONSTRAINT_DATATYPE": "value",
    "SQLITE_MISMATCH": "value",
    "SQLITE_TOOBIG": "value",
    "SQLITE_BUSY": "busy",
    "SQLITE_CANTOPEN": "busy",
    "SQLITE_FULL": "busy",
    "SQLITE_INTERRUPT": "busy",
    "SQLITE_IOERR": "busy",
    "SQLITE_LOCKED": "busy",
    "SQLITE_PROTOCOL": "busy",
}
"""SQLite's, which begin with these names (https://sqlite.org/rescode.html)."""

_KEY: Final = re.compile(r"Key \((.+?)\)=")
_SQLITE_NAMES: Final = re.compile(r"constraint failed: (\S+\.\S+(?:, \S+\.\S+)*)$")

_DRIVERS: Final = (
    *("sqlalchemy.connectors", "sqlalchemy.dialects", "sqlalchemy.engine.default"),
    *("sqlalchemy.pool", "backstay.db.turns"),
)
"""The modules that call drivers."""

_SAYS: Final[Mapping[Kind, tuple[str, str]]] = {
    "taken": ("there is one with this value already", "It has a value that another item has."),
    "missing": ("there is nothing like that", "It refers to something that is not there."),
    "used": ("something refers to it", "Something else refers to it, so it stays."),
    "empty": ("a value is needed", "A value that is needed is missing."),
    "refused": ("this value is not allowed", "It has a value that is not allowed."),
    "value": ("this value cannot be stored", "It has a value that cannot be stored."),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong in a database.

    Attributes:
        kind: whose fault it is, and what.
        names: the mapped class's attributes that it is about, as far as that is known.
    """

    kind: Kind
    names: tuple[str, ...] = ()

    def as_answer(self, fields: Mapping[str, str]) -> BackstayError:
        """What to tell the client.

        Args:
            fields: the names clients know attributes by. Others are not told.
        """
        if self.kind == "busy":
            return DatabaseUnavailable("the database is busy or out of reach; see __cause__")
        if self.kind == "stale":
            return VersionMismatch(
                "It was changed at the same moment. Read it again and repeat your change."
            )
        about, sentence = _SAYS[self.kind]
        known = [fields[name] for name in self.names if name in fields]
        cls = ItemConflict if self.kind in {"taken", "used"} else ItemInvalid
        if not known or self.kind == "used":
            return cls(sentence)
        errors = [{"loc": ["body", name], "msg": about, "type": self.kind} for name in known]
        return cls(f"{', '.join(known)}: {about}.", errors)


def fault_of(
    error: BaseException, *, method: str = "POST", db_model: type[Any] | None = None
) -> Fault | None:
    """What an error of SQLAlchemy's, or of a driver's, is about.

    Args:
        error: what was raised.
        method: the request's; a broken reference means another thing when something is deleted.
        db_model: the mapped class whose rows were written.

    Returns:
        ``None`` if it is nobody's fault but ours.
    """
    if isinstance(error, StaleDataError):
        return Fault("stale")
    if isinstance(error, PoolTimeout):
        return Fault("busy")
    if isinstance(error, UNWRAPPED):
        if not _in_driver(error):
            return None
        return Fault("busy" if isinstance(error, OSError) else "value")
    if isinstance(error, StatementError) and _cannot_be_bound(error.orig):
        return Fault("value")
    if not isinstance(error, DBAPIError):
        return None
    reason, table, columns = _read(error)
    if reason is None:
        return None
    # SQLAlchemy takes children whose relation says nothing of deletion off their parent: a foreign
    # key that must not be NULL then says that they are still there.
    if (reason in {"missing", "empty"} and method == "DELETE") or (
        reason == "missing" and "still referenced" in _detail(error)
    ):
        reason = "used"
    return Fault(reason, _attributes(db_model, table, columns))


_Read = tuple[Kind | None, str, Sequence[str]]
"""The kind of an error, and the table and columns that it names."""


def _read(error: DBAPIError) -> _Read:
    if isinstance(error.orig, sqlite3.Error):
        return _read_sqlite(error.orig)
    state = _state(error)
    if state is None:
        return _read_class(error), "", ()
    kind = _KINDS.get(state) or _CLASSES.get(state[:2])
    diagnosis = _diagnosis(error)
    table = getattr(diagnosis, "table_name", None) or ""
    return kind, table, _columns(diagnosis, _detail(error))


def _read_sqlite(error: sqlite3.Error) -> _Read:
    name = getattr(error, "sqlite_errorname", "")
    kind = next((each for prefix, each in _SQLITE_KINDS.items() if name.startswith(prefix)), None)
    found = _SQLITE_NAMES.search(str(error))
    if found is None:
        return kind, "", ()
    names = [each.rpartition(".") for each in found[1].split(", ")]
    return kind, names[0][0], [column for _, _, column in names]


def _read_class(error: DBAPIError) -> Kind | None:
    """By its class where there is no SQLSTATE: what a driver finds out by itself."""
    if isinstance(error, DataError) or "DataError" in type(_original(error)).__name__:
        return "value"
    if isinstance(error, IntegrityError):
        return "refused"
    return "busy" if isinstance(error, OperationalError | InterfaceError) else None


# ------------------------------------------------------------------ drivers


def _original(error: DBAPIError) -> Any:
    """The driver's own error: asyncpg's is behind SQLAlchemy's imitation of a DB-API."""
    return getattr(error.orig, "__cause__", None) or error.orig


def _state(error: DBAPIError) -> str | None:
    found = getattr(_original(error), "sqlstate", None) or getattr(error.orig, "sqlstate", None)
    return found if isinstance(found, str) else None


def _diagnosis(error: DBAPIError) -> Any:
    """What names table and column: psycopg keeps that apart."""
    original = _original(error)
    return getattr(original, "diag", original)


def _detail(error: DBAPIError) -> str:
    diagnosis = _diagnosis(error)
    found = getattr(diagnosis, "message_detail", None) or getattr(diagnosis, "detail", None)
    return found if isinstance(found, str) else ""


def _columns(diagnosis: Any, detail: str) -> Sequence[str]:
    column = getattr(diagnosis, "column_name", None)
    if column:
        return [column]
    found = _KEY.search(detail)
    return [] if found is None else [each.strip('" ') for each in found[1].split(",")]


def _cannot_be_bound(original: object) -> bool:
    """Whether a value is the reason; of ``LookupError`` it is if SQLAlchemy's ``Enum`` says so."""
    return isinstance(original, OverflowError | UnicodeEncodeError) or (
        type(original) is LookupError and "defined enum values" in str(original)
    )


def _in_driver(error: BaseException) -> bool:
    """Whether an error comes from a driver, and not from what somebody calls beside it."""
    return any(module.startswith(_DRIVERS) for module in _modules(error))


def _modules(error: BaseException) -> Iterator[str]:
    place = error.__traceback__
    while place is not None:
        yield place.tb_frame.f_globals.get("__name__", "")
        place = place.tb_next


def _attributes(db_model: type[Any] | None, table: str, columns: Sequence[str]) -> tuple[str, ...]:
    """The attributes of a mapped class that are these columns of its table; of others, none."""
    if db_model is None or not columns:
        return ()
    mapper = mapper_of(db_model)
    by_column = {
        column.name: each.key
        for each in mapper.column_attrs
        for column in each.columns
        if getattr(getattr(column, "table", None), "name", None) == table
    }
    return tuple(by_column[name] for name in columns if name in by_column)
