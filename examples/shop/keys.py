"""The warehouse's API keys.

::

    python -m examples.shop.keys create "scanner at gate 2" --scope warehouse
    python -m examples.shop.keys list
    python -m examples.shop.keys revoke ID

A key is shown once, by ``create``, on standard output alone. A running shop refuses one that was
revoked within a second.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dotenv import dotenv_values

from backstay.auth import ApiKeys
from backstay.auth.stores import open_store
from backstay.settings import Settings
from examples.shop.premises import database_url
from examples.shop.warehouse import SCOPE

__all__ = ["main"]


async def run(options: argparse.Namespace, url: str) -> int:
    """Do what was asked for, and say what came of it.

    Returns:
        The exit status.
    """
    store = open_store(url)
    await store.open()
    try:
        keys = ApiKeys(store)
        if options.command == "create":
            return await create(keys, options.name, options.scope, options.days)
        if options.command == "revoke":
            return await revoke(keys, options.id)
        return await show(keys)
    finally:
        await store.close()


async def create(keys: ApiKeys, name: str, scopes: Sequence[str], days: float | None) -> int:
    """Make a key and show it, this once."""
    ends = None if days is None else datetime.now(UTC) + timedelta(days=days)
    try:
        new = await keys.create(f"warehouse: {name}", name=name, scopes=scopes, expires_at=ends)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(new.key)
    print(f"Key {new.record.id} is above. Keep it: nobody can show it again.", file=sys.stderr)
    return 0


async def revoke(keys: ApiKeys, key_id: str) -> int:
    """Revoke a key."""
    if not await keys.revoke(key_id):
        print(f"There is no key {key_id!r} that counts; see list.", file=sys.stderr)
        return 1
    print(f"Key {key_id} does not count any more.", file=sys.stderr)
    return 0


async def show(keys: ApiKeys) -> int:
    """List them, the newest first. Names are quoted: whoever chose them may have been playful."""
    for each in await keys.list():
        state = "revoked" if each.revoked_at is not None else "counts"
        if each.expires_at is not None:
            state += f" until {each.expires_at:%Y-%m-%d}" if state == "counts" else ""
        used = "never used" if each.last_used_at is None else f"used {each.last_used_at:%F %H:%M}"
        print(f"{each.id}  {state}  {used}  {' '.join(each.scopes)}  {each.name!r}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m examples.shop.keys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("create", help="make a key, and show it")
    new.add_argument("name", help="what people call it")
    new.add_argument("--scope", action="append", choices=[SCOPE], default=[], required=True)
    new.add_argument("--days", type=float, help="after which it ends; by default it does not")
    gone = commands.add_parser("revoke", help="make a key count no more")
    gone.add_argument("id", help="as list shows it")
    commands.add_parser("list", help="show all keys, without their secrets")
    options = parser.parse_args(arguments)
    settings = Settings(fallback=lambda: dotenv_values(".env"))
    return asyncio.run(run(options, database_url(settings.get("DATABASE", "shop.db"))))


if __name__ == "__main__":
    sys.exit(main())
