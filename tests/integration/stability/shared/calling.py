"""A process of its own that calls an upstream through what it shares with others, and says so.

Run as ``python -m tests.integration.stability.shared.calling URL PREFIX PORT RESET_S LEASE_S``:
prints ``ready`` when it has called once, then a word for each call that ended otherwise than the one
before: ``answer``, ``failed`` or ``refused``. With ``THROTTLE RATE BURST COUNT`` instead of the last
two: waits for a line, makes so many calls, and prints when it is done.
"""

from __future__ import annotations

import asyncio
import os
import sys

from backstay.errors import CallRefused
from backstay.integration import sp
from backstay.integration.stability.shared import open_shared_states

__all__ = ["main"]


async def ask_at(port: int) -> str:
    """One request: the process's id, and a word for an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"%d\n" % os.getpid())
        answer = await reader.readline()
    finally:
        writer.close()
    if answer != b"answer\n":
        raise OSError(f"the upstream says {answer!r}")
    return "answer"


async def main(url: str, prefix: str, port: int, *rest: str) -> None:
    """Call until somebody ends it."""
    lease_s = 5.0 if rest[0] == "throttle" else float(rest[1])
    states = open_shared_states(url, key_prefix=prefix, timeout_s=5.0, lease_s=lease_s)
    if rest[0] == "throttle":
        rate, burst, count = float(rest[1]), int(rest[2]), int(rest[3])

        @sp.Throttling(rate, burst=burst, max_wait=60, shared=states)
        async def take() -> None:
            pass

        await states.open()
        print("ready", flush=True)
        sys.stdin.readline()
        await asyncio.gather(*(take() for _ in range(count)))
        print("alone" if states.is_alone else "done", flush=True)
        await states.close()
        return

    @sp.CircuitBreaker(fail_threshold=3, reset_timeout=float(rest[0]), shared=states)
    async def ask() -> str:
        return await ask_at(port)

    said = ""
    while True:
        try:
            now = await ask()
        except OSError:
            now = "failed"
        except CallRefused:
            now = "refused"
        if not said:
            print("ready", flush=True)
        if now != said:
            said = now
            print(now, flush=True)
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:]))
