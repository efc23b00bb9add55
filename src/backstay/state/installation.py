"""``add_state(app)``: values that outlive the piece of work that stored them, as ``ctx.state``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from backstay.state.bounds import MAX_VALUE_BYTES
from backstay.state.part import StatePart
from backstay.web.installation import install

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["add_state"]


def add_state(
    app: Starlette,
    database: str | URL | Engine | AsyncEngine | Any = None,
    *,
    table_prefix: str = "backstay_",
    database_schema: str | None = None,
    max_value_bytes: int = MAX_VALUE_BYTES,
    sweep_every_s: float = 60.0,
) -> StatePart:
    """Switch ``ctx.state`` on for an app. One line, once, where the app is made.

    Args:
        app: the FastAPI app you serve.
        database: ``"memory://"`` (one process, until it ends), ``"sqlite:///file.db"`` (one
            machine), ``"postgresql://user@host/name"`` or ``"redis://host"`` (any number of
            machines); or a SQLAlchemy engine, which stands for its URL. ``None``: the setting
            ``BACKSTAY_STATE``, else beside the durable tasks: in their PostgreSQL, or in a SQLite
            file of its own next to theirs (``shop-state.db`` for ``shop.db``), made when first
            needed.
        table_prefix: in front of the names of the tables, or of everything in Redis.
        database_schema: PostgreSQL's schema of the tables, ``None`` for the first of the
            ``search_path``. It is made if it is not there.
        max_value_bytes: how large a value may be, as JSON.
        sweep_every_s: seconds between two rounds of forgetting what has expired. It cannot be
            read before, either.

    Returns:
        The part: ``state(scope)`` gives state to code outside of any piece of work.

    Raises:
        AlreadyInstalled: the app has one.
        BadState: ``database`` is none of these, or an option makes no sense.
        MissingExtra: the database's driver is not installed.
    """
    backstay = install(app)
    part = StatePart(
        backstay,
        database,
        prefix=table_prefix,
        schema=database_schema,
        max_value_bytes=max_value_bytes,
        sweep_every_s=sweep_every_s,
    )
    # First: what others do at their end may still want to store something.
    backstay.add(part, first=True)
    return part
