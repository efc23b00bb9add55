"""``make demo``: the shop and its third parties as real processes, orders, and ``kill -9``.

``make demo ONCE=1 SEED=3 BROKEN=warehouse`` does what the options of these names do.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import secrets
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import httpx
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from examples.shop.assistant import Assistant, Visit
from examples.shop.audit import audit, collect
from examples.shop.processes import (
    ROOT,
    THIRD_PARTIES,
    Kept,
    Service,
    settings_for,
    third_parties,
)
from examples.shop.stage import Stage
from examples.shop.timeline import WEB, WORKER, Lane

IN_FLIGHT = 4
"""Orders under way at a time: as many as can be watched."""

ANSWER_S = 30.0
"""How long a customer waits for an answer. Long enough for the shop to be started again."""

WAIT_S = 10.0
"""How long orders wait for a gateway that is down, before they are called off. 15 minutes, unless
an app says otherwise."""

Moment = Literal["charged, not told", "answered", "busy"]
"""When somebody is killed: the worker between a charge and the gateway's answer; the web process
as soon as the customer has an answer; the worker with several jobs at a time."""


@dataclass(frozen=True)
class Wish:
    """What somebody wants to order: quantities by product, and what happens next."""

    items: Mapping[str, int]
    card: str = "tok_visa"
    email: str = "ada@example.com"
    kill: Moment | None = None

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
    [Wish({"tray": 1, "cup": 6}, card="tok_slow", kill="charged, not told")],
    [Wish({"cup": 3}, card="tok_bank_down")],
    [Wish({"samovar": 1}), Wish({"samovar": 1})],  # at the same moment, and there is only one
    [Wish({"teapot": 1}, card="tok_declined")],
    [Wish({"teapot": 99})],
    [Wish({"cup": 8}, kill="answered")],
    [Wish({"kettle": 1, "tray": 2})],
    [Wish({"teapot": 2}), Wish({"kettle": 1, "cup": 2}, kill="busy")],
    [Wish({"tray": 1})],
]

IN_THE_OUTAGE = [
    Wish({"cup": 2}),
    Wish({"teapot": 1}),
    Wish({"cup": 4, "tray": 1}),
    Wish({"kettle": 1}),
    Wish({"cup": 3}),
    Wish({"cup": 1}),
    # And when nobody asks the gateway any more:
    Wish({"teapot": 2}),
    Wish({"tray": 1, "cup": 2}),
]

GATEWAY = "PaymentGateway"


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
        kills: whether to kill anybody.
        lease_s: seconds of silence after which a worker counts as dead.
        outage: whether the payment gateway hangs for a while.
    """

    once: bool
    seed: str
    broken: tuple[str, ...]
    rounds: int
    port: int
    pace_s: float
    kills: bool
    lease_s: float
    outage: bool

    @property
    def has_outage(self) -> bool:
        """Whether it comes to that: after all orders, and if the gateway works otherwise."""
        return self.outage and self.rounds >= len(WISHES) and "payment" not in self.broken


@dataclass
class Town:
    """All processes that take part."""

    url: str
    web: Kept
    worker: Kept
    services: Mapping[str, Service]


# ------------------------------------------------------------------ the story


async def place_orders(stage: Stage, town: Town, options: Options, signals: Signals) -> None:
    """Be the customers, and watch each order to its end. A signal sends home who has not ordered."""
    for process in (WEB, WORKER):
        await first_of(stage.until_ready(process), signals.wait())
    if signals.caught is not None:
        return
    stage.introduce(town.url, options.lease_s)
    if options.port and not town.url.endswith(f":{options.port}"):
        stage.say(f"[dim]Port {options.port} is taken, so the shop took another.[/]\n")
    async with (
        httpx.AsyncClient(base_url=town.url, timeout=ANSWER_S) as client,
        asyncio.TaskGroup() as orders,
    ):
        customers = Customers(stage, client, orders)
        for wishes in WISHES[: options.rounds]:
            await customers.wait_for_room(len(wishes))
            if signals.caught is not None:
                break
            lanes = await customers.order(wishes)
            for lane, wish in zip(lanes, wishes, strict=True):
                if options.kills and wish.kill is not None:
                    await kill(wish.kill, stage, town, lane)
            await asyncio.sleep(options.pace_s)
        if options.has_outage:
            await first_of(customers.until_served(), signals.wait())  # one trouble at a time
            if signals.caught is None:
                await suffer_an_outage(stage, town, customers, signals)
        if signals.caught is None:  # the last kill is over, its orders are not
            orders.create_task(send_assistant(stage, town, customers.next_id()))


