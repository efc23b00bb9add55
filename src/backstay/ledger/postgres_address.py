"""Where a PostgreSQL server is: from SQLAlchemy's URL to what asyncpg wants to hear."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

__all__ = ["Address"]

# What libpq, and asyncpg in its place, understand in a connection URI. Everything else in a URL
# is advice for another driver or for SQLAlchemy, and asyncpg would send it to the server as a
# setting, which refuses the connection.
_FOR_ASYNCPG = {
    "krbsrvname",
    "gsslib",
    "passfile",
    "service",
    "servicefile",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslpassword",
    "sslrootcert",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "target_session_attrs",
}
_CACHES = {"statement_cache_size", "prepared_statement_cache_size"}


@dataclass(frozen=True, slots=True)
class Address:
    """A server and a database on it.

    Attributes:
        shown: a SQLAlchemy URL without password.
        place: host, port and database, for messages.
        options: for ``asyncpg.connect``.
        connect_timeout_s: what the URL says, ``None`` if it says nothing.
        application: what the server shows as application_name.
        pooled: a transaction-mode pooler (pgbouncer) stands in between: no prepared statements, no
            session settings, no LISTEN.
    """

    shown: str
    place: str
    options: dict[str, Any] = field(repr=False)
    connect_timeout_s: float | None = None
    application: str = "backstay"
    pooled: bool = False

    @classmethod
    def of(cls, url: str) -> Address:
        """Read ``postgresql+driver://user:password@host:port/database?option=value``.

        ``?host=`` (a directory of sockets, or a host; several, also ``host:port``) wins over the
        host in front. ``sslmode`` and the other options of libpq count, and so does SQLAlchemy's
        ``ssl`` for asyncpg. ``statement_cache_size=0`` or ``pgbouncer=true`` says that a pooler
        stands in between. What only other drivers know is ignored.
        """
        parts = urlsplit("postgresql:" + url.split(":", 1)[1])
        query = parse_qsl(parts.query, keep_blank_values=True)
        last = dict(query)
        user = _decoded(parts.username) or last.get("user")
        password = _decoded(parts.password) or last.get("password")
        database = unquote(parts.path[1:]) or last.get("dbname") or last.get("database")
        hosts, ports = _hosts(parts.hostname, _port(parts.netloc), query)
        options: dict[str, Any] = {
            name: value
            for name, value in (("user", user), ("password", password), ("database", database))
            if value
        }
        if hosts:
            options["host"] = hosts if len(hosts) > 1 else hosts[0]
        if any(ports):
            known = [port or 5432 for port in ports]
            options["port"] = known if len(known) > 1 else known[0]
        for_asyncpg = {name: value for name, value in last.items() if name in _FOR_ASYNCPG}
        if "ssl" in last and "sslmode" not in last:
            for_asyncpg["sslmode"] = {"true": "require", "false": "disable"}.get(
                last["ssl"].lower(), last["ssl"]
            )
        if for_asyncpg:
            options["dsn"] = "postgresql://?" + urlencode(for_asyncpg)
        where = ",".join(hosts) or "the default socket"
        port = ",".join(str(port) for port in ports if port)
        place = where + (f":{port}" if port else "") + (f"/{database}" if database else "")
        pooled = any(last.get(name) == "0" for name in _CACHES)
        pooled = pooled or last.get("pgbouncer", "").lower() in {"1", "true", "yes"}
        return cls(
            shown=_without_password(parts.netloc, parts.path, query),
            place=place,
            options=options,
            connect_timeout_s=_seconds(last.get("connect_timeout")),
            application=last.get("application_name") or "backstay",
            pooled=pooled,
        )


def _decoded(text: str | None) -> str | None:
    return unquote(text) if text else None


def _port(netloc: str) -> int | None:
    digits = netloc.rpartition("@")[2].rpartition("]")[2].rpartition(":")[2]
    return int(digits) if digits.isdigit() and ":" in netloc.rpartition("@")[2] else None


def _hosts(
    host: str | None, port: int | None, query: list[tuple[str, str]]
) -> tuple[list[str], list[int | None]]:
    named = [
        piece for name, value in query if name == "host" for piece in value.split(",") if piece
    ]
    asked = [piece for name, value in query if name == "port" for piece in value.split(",")]
    ports_asked = [int(piece) for piece in asked if piece.isdigit()]
    if not named:
        if host is None:
            return [], [ports_asked[0] if ports_asked else port]
        return [unquote(host)], [ports_asked[0] if ports_asked else port]
    hosts: list[str] = []
    ports: list[int | None] = []
    for index, piece in enumerate(named):
        name, colon, digits = piece.rpartition(":")
        if colon and digits.isdigit() and not piece.startswith("/"):
            hosts.append(name)
            ports.append(int(digits))
        else:
            hosts.append(piece)
            given = ports_asked[min(index, len(ports_asked) - 1)] if ports_asked else port
            ports.append(given)
    return hosts, ports


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def _without_password(netloc: str, path: str, query: list[tuple[str, str]]) -> str:
    who, at, where = netloc.rpartition("@")
    rest = urlencode([pair for pair in query if "pass" not in pair[0]], safe="/:,")
    user = quote(unquote(who.partition(":")[0]))
    return f"postgresql://{user}{at}{where}{path}" + (f"?{rest}" if rest else "")
