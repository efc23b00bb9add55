"""What the stability patterns cost: CPU time that they add to a call.

Two calls are decorated: an async function that waits for one turn of the loop, and a request of
``httpx.AsyncClient`` to a server in another process. ``python -m benchmarks.stability ROUNDS SEED``
is one fresh process of it, ``python -m benchmarks.stability serve`` the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import operator
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

import httpx

from backstay.integration import sp
from backstay.integration.outgoing import OutgoingCall, current_call
from benchmarks.report import interval, print_table, verdict
from benchmarks.sampling import ROOT, estimate, run_fresh
from benchmarks.side_by_side import pairwise
from benchmarks.sizes import Size

__all__ = ["run"]

CALLS, REQUESTS = 1_000, 100  # in one turn
GOAL_US = 60.0
BARE, CLIENT = "an async function", "httpx.AsyncClient"
OURS, IN_ENDPOINT = "all seven patterns", "all seven, in a declared endpoint"
OURS_CLIENT = "httpx.AsyncClient, all seven patterns"
BY_HAND = "stamina, purgatory, aiolimiter, asyncio"
PEERS = ("stamina", "purgatory", "aiolimiter")
PEERS_MISSING = (
    "stamina, purgatory or aiolimiter is not installed, so their row is left out: run `make bench`"
)

Side = Callable[[], Awaitable[Any]]


class Owner:
    """Stands for an instance of an integration."""


async def instead() -> str:
    return "fallback"


def patterns() -> dict[str, Callable[[Any], Any]]:
    """Each of them, innermost first; nothing is ever refused, waited for or done twice."""
    return {
        "sp.Timeout": sp.Timeout(),
        "sp.Bulkhead": sp.Bulkhead(100),
        "sp.Throttling": sp.Throttling(1e9),
        "sp.CircuitBreaker": sp.CircuitBreaker(),
        "sp.Hedge": sp.Hedge(10),
        "sp.RetryPattern": sp.RetryPattern(),
        "sp.Fallback": sp.Fallback(instead),
    }


def protected(func: Side) -> Side:
    """All patterns around it, in the recommended order."""
    for each in patterns().values():
        func = each(func)
    return func


def in_endpoint(func: Side) -> Side:
    """As a declared endpoint calls it."""
    owner = Owner()

    @functools.wraps(func)
    async def call() -> Any:
        outgoing = OutgoingCall(owner, "bank.ask", "GET")
        outgoing.begin_attempt()
        token = current_call.set(outgoing)
        try:
            return await func()
        finally:
            current_call.reset(token)

    return call


def has_peers() -> bool:
    return all(find_spec(each) is not None for each in PEERS)


async def by_hand(func: Side) -> Side:
    """The same kinds of pattern, each the usual library's; there is none for hedging."""
    import stamina
    from aiolimiter import AsyncLimiter
    from purgatory import AsyncCircuitBreakerFactory

    breaker = await AsyncCircuitBreakerFactory().get_breaker("bank")
    limiter, places = AsyncLimiter(1e9, 1), asyncio.Semaphore(100)

    @stamina.retry(on=Exception)
    async def attempt() -> Any:
        async with breaker, limiter, places, asyncio.timeout(10):
            return await func()

    async def call() -> Any:
        try:
            return await attempt()
        except Exception:
            return await instead()

    return call


async def ask() -> str:
    await asyncio.sleep(0)
    return "answer"


async def _turn(side: Side, calls: int) -> float:
    """Microseconds of this process's CPU for one call."""
    gc.collect()
    began = time.process_time()
    for _ in range(calls):
        await side()
    return (time.process_time() - began) / calls * 1e6


async def measure(rounds: int, seed: int, url: str) -> dict[str, list[float]]:
    """What each side took in every round."""
    async with httpx.AsyncClient(trust_env=False) as client:

        async def get() -> httpx.Response:
            return await client.get(url)

        functions: dict[str, Side] = {
            BARE: ask,
            f"{BARE}, once more": ask,
            OURS: protected(ask),
            IN_ENDPOINT: in_endpoint(protected(ask)),
        }
        functions |= {name: pattern(ask) for name, pattern in patterns().items()}
        clients: dict[str, Side] = {
            CLIENT: get,
            f"{CLIENT}, once more": get,
            OURS_CLIENT: protected(get),
        }
        if has_peers():
            functions[BY_HAND] = await by_hand(ask)
            clients[f"{CLIENT}, {BY_HAND}"] = await by_hand(get)
        turns = [(name, side, CALLS) for name, side in functions.items()]
        turns += [(name, side, REQUESTS) for name, side in clients.items()]
        for name, side, calls in turns:
            if await side() == "fallback":
                raise RuntimeError(f"{name} fails")
            await _turn(side, calls // 4)
        gc.freeze()
        samples: dict[str, list[float]] = {name: [] for name, _, _ in turns}
        order_by = random.Random(seed)
        for number in range(rounds):
            if number % 2:
                turns.reverse()
            else:
                order_by.shuffle(turns)
            for name, side, calls in turns:
                samples[name].append(await _turn(side, calls))
    return samples


def run(size: Size) -> dict[str, Any]:
    """Measure in fresh processes, print the tables, return what to keep."""
    samples: dict[str, list[list[float]]] = {}
    for seed in range(size.processes):
        found = run_fresh("benchmarks.stability", size.rounds, seed, hash_seed=seed)
        for name, turns in found.items():
            samples.setdefault(name, []).append(turns)
    results: dict[str, Any] = {}
    functions = [name for name in samples if not name.startswith(CLIENT)]
    clients = [name for name in samples if name.startswith(CLIENT)]
    notes = [] if has_peers() else [PEERS_MISSING]
    if has_peers():
        ratio = estimate(pairwise(operator.truediv, samples[OURS], samples[BY_HAND]))
        notes.append(f"{OURS} : {BY_HAND}: {interval(ratio)}; those do not hedge")
    for base, names, more in ((BARE, functions, notes), (CLIENT, clients, [])):
        rows = []
        for name in names:
            added = estimate(pairwise(operator.sub, samples[name], samples[base]))
            whole = estimate(samples[name])
            is_goal = name in {OURS, IN_ENDPOINT, OURS_CLIENT}
            results[name] = {"added_us": asdict(added), "us": samples[name]}
            rows.append(
                (
                    name,
                    "" if name == base else interval(added, 1),
                    f"{whole.value:.1f}",
                    f"<= {GOAL_US:.0f}" if is_goal else "",
                    verdict(added, GOAL_US) if is_goal else "",
                )
            )
        print_table(
            f"What patterns add to a call of {base} "
            f"({size.processes} processes x {size.rounds} rounds)",
            ("", "added us [95 %]", "CPU us", "goal", ""),
            rows,
            more,
        )
    return results


async def _serve() -> None:
    """Answer every request; say where on standard output, and stop when standard input ends."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):  # clients go without a word
            while await reader.readline():
                while (await reader.readline()).strip():
                    pass
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


def main(rounds: int, seed: int) -> None:
    """One process of it: samples as JSON on standard output."""
    command = [sys.executable, "-m", "benchmarks.stability", "serve"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/"
        try:
            print(json.dumps(asyncio.run(measure(rounds, seed, url))))
        finally:
            server.communicate()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(_serve())
    else:
        main(*map(int, sys.argv[1:3]))
