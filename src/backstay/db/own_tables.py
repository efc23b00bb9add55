"""Which tables in a database are backstay's own, so that migrations of an app leave them alone.

Durable tasks, state and the cache make their tables themselves and keep them up to date. What they
made they have signed, in a table of facts beside it; so they are found whatever prefix they were
given, and a table of the app's that is merely called like one of them is not taken for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from backstay.errors import MissingExtra

try:
    from sqlalchemy import Connection, Select, inspect, literal_column, select, table
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.sql import quoted_name
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["OwnTables", "fault_of"]

_AUTH: Final = ("auth_sessions", "auth_refresh", "auth_revocations", "auth_api_keys", "auth_meta")

_BESIDE: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = MappingProxyType(
    {
        "backstay": ("meta", ("jobs", "edges", "queues", "gates", "workers", "ticks", "meta")),
        "backstay state": ("state_meta", ("state", "state_meta")),
        "backstay limits": ("limits_meta", ("limits", "limits_meta")),
        "backstay auth": ("auth_meta", _AUTH),
        "backstay stability": ("stability_meta", ("circuits", "buckets", "stability_meta")),
        "backstay events": ("events_meta", ("events", "event_minutes", "events_meta")),
    }
)
"""By signature: how the table of facts is called behind the prefix, and how all of them are."""


class OwnTables:
    """Finds them, in one schema at a time.

    Args:
        connection: reads the tables of facts, each in a savepoint: they may not be what they seem,
            or not be ours to read.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._found: dict[str | None, frozenset[str]] = {}

    def names(self, schema: str | None = None) -> frozenset[str]:
        """The names of those in a schema; ``None`` is the default one."""
        if schema not in self._found:
            there = inspect(self._connection).get_table_names(schema=schema)
            self._found[schema] = frozenset(self._search(there, schema))
        return self._found[schema]

    def _search(self, there: Iterable[str], schema: str | None) -> Iterable[str]:
        for name in there:
            if name.endswith("meta"):
                ending, names = _BESIDE.get(self._signature(name, schema) or "", ("", ()))
                if ending and name.endswith(ending):
                    prefix = name.removesuffix(ending)
                    yield from (prefix + each for each in names)

    def _signature(self, name: str, schema: str | None) -> str | None:
        facts = table(quoted_name(name, quote=True), schema=schema)
        signature: Select[Any] = (
            select(literal_column("value"))
            .select_from(facts)
            .where(literal_column("key") == "made_by")
        )
        try:
            with self._connection.begin_nested():
                found: object = self._connection.scalar(signature)
        except SQLAlchemyError:
            return None  # somebody else's, with other columns
        return found if isinstance(found, str) else None


def fault_of(
    facts: Mapping[str, str], *, made_by: str, version: int, meta: str, table: str, remedy: str
) -> str | None:
    """What is wrong with the signature of tables that somebody is about to use.

    Args:
        facts: what the table of facts says.
        made_by: the signature it has to have.
        version: the schema's that is known here.
        meta: the table of facts, as messages name it.
        table: the main one, as messages name it.
        remedy: what to do where they are somebody else's.

    Returns:
        A sentence, ``None`` if nothing is.
    """
    if facts.get("made_by") != made_by:
        return f"{meta} says made_by={facts.get('made_by')!r}, not {made_by!r}; {remedy}"
    if facts.get("schema_version") != str(version):
        return (
            f"{table} has schema_version={facts.get('schema_version')!r}, and this backstay knows "
            f"{version}; upgrade backstay here, or {remedy}"
        )
    return None
