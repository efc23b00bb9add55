"""``make demo``: the shop and its third parties as real processes, and a stream of orders.

``make demo ONCE=1 SEED=3 BROKEN=warehouse`` does what the options of these names do.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from rich.console import Console
from rich.markup import escape

from examples.shop.audit import audit, collect
from examples.shop.processes import THIRD_PARTIES, Service, settings_for, third_parties
from examples.shop.stage import Stage

IN_FLIGHT = 3
"""Orders under way at a time: as many as can be watched."""

ANSWER_S = 5.0
"""How long a customer waits for an answer."""


@dataclass(frozen=True)
class Wish:
    """What somebody wants to order: quantities by product."""

    items: Mapping[str, int]
    card: str = "tok_visa"
    email: str = "ada@example.com"

    @property
    def title(self) -> str:
        """For people."""
        what = ", ".join(f"{quantity} x {sku}" for sku, quantity in self.items.items())
        return what if self.card == "tok_visa" else f"{what}, {self.card}"

    def body(self) -> bytes:
        """As it is sent."""
        items = [{"sku": sku, "quantity": quantity} for sku, quantity in self.items.items()]
        return json.dumps({"email": self.email, "card": self.card, "items": items}).encode()


WISHES = [
    [Wish({"teapot": 1, "cup": 4})],
    [Wish({"kettle": 1})],
    [Wish({"cup": 2}, email="not an address")],
    [Wish({"tray": 1, "cup": 6})],
    [Wish({"cup": 3}, card="tok_gateway_down")],
    [Wish({"samovar": 1}), Wish({"samovar": 1})],  # at the same moment, and there is only one
    [Wish({"teapot": 1}, card="tok_declined")],
    [Wish({"teapot": 99})],
    [Wish({"cup": 8})],
    [Wish({"kettle": 1, "tray": 2})],
    [Wish({"teapot": 2}), Wish({"kettle": 1, "cup": 2})],
    [Wish({"tray": 1})],
]


@dataclass(frozen=True)
class Options:
    """How to run the demo.

    Attributes:
        once: end after the verdict instead of leaving the shop up.
        seed: what goes wrong at the third parties.
        broken: third parties that never work.
        rounds: how many of ``WISHES`` to send.
        port: the shop's, if it is free.
        pace_s: seconds between orders.
    """

    once: bool
    seed: str
    broken: tuple[str, ...]
    rounds: int
    port: int
    pace_s: float


# ------------------------------------------------------------------ the story


async def place_orders(stage: Stage, options: Options, signals: Signals) -> None:
    """Be the customers, and watch each order to its end. A signal sends home who has not ordered."""
    url = await stage.url
    stage.introduce(url)
    if options.port and not url.endswith(f":{options.port}"):
        stage.say(f"[dim]Port {options.port} is taken, so the shop took another.[/]\n")
    room = asyncio.Semaphore(IN_FLIGHT)
    numbers = itertools.count(1)

    async def place(client: httpx.AsyncClient, wish: Wish, together: asyncio.Barrier) -> None:
        lane = stage.timeline.sent(f"demo-{next(numbers):02}", wish.title, time.time())
        body = wish.body()

        async def all_but_the_last_byte_and_then_that() -> AsyncIterator[bytes]:
            # Whoever orders at the same moment does so within microseconds.
            yield body[:-1]
            await together.wait()
            lane.sent_at = time.time()
            yield body[-1:]

        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Request-ID": lane.request_id,
        }
        try:
            with lane.attended():
                async with asyncio.timeout(ANSWER_S):
                    answer = await client.post(
                        "/orders", content=all_but_the_last_byte_and_then_that(), headers=headers
                    )
                lane.status, lane.said = answer.status_code, why(answer)
        except (httpx.HTTPError, TimeoutError) as error:
            lane.said = f"no answer: {type(error).__name__}"
            stage.give_up(lane)
        stage.changed(lane)
        await stage.until_finished(lane)
        room.release()

    async with (
        httpx.AsyncClient(base_url=url, timeout=ANSWER_S) as client,
        asyncio.TaskGroup() as customers,
    ):
        for wishes in WISHES[: options.rounds]:
            for _ in wishes:
                await room.acquire()
            if signals.caught is not None:
                break
            together = asyncio.Barrier(len(wishes))
            for wish in wishes:
                customers.create_task(place(client, wish, together))
            await asyncio.sleep(options.pace_s)


def why(answer: httpx.Response) -> str:
    """What an error answer says."""
    if answer.is_success:
        return ""
    detail = answer.json()["detail"]
    if isinstance(detail, list):  # FastAPI's own, about invalid input
        return "invalid " + ", ".join(str(each["loc"][-1]) for each in detail)
    return str(detail)


async def conclude(stage: Stage, services: Mapping[str, Service]) -> bool:
    """Sum up, ask the database and the third parties whether all was done, and say so."""
    stage.sum_up()
    lanes = stage.timeline.lanes.values()
    accepted = {lane.order_id for lane in lanes if lane.accepted and lane.order_id is not None}
    books, silent = await collect(services)
    unanswered = [lane.request_id for lane in lanes if lane.status is None]
    wrong = [
        *silent,
        *audit(stage.database, books, accepted),
        *(f"request {request_id} was never answered" for request_id in unanswered),
    ]
    if not wrong:
        unpaid = sum(lane.verdict == "payment_failed" for lane in lanes)
        called_off = (
            f", {unpaid} called off by the error handler of their payment" if unpaid else ""
        )
        stage.say(
            f"[bold green]All accepted orders ({len(accepted)}) were fully processed:[/] "
            f"{len(accepted) - unpaid} shipped{called_off}."
        )
        stage.say(
            "The SQLite file says so, and so do the third parties' books: nothing missing, nothing "
            "twice."
        )
        return True
    stage.say("[bold red]Not everything was done:[/]")
    for line in wrong:
        stage.say(f"[red]  {escape(line)}[/]")
    return False


# ------------------------------------------------------------------ the theatre


async def run(options: Options, console: Console) -> int:
    """Everything, with every process ended in the end.

    Returns:
        The exit status: 0 if all was done, 1 if not, 128 + n if signal n came before that.
    """
    signals = Signals()
    customers: asyncio.Task[None] | None = None
    with TemporaryDirectory(prefix="backstay-shop-") as directory:
        stage = Stage(console, Path(directory) / "shop.db")
        failures = dict.fromkeys(options.broken, 1.0)
        async with third_parties(seed=options.seed, failures=failures) as services:
            for service in services.values():
                service.when_ended(stage.mourn)
            with stage.alive():
                try:
                    async with Service.start(
                        "shop",
                        "examples.shop",
                        "--port",
                        str(options.port if is_free(options.port) else 0),
                        env={**settings_for(services), "DATABASE": str(stage.database)},
                        on_line=stage.read,
                        stop_s=25,  # more than backstay's two periods of grace
                    ) as shop:
                        customers = asyncio.create_task(place_orders(stage, options, signals))
                        status = await attend(stage, shop, services, customers, options, signals)
                        if stage.under_way and shop.returncode is None:
                            stage.say(
                                f"Stopping: {len(stage.under_way)} under way, which the shop will "
                                "finish first.\n"
                            )
                    stage.give_up_all()  # its log has ended, so nothing more can come
                    if status > 128 and stage.url.done():
                        await customers
                        await conclude(stage, services)
                finally:
                    if customers is not None:
                        customers.cancel()
    stage.say("[dim]Every process has ended.[/]")
    return status


async def attend(
    stage: Stage,
    shop: Service,
    services: Mapping[str, Service],
    customers: asyncio.Task[None],
    options: Options,
    signals: Signals,
) -> int:
    """See the customers through, leave the shop up if so wished, notice what ends it early.

    Returns:
        The exit status so far.
    """
    await first_of(asyncio.shield(customers), shop.ended(), signals.wait())
    if signals.caught is not None:
        return 128 + signals.caught
    if shop.returncode is not None:
        stage.say(f"[bold red]The shop has ended ({shop.returncode}).[/] Its last words:")
        for line in shop.last_words:
            stage.say(f"  {escape(plain(line))}")
        return 1
    await customers
    status = 0 if await conclude(stage, services) else 1
    if not options.once:
        stage.stay(await stage.url)
        await first_of(shop.ended(), signals.wait())
        if signals.caught is None:
            stage.mourn("shop", shop.returncode)
            return 1
    return status


def plain(line: str) -> str:
    """A line of the shop's log, for people."""
    try:
        record = json.loads(line)
        text = f"{record['level']} {record['logger']}: {record['message']}"
        return f"{text}: {record['exception'].splitlines()[-1]}" if "exception" in record else text
    except (ValueError, KeyError, TypeError):
        return line


