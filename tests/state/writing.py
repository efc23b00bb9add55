"""A process of its own that changes state until it is done, or killed.

Run as ``python -m tests.state.writing URL PREFIX NAME COUNT``: prints ``ready``, waits for a line,
then prints each number of a change that has been made.
"""

from __future__ import annotations

import asyncio
import sys

from backstay.state import State, open_store

__all__ = ["main"]


async def main(url: str, prefix: str, name: str, count: int) -> None:
    """``count`` times: one more on a shared counter, one more in a shared list's count, a note."""
    store = await open_store(url, prefix=prefix)
    shared, mine = State(store, "shared"), State(store, name)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(1, count + 1):
        await shared.incr("counter")
        await shared.update("by name", lambda seen, now=number: {**seen, name: now}, {})
        await mine.set("number", {"number": number, "filling": "x" * (number % 5000)})
        assert (await mine.get("number"))["number"] == number, "somebody else's"
        print(number, flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