class Customers:
    """Whoever orders, other than the assistant.

    Args:
        stage: where their orders are watched.
        client: how they order.
        orders: in which each order is seen to its end.
    """

    def __init__(self, stage: Stage, client: httpx.AsyncClient, orders: asyncio.TaskGroup) -> None:
        self._stage = stage
        self._client = client
        self._orders = orders
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._numbers = itertools.count(1)
        self._under_way: set[asyncio.Task[None]] = set()

    def next_id(self) -> str:
        """The id of the next request."""
        return f"demo-{next(self._numbers):02}"

    async def wait_for_room(self, orders: int) -> None:
        """Wait until so many more can be watched."""
        for _ in range(orders):
            await self._room.acquire()

    async def until_served(self) -> None:
        """Wait until all orders so far are over."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def order(self, wishes: Sequence[Wish], *, in_turn: bool = True) -> list[Lane]:
        """Have orders placed at the same moment. Returns when they are answered.

        Args:
            wishes: what is ordered.
            in_turn: they had to wait for room, and make some when they are over.
        """
        together = asyncio.Barrier(len(wishes))
        lanes = [
            self._stage.timeline.sent(self.next_id(), wish.title, time.time()) for wish in wishes
        ]
        await asyncio.gather(
            *(self._place(*each, together) for each in zip(lanes, wishes, strict=True))
        )
        for lane in lanes:
            seeing = self._orders.create_task(self._see_through(lane, in_turn=in_turn))
            self._under_way.add(seeing)
            seeing.add_done_callback(self._under_way.discard)
        return lanes

    async def _see_through(self, lane: Lane, *, in_turn: bool) -> None:
        await self._stage.until_finished(lane)
        if in_turn:
            self._room.release()

    async def _place(self, lane: Lane, wish: Wish, together: asyncio.Barrier) -> None:
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
                    answer = await self._client.post(
                        "/orders", content=all_but_the_last_byte_and_then_that(), headers=headers
                    )
                lane.status, lane.said = answer.status_code, why(answer)
                lane.answered_at = lane.answered_at or time.time()
        except (httpx.HTTPError, TimeoutError) as error:
            lane.said = f"no answer: {type(error).__name__}"
            self._stage.give_up(lane)
        self._stage.changed(lane)


async def suffer_an_outage(
    stage: Stage, town: Town, customers: Customers, signals: Signals
) -> None:
    """The payment gateway takes connections, and answers nothing; and customers order meanwhile."""
    gateway = town.services["payment"]
    stage.say(
        f"[bold]$ kill -STOP {gateway.pid}[/]  [dim]# the payment gateway: it takes calls and "
        "answers none[/]\n"
    )
    gateway.freeze()
    try:
        await customers.order(IN_THE_OUTAGE[:6], in_turn=False)
        # Their calls hang until time is up, then the circuit opens.
        await until(lambda: stage.timeline.outage(GATEWAY, WORKER) is not None, at_most_s=12)
        if signals.caught is None:
            lanes = await customers.order(IN_THE_OUTAGE[6:], in_turn=False)
            await until(lambda: all(waits_for_payment(lane) for lane in lanes))
    finally:
        stage.say(
            f"[bold]$ kill -CONT {gateway.pid}[/]  [dim]# it works again, beginning with the calls "
            "that hung[/]\n"
        )
        gateway.thaw()
    await until(lambda: stage.timeline.outage(GATEWAY, WORKER) is None, at_most_s=12)


def waits_for_payment(lane: Lane) -> bool:
    """Whether an order's payment was not even asked for yet."""
    return "payment" in lane.rows and lane.rows["payment"].spared > 0


async def send_assistant(stage: Stage, town: Town, request_id: str) -> None:
    """One more customer, by MCP. Its order is a lane like any other, and has that request id."""
    visit = stage.visit = Visit(time.time())
    lanes: list[Lane] = []

    def order_sent(title: str) -> Lane:
        lanes.append(stage.timeline.sent(request_id, f"{title}, by MCP", time.time()))
        return lanes[0]

    await Assistant(town.url, visit, order_sent).go_shopping()
    stage.visited(visit)
    for lane in lanes:
        stage.changed(lane)
        await stage.until_finished(lane)


async def kill(moment: Moment, stage: Stage, town: Town, lane: Lane) -> None:
    """Kill whoever is to be killed, at that moment, and wait until he is dead."""
    if moment == "answered":
        victim, why = town.web, f"order {lane.order_id} has its 201, and nothing else"
    elif moment == "busy":
        victim, why = town.worker, "in the middle of whatever it is doing"
        await until(lambda: len(stage.timeline.running(WORKER)) > 1)
    else:
        victim = town.worker
        why = f"the card of order {lane.order_id} is charged, and the answer is on its way"
        await until_charged(town.services["payment"], lane.order_id)
    kills = victim.kills
    stage.say(f"[bold]$ kill -9 {stage.pids[victim.name]}[/]  [dim]# the {victim.name}: {why}[/]")
    victim.kill()
    await until(lambda: victim.kills > kills)