async def first_of(*waits: Awaitable[object]) -> None:
    """Wait until one of them is over, and drop the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Signals:
    """Ctrl-C and its relatives. The first one asks, the second one insists.

    Attributes:
        caught: the number of the first one.
    """

    def __init__(self) -> None:
        self.caught: int | None = None
        self._event = asyncio.Event()
        self._whole_run = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._hear, number)

    async def wait(self) -> None:
        """Wait for the first one."""
        await self._event.wait()

    def _hear(self, number: int) -> None:
        if self.caught is None:
            self.caught = number
            self._event.set()
        elif self._whole_run is not None:
            self._whole_run.cancel()


def is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Options from the command line, defaults from the environment."""
    env = os.environ.get
    parser = argparse.ArgumentParser(prog="python -m examples.shop.demo", description=__doc__)
    parser.add_argument(
        "--once",
        action="store_true",
        default=env("ONCE", "") not in ("", "0"),
        help="end after the verdict: status 0 if every accepted order was fully processed",
    )
    parser.add_argument("--seed", default=env("SEED", "64"), help="what goes wrong")
    parser.add_argument(
        "--broken",
        default=env("BROKEN", ""),
        help=f"third parties that never work, by comma: {', '.join(THIRD_PARTIES)}",
    )
    parser.add_argument("--rounds", type=int, default=len(WISHES), help="stop after so many orders")
    parser.add_argument("--port", type=int, default=8000, help="the shop's, if it is free")
    parser.add_argument("--pace", type=float, default=0.25, help="seconds between orders")
    given = parser.parse_args(arguments)
    broken = tuple(filter(None, given.broken.split(",")))
    for name in broken:
        if name not in THIRD_PARTIES:
            parser.error(f"there is no third party {name!r}; there are {', '.join(THIRD_PARTIES)}")
    return Options(given.once, given.seed, broken, given.rounds, given.port, given.pace)


def main() -> int:
    options = parse()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal knows every character
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=120)
    try:
        return asyncio.run(run(options, console))
    except asyncio.CancelledError:
        return 130  # the second signal


if __name__ == "__main__":
    sys.exit(main())
