"""What is done for an order: durable jobs, and what becomes of it when one fails for good.

::

    the order's request ──> payment ──┬──> receipt ────┬──> closing
                                      └──> warehouse ──┘

While a third party is down, jobs that need it wait: see ``patience``.

Each arrow is a row that is written in the same transaction as what it follows from: the order and
its payment job, the booking and the two jobs after it. So there is no moment at which a process
may die and an order has one without the other.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Annotated, ParamSpec

from sqlalchemy.ext.asyncio import AsyncSession

from backstay import Context, current_context
from backstay.context import Moment
from backstay.errors import CallRefused, UnknownJob
from backstay.tasks import Discard, JobFailure, Secret, Snooze, Task, task
from examples.shop import store
from examples.shop.integrations import Analytics, Mail, ParcelService, PaymentGateway
from examples.shop.models import Item, NewOrder, Order, Step
from examples.shop.patience import BRIEFLY, PATIENTLY, brief, may_pass, waiting_for
from examples.shop.premises import CurrentShop, Shop
from examples.shop.views import PRODUCTS_CHANGED

P = ParamSpec("P")


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
            except Snooze as pause:
                asked = not isinstance(pause.__cause__, CallRefused)
                detail = f"{brief(pause.__cause__)}, again in {pause.seconds:.1f} s"
                log(ctx, order_id, name, "retrying" if asked else "spared", detail)
                raise
            except Discard as end:
                log(ctx, order_id, name, "failed", f"{brief(end.__cause__)} for too long")
                raise
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
    gateway = shop.partners.payment.with_options(idempotency_key=payment_key)
    with waiting_for(gateway, ctx, for_ever=True):
        answer = await gateway.refund(order_id)
    return "given back" if answer.refunded else "nothing had been charged"


@task(name="shop.payment_failed", transactional=True)
async def payment_failed(failure: JobFailure, ctx: Context) -> None:
    """All attempts are used up, or their workers died: no money, no order."""
    order_id = int(failure.args["order_id"])
    await store.call_off(ctx.db.session, order_id)
    await ctx.cache.invalidate(PRODUCTS_CHANGED)
    # The charge may have come through and its answer not.
    ctx.tasks.durable.schedule(give_back, order_id, str(failure.job_id))
    log(ctx, order_id, "refund", "waiting")
    why = "out of patience" if failure.error_type == "Discard" else failure.error_type
    log(ctx, order_id, "payment", "handled", f"{why} → payment_failed")
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
    gateway = shop.partners.payment.with_options(idempotency_key=str(ctx.job.id))
    new = PaymentGateway.Schema.NewCharge(order=order_id, amount_cents=amount_cents, card=card)
    with waiting_for(gateway, ctx):
        charge = await gateway.charge(new)
    if isinstance(charge, PaymentGateway.SchemaError.http402):
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
    return "had been charged already" if charge.is_replay else "charged"


@task(name="shop.receipt", queue="mail", retry=PATIENTLY, on_discard=call_for_help)
@step("receipt")
async def send_receipt(order_id: int, email: str, ctx: Context, shop: CurrentShop) -> str:
    """Tell the customer that the money has arrived."""
    mail = shop.partners.mail.with_options(idempotency_key=str(ctx.job.id))
    with waiting_for(mail, ctx):
        await mail.send(Mail.Schema.NewMessage(to=email, template="receipt", order=order_id))
    return "sent"


@task(name="shop.warehouse", queue="warehouse", retry=PATIENTLY, on_discard=call_for_help)
@step("warehouse")
async def notify_warehouse(
    order_id: int, items: list[Item], ctx: Context, shop: CurrentShop
) -> str:
    """Have the goods packed."""
    parcels = shop.partners.parcels.with_options(idempotency_key=str(ctx.job.id))
    lines = [ParcelService.Schema.Line(sku=each.sku, quantity=each.quantity) for each in items]
    with waiting_for(parcels, ctx):
        await parcels.ship(order_id, lines)
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
    event = Analytics.Schema.Event(
        event="order_placed", order=order.id, total_cents=order.total_cents
    )
    # The same key for all attempts: this task's, which are not in any ledger.
    analytics = shop.partners.analytics.with_options(idempotency_key=f"order-{order.id}")
    try:
        await analytics.track(event)
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
    mail = shop.partners.mail.with_options(idempotency_key=f"welcome-{email}")
    await mail.welcome(email)


# ------------------------------------------------------------------ what they share


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
