"""What is done for an order: durable jobs, and what becomes of it when one fails for good.

::

    the order's request ──> payment ──┬──> receipt ────┬──> closing
                                      └──> warehouse ──┘

Each arrow is a row that is written in the same transaction as what it follows from: the order and
its payment job, the booking and the two jobs after it. So there is no moment at which a process
may die and an order has one without the other.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, ParamSpec

import httpx
from sqlalchemy.ext.asyncio import AsyncSession

from backstay import Context, current_context
from backstay.context import Moment
from backstay.errors import UnknownJob
from backstay.tasks import JobFailure, Retry, Secret, Task, task
from examples.shop import store
from examples.shop.models import Item, NewOrder, Order, Step
from examples.shop.premises import CurrentShop, Shop
from examples.shop.views import PRODUCTS_CHANGED

P = ParamSpec("P")


def may_pass(error: Exception) -> bool:
    """Whether trying again may help: unless somebody says that it is our fault."""
    return not isinstance(error, httpx.HTTPStatusError) or error.response.status_code >= 500


# Short pauses, because people are watching. A shop would leave retry= out: ten attempts in half
# an hour.
PATIENTLY = Retry(attempts=8, base_s=0.1, max_s=0.3, on=may_pass)
BRIEFLY = Retry(attempts=3, base_s=0.1, on=may_pass)


def step(
    name: str,
) -> Callable[[Callable[P, Awaitable[str]]], Callable[P, Awaitable[str]]]:
    """Log when a step begins and how it ends. What the function returns is a line for people."""

    def around(func: Callable[P, Awaitable[str]]) -> Callable[P, Awaitable[str]]:
        @functools.wraps(func)
        async def recorded(*args: P.args, **kwargs: P.kwargs) -> str:
            ctx = current_context()
            given = kwargs.get("order_id", args[0] if args else None)
            assert isinstance(given, int), "the first parameter of a step is its order's id"
            order_id = given
            log(ctx, order_id, name, "running")
            try:
                done = await func(*args, **kwargs)
            except Exception as error:
                last = ctx.job.attempt >= ctx.job.max_attempts or not may_pass(error)
                log(ctx, order_id, name, "failed" if last else "retrying", brief(error))
                raise
            # Not before the ledger has it: until then, the job would be run again.
            when_kept(ctx, lambda: log(ctx, order_id, name, "done", done))
            return done

        return recorded

    return around


# ------------------------------------------------------------------ when they fail for good


@task(name="shop.refund", queue="payments", retry=PATIENTLY)
@step("refund")
async def give_back(order_id: int, payment_key: str, ctx: Context, shop: CurrentShop) -> str:
    """Undo the charge made under a key, if there is one, and prevent a later one."""
    answer = await post(shop, ctx, "PAYMENT_URL", "/refunds", {"order": order_id}, key=payment_key)
    return "given back" if answer.json()["refunded"] else "nothing had been charged"


@task(name="shop.payment_failed", transactional=True)
async def payment_failed(failure: JobFailure, ctx: Context) -> None:
    """All attempts are used up, or their workers died: no money, no order."""
    order_id = int(failure.args["order_id"])
    await store.call_off(ctx.db.session, order_id)
    await ctx.cache.invalidate(PRODUCTS_CHANGED)
    # The charge may have come through and its answer not.
    ctx.tasks.durable.schedule(give_back, order_id, str(failure.job_id))
    log(ctx, order_id, "refund", "waiting")
    log(ctx, order_id, "payment", "handled", f"{failure.error_type} → payment_failed")
    ended(ctx, order_id, "payment_failed")


@task(name="shop.call_for_help", transactional=True)
async def call_for_help(failure: JobFailure, ctx: Context) -> None:
    """It is paid, and now nobody takes the receipt or the parcel. A human being has to look."""
    order_id = int(failure.args["order_id"])
    await store.flag(ctx.db.session, order_id)
    ended(ctx, order_id, "needs_attention")


# ------------------------------------------------------------------ the durable steps


@task(
    name="shop.payment",
    queue="payments",
    retry=PATIENTLY,
    transactional=True,
    on_discard=payment_failed,
)
@step("payment")
async def take_payment(
    order_id: int,
    amount_cents: int,
    card: Annotated[str, Secret],
    ctx: Context,
    shop: CurrentShop,
) -> str:
    """Take the money and book it, each once, whatever dies in between.

    The gateway knows a second attempt by the job's id. What is written here is committed
    together with the job's completion, and so are the two jobs that follow.
    """
    body = {"order": order_id, "amount_cents": amount_cents, "card": card}
    try:
        answer = await post(shop, ctx, "PAYMENT_URL", "/charges", body, key=str(ctx.job.id))
    except httpx.HTTPStatusError as error:
        if error.response.status_code != 402:
            raise
        # That is an answer. Asking again would not change it.
        await store.call_off(ctx.db.session, order_id)
        await ctx.cache.invalidate(PRODUCTS_CHANGED)
        ended(ctx, order_id, "payment_failed")
        return "declined, called off"
    # From here on in a transaction, which is not held open while a third party thinks.
    session = ctx.db.session
    order = await store.book_payment(session, order_id, amount_cents)
    await ctx.cache.invalidate(PRODUCTS_CHANGED)  # once this is committed
    durable = ctx.tasks.durable
    receipt = durable.schedule(send_receipt, order_id, order.email)
    parcel = durable.schedule(notify_warehouse, order_id, order.items)
    durable.task(after=[receipt, parcel]).schedule(close_order, order_id)
    await store.remember_job(session, order_id, "receipt", receipt.id)
    await store.remember_job(session, order_id, "warehouse", parcel.id)
    return "had been charged already" if "Idempotent-Replayed" in answer.headers else "charged"


@task(name="shop.receipt", queue="mail", retry=PATIENTLY, on_discard=call_for_help)
@step("receipt")
async def send_receipt(order_id: int, email: str, ctx: Context, shop: CurrentShop) -> str:
    """Tell the customer that the money has arrived."""
    body = {"to": email, "template": "receipt", "order": order_id}
    await post(shop, ctx, "EMAIL_URL", "/messages", body, key=str(ctx.job.id))
    return "sent"


@task(name="shop.warehouse", queue="warehouse", retry=PATIENTLY, on_discard=call_for_help)
@step("warehouse")
async def notify_warehouse(
    order_id: int, items: list[Item], ctx: Context, shop: CurrentShop
) -> str:
    """Have the goods packed."""
    body = {"order": order_id, "items": [item.model_dump() for item in items]}
    await post(shop, ctx, "WAREHOUSE_URL", "/shipments", body, key=str(ctx.job.id))
    return "told to ship"


@task(name="shop.closing", transactional=True)
async def close_order(order_id: int, ctx: Context) -> None:
    """Receipt and warehouse notice are out."""
    await store.complete(ctx.db.session, order_id)
    ended(ctx, order_id, "processed")


# ------------------------------------------------------------------ how they begin, how far they are


async def begin(
    session: AsyncSession, new: NewOrder, ctx: Context, shop: Shop, *, owner: str | None = None
) -> Order:
    """Write an order down, and what it needs with it.

    Args:
        session: the request's, or ``ctx.db``'s: whoever commits that commits the first step too.
        new: what is wanted.
        ctx: of the request, or of the assistant's call.
        shop: for what runs in this process.
        owner: the account whose order it is, ``None`` for a guest's.

    Raises:
        UnknownProduct, SoldOut: as ``store.create_order``.
    """
    order = await store.create_order(session, new, ctx.correlation_id, owner=owner)
    await ctx.cache.invalidate(PRODUCTS_CHANGED)  # once whoever has the session has committed
    ctx.logger.info("order %d", order.id, extra={"order": order.id, "items": order.title})

    # In the session's transaction: no order without its payment, no payment without its order.
    payment = ctx.tasks.durable.on(session).schedule(
        take_payment, order.id, order.total_cents, new.card
    )
    await store.remember_job(session, order.id, "payment", payment.id)

    # When the customer has the answer, in this process, for as long as that lives.
    ctx.tasks.after_response.task(name="analytics", retry=BRIEFLY, on_error=keep_event).schedule(
        track_order, shop, order
    )
    return order


async def steps_of(
    session: AsyncSession, order_id: int, ctx: Context, *, with_faults: bool = False
) -> list[Step]:
    """How far an order's durable steps are, as the ledger has it. Those that have begun.

    Args:
        session: to look with.
        order_id: whose.
        ctx: of the request or call that asks.
        with_faults: whether to say why attempts failed, which names what the shop depends on.
    """
    steps = []
    for name, job_id in (await store.jobs_of(session, order_id)).items():
        try:
            job = await ctx.tasks.durable.job(job_id).status()
        except UnknownJob:
            continue  # long done, and history is pruned after a week
        error = job.error if with_faults else None
        detail = job.result or (f"{error['type']}: {error['message']}" if error else "")
        steps.append(
            Step(step=name, job=job_id, state=job.state, attempts=job.attempt, detail=detail)
        )
    return steps


# ------------------------------------------------------------------ and those in the process


async def track_order(shop: Shop, order: Order) -> None:
    """Tell the statistics. Nice to have: it may go down with the process it runs in."""
    ctx = current_context()
    work = ctx.work
    assert isinstance(work, Task)
    log(ctx, order.id, "analytics", "running")
    body = {"event": "order_placed", "order": order.id, "total_cents": order.total_cents}
    try:
        await post(shop, ctx, "ANALYTICS_URL", "/events", body, key=f"order-{order.id}")
    except Exception as error:
        again = BRIEFLY.wants(error, work.attempts)
        log(ctx, order.id, "analytics", "retrying" if again else "failed", brief(error))
        raise
    log(ctx, order.id, "analytics", "done", "tracked")


async def keep_event(work: Task, error: Exception) -> None:
    """The statistics cannot be reached: the event waits in the database."""
    shop, order = work.args
    async with shop.new_session() as session, session.begin():
        await store.keep_event(session, order.id, "order_placed")
    log(current_context(), order.id, "analytics", "handled", f"{brief(error)} → kept in database")


async def subscribe(shop: Shop, email: str) -> None:
    """Add a reader to the newsletter."""
    async with shop.new_session() as session, session.begin():
        await store.subscribe(session, email)


async def send_welcome(shop: Shop, email: str) -> None:
    """Greet a new reader of the newsletter."""
    body = {"to": email, "template": "welcome"}
    await post(shop, current_context(), "EMAIL_URL", "/messages", body, key=f"welcome-{email}")


# ------------------------------------------------------------------ what they share


async def post(
    shop: Shop, ctx: Context, base_url: str, path: str, body: dict[str, Any], *, key: str
) -> httpx.Response:
    """Call a third party, in a way that makes calling it twice harmless.

    Args:
        shop: has the connections.
        ctx: whose work it is.
        base_url: the setting that says where it is.
        path: on that server.
        body: becomes JSON.
        key: the same for every attempt at the same thing.

    Raises:
        httpx.HTTPError: no answer, or one that is not a success.
    """
    answer = await shop.http.post(
        ctx.settings.require(base_url) + path,
        json=body,
        headers={"X-Request-ID": ctx.correlation_id, "Idempotency-Key": key},
    )
    return answer.raise_for_status()


def log(ctx: Context, order_id: int, step: str, state: str, detail: str = "") -> None:
    """Say how far a step is."""
    about = {"order": order_id, "step": step, "state": state, "detail": detail}
    ctx.logger.info("order %d: %s %s", order_id, step, state, extra=about)


def ended(ctx: Context, order_id: int, verdict: str) -> None:
    """Say what became of an order."""
    about = {"order": order_id, "verdict": verdict}
    when_kept(ctx, lambda: ctx.logger.info("order %d: %s", order_id, verdict, extra=about))


def when_kept(ctx: Context, say: Callable[[], None]) -> None:
    """Say something as soon as what this job did is on disk, and not at all if it is not."""

    def answered(succeeded: bool) -> None:
        if succeeded:
            say()

    ctx.at(Moment.ANSWERED, answered)


def brief(error: Exception) -> str:
    """An error in a few words, for people."""
    match error:
        case httpx.HTTPStatusError():
            return f"answered {error.response.status_code}"
        case httpx.ConnectError():
            return "unreachable"
        case httpx.TimeoutException():
            return "no answer in time"
        case httpx.TransportError():
            return "connection lost"
    return str(error)