async def until_charged(gateway: Service, order_id: int | None) -> None:
    """Wait until the gateway has a charge in its book."""
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        for _ in range(300):
            book = (await client.get("/received")).json()
            if any(each["body"]["order"] == order_id for each in book):
                return
            await asyncio.sleep(0.02)


async def until(condition: Callable[[], bool], *, at_most_s: float = 5) -> None:
    """Wait until something is so, but not for ever."""
    for _ in range(round(at_most_s * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)


def why(answer: httpx.Response) -> str:
    """What an error answer says."""
    if answer.is_success:
        return ""
    if answer.headers.get("Content-Type") != "application/problem+json":
        return f"no problem details, but {answer.text[:60]!r}"  # not by the shop, then
    problem = answer.json()
    if "errors" in problem:
        return "invalid " + ", ".join(str(each["loc"][-1]) for each in problem["errors"])
    return str(problem["detail"])


async def conclude(stage: Stage, town: Town, options: Options) -> bool:
    """Sum up, ask the database and the third parties whether all was done, and say so."""
    stage.sum_up()
    await show_dead_letters(stage)
    lanes, visit = stage.timeline.lanes.values(), stage.visit
    accepted = {lane.order_id for lane in lanes if lane.accepted and lane.order_id is not None}
    books, silent = await collect(town.services)
    unanswered = [lane.request_id for lane in lanes if lane.status is None]
    gone = [
        lane.order_id
        for lane in lanes
        if "analytics" in lane.rows and lane.rows["analytics"].state == "gone" and lane.order_id
    ]
    wrong = [
        *silent,
        *audit(
            stage.database,
            books,
            accepted,
            unanswered=unanswered,
            may_be_gone=gone,
            photos=visit.photos if visit else None,
        ),
        *(f"request {request_id} was never answered" for request_id in unanswered),
        *([f"the assistant went home: {visit.said}"] if visit and visit.said else ()),
    ]
    for line in account(stage, options, books, gone):
        stage.say(line)
    if not wrong:
        unpaid = sum(lane.verdict == "payment_failed" for lane in lanes)
        called_off = f", {unpaid} called off without payment" if unpaid else ""
        stage.say(
            f"[bold green]All accepted orders ({len(accepted)}) were fully processed:[/] "
            f"{len(accepted) - unpaid} paid and shipped{called_off}."
        )
        stage.say(
            "The SQLite file says so, and so do the third parties' books: nothing lost, nothing "
            "twice."
        )
        if visit is not None:
            stage.say(
                "The assistant sent its order twice, and it was placed once. Its photo is in the "
                "file, byte for byte, with the thumbnail that a durable job made of it."
            )
        return True
    stage.say("[bold red]Not everything was done:[/]")
    for line in wrong:
        stage.say(f"[red]  {escape(line)}[/]")
    return False


def account(
    stage: Stage, options: Options, books: Mapping[str, Any], gone: Sequence[int]
) -> list[str]:
    """What the kills came to, a line each."""
    said = []
    if pauses := stage.timeline.pauses_after_kills():
        said.append(
            f"{counted(len(pauses), 'durable job')} killed with a worker, run again within "
            f"{max(pauses):.1f} s by the next one (lease {options.lease_s:g} s)."
        )
    if gone:
        said.append(
            f"{counted(len(gone), 'analytics event')} killed with the web process and gone: that "
            "task is not durable."
        )
    said += [
        f"{counted(outage.spared, 'call')} spared a gateway that hung: the circuit was open for "
        f"{outage.closed_at - outage.opened_at:.1f} s. Payments waited, and lost no attempt by that."
        for outage in stage.timeline.outages
        if outage.party == GATEWAY and outage.closed_at is not None
    ]
    again = sum(each["asked"] > 1 for book in books.values() for each in book.values())
    if again:
        said.append(
            f"{counted(again, 'answer')} of third parties lost. Asked again with the job's id, "
            "they knew that it was done."
        )
    return [*said, ""] if said else []


def counted(number: int, what: str) -> str:
    """``1 answer``, ``2 answers``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


async def show_dead_letters(stage: Stage) -> None:
    """As an operator would look at them."""
    shown = ("jobs", "list", "--state", "discarded", "--database")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "backstay", *shown, str(stage.database)),
        cwd=ROOT,
        env={**os.environ, "COLUMNS": str(stage.width), "PYTHONIOENCODING": stage.encoding},
        stdout=PIPE,
        stderr=PIPE,
    )
    output, trouble = await process.communicate()
    stage.say(f"[bold]$ backstay {' '.join(shown)} {stage.database.name}[/]")
    stage.show(Text.from_ansi((output or trouble).decode(errors="replace").rstrip()))
    stage.say()


# ------------------------------------------------------------------ the theatre


async def run(options: Options, console: Console) -> int:
    """Everything, with every process ended in the end.

    Returns:
        The exit status: 0 if all was done, 1 if not, 128 + n if signal n came before that.
    """
    signals = Signals()
    customers: asyncio.Task[None] | None = None
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory(prefix="backstay-shop-"))
        stage = Stage(console, Path(directory) / "shop.db")
        failures = dict.fromkeys(options.broken, 1.0)
        services = await stack.enter_async_context(
            third_parties(seed=options.seed, failures=failures)
        )
        for service in services.values():
            service.when_ended(stage.mourn)
        stack.enter_context(stage.alive())
        env = {
            **settings_for(services),
            "DATABASE": str(stage.database),
            "BACKSTAY_SECRET_KEY": secrets.token_urlsafe(32),
            "LEASE_S": str(options.lease_s),
            "WAIT_S": str(WAIT_S),
            "OPEN_DOCS": "1",  # on this machine alone
        }
        worker = await stack.enter_async_context(
            Kept.start(
                WORKER,
                "backstay",
                "worker",
                "examples.shop.app:app",
                "--json-logs",
                env=env,
                on_line=stage.reader(WORKER),
                stop_s=25,  # more than its grace
                on_started=stage.started,
                on_killed=stage.killed,
            )
        )
        # As a service manager does, the demo holds the socket: while the shop is started again,
        # customers wait instead of being turned away.
        port = options.port if is_free(options.port) else 0
        listening = stack.enter_context(socket.create_server(("127.0.0.1", port)))
        web = await stack.enter_async_context(
            Kept.start(
                WEB,
                "examples.shop",
                "--fd",
                str(listening.fileno()),
                env=env,
                listening=listening,
                on_line=stage.reader(WEB),
                stop_s=25,  # more than backstay's two periods of grace
                on_started=stage.started,
                on_killed=stage.killed,
            )
        )
        town = Town(f"http://127.0.0.1:{listening.getsockname()[1]}", web, worker, services)
        customers = asyncio.create_task(place_orders(stage, town, options, signals))
        try:
            status = await attend(stage, town, customers, options, signals)
        finally:
            customers.cancel()
            await asyncio.gather(customers, return_exceptions=True)
    stage.say("[dim]Every process has ended.[/]")
    return status


async def attend(
    stage: Stage, town: Town, customers: asyncio.Task[None], options: Options, signals: Signals
) -> int:
    """See the customers through, leave the shop up if so wished, notice what ends it early.

    Returns:
        The exit status so far.
    """
    ends = (town.web.ended, town.worker.ended)
    await first_of(asyncio.shield(customers), signals.wait(), *(end() for end in ends))
    if signals.caught is not None:
        if stage.under_way:
            stage.say(
                f"Stopping: {len(stage.under_way)} under way, which the shop will finish first.\n"
            )
        await first_of(asyncio.shield(customers), *(end() for end in ends))
    for kept in (town.web, town.worker):
        if kept.returncode is not None:
            stage.say(f"[bold red]The {kept.name} process has ended ({kept.returncode}):[/]")
            for line in kept.last_words:
                stage.say(f"  {escape(plain(line))}")
            return 1
    await customers
    done = await conclude(stage, town, options) if stage.timeline.lanes else True
    if signals.caught is not None:
        return 128 + signals.caught
    if not options.once:
        stage.stay(
            town.url,
            f"kill -9 {stage.pids[WORKER]} is the worker, kill -9 {stage.pids[WEB]} the web "
            "process. They are started again.",
        )
        await first_of(signals.wait(), *(end() for end in ends))
        if signals.caught is None:
            stage.say("[bold red]A process of the shop's has ended.[/]")
            return 1
    return 0 if done else 1


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
    parser.add_argument("--pace", type=float, default=0.4, help="seconds between orders")
    parser.add_argument("--lease", type=float, default=2.0, help="of workers, in seconds")
    parser.add_argument("--no-kills", action="store_true", help="let everybody live")
    parser.add_argument("--no-outage", action="store_true", help="let the gateway work")
    given = parser.parse_args(arguments)
    broken = tuple(filter(None, given.broken.split(",")))
    for name in broken:
        if name not in THIRD_PARTIES:
            parser.error(f"there is no third party {name!r}; there are {', '.join(THIRD_PARTIES)}")
    return Options(
        given.once,
        given.seed,
        broken,
        given.rounds,
        given.port,
        given.pace,
        not given.no_kills,
        given.lease,
        not given.no_outage,
    )


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
