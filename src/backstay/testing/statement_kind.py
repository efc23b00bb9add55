"""What a statement does to the transaction it runs in, by its words."""

from __future__ import annotations

import enum
import re
from functools import lru_cache

__all__ = ["StatementKind"]

_START = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w*)", re.DOTALL)
_READING = {"", "EXPLAIN", "PRAGMA", "SELECT", "SHOW", "TABLE", "VALUES", "WITH"}
# A word in a string or a name makes a writer of a reader, which only costs a little waiting.
_WRITING = re.compile(
    r"\b(?:INSERT|UPDATE|DELETE|MERGE|INTO|ANALYZE|FOR\s+(?:NO\s+KEY\s+|KEY\s+)?(?:UPDATE|SHARE))\b",
    re.IGNORECASE,
)
_BACK_TO = re.compile(r"\bROLLBACK\s+(?:WORK\s+|TRANSACTION\s+)?TO\b", re.IGNORECASE)

_SETS_TRANSACTION = re.compile(
    r"^\s*SET\s+(?:(?:LOCAL|SESSION)\s+)?(?:TRANSACTION|CHARACTERISTICS)\b", re.IGNORECASE
)


class StatementKind(enum.Enum):
    """What a statement does to the transaction it runs in."""

    BEGIN = enum.auto()
    """Begins one, or says what it is to be like."""
    COMMIT = enum.auto()
    ROLLBACK = enum.auto()
    READ = enum.auto()
    WRITE = enum.auto()
    """Anything that is not known to be one of the others, savepoints included."""

    @staticmethod
    @lru_cache(maxsize=1024)
    def of(statement: str) -> StatementKind:
        """The kind of one SQL statement. A function that writes, in a ``SELECT``, is not noticed."""
        found = _START.match(statement)
        word = found.group(1).upper() if found else ""
        if word in {"BEGIN", "START"} or _SETS_TRANSACTION.search(statement):
            return StatementKind.BEGIN
        if word in {"COMMIT", "END"}:
            return StatementKind.COMMIT
        if word == "ROLLBACK" and not _BACK_TO.search(statement):
            return StatementKind.ROLLBACK
        if word in _READING and not _WRITING.search(statement):
            return StatementKind.READ
        return StatementKind.WRITE
