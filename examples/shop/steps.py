"""What is done for an order: each step a background task, with what happens when it fails."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

import httpx

from backstay import current_context
from backstay.tasks import Failed, Retry, Task
from examples.shop.models import Order, State
from examples.shop.store import SoldOut, Store

P = ParamSpec("P")


@dataclass(frozen=True)
class Shop:
    """What endpoints and steps work with; open for as long as the app's lifespan is."""

    store: Store
    http: httpx.AsyncClient


class CardDeclined(Exception):
    """The bank said no. Asking again would not change that."""


def may_pass(error: Exception) -> bool:
    """Whether trying again may help: nobody answered, or the server had trouble of its own."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)


PATIENTLY = Retry(attempts=6, base_s=0.1, max_s=0.4, on=may_pass)
BRIEFLY = Retry(attempts=3, base_s=0.1, on=may_pass)


# ------------------------------------------------------------------ the steps


def step(
    func: Callable[Concatenate[Shop, Order, P], Coroutine[Any, Any, str]],
) -> Callable[Concatenate[Shop, Order, P], Coroutine[Any, Any, None]]:
    """Keep the record of a step: ``GET /orders/{id}`` shows it, the log tells it live.

    The name of the task is the name of the step. What the function returns is a line for people.
    """

    @functools.wraps(func)
    async def recorded(shop: Shop, order: Order, /, *args: P.args, **kwargs: P.kwargs) -> None:
        task = current_context().work
        assert isinstance(task, Task)
        await note(shop, order, task.name, "running")
        try:
            done = await func(shop, order, *args, **kwargs)
        except Exception as error:
            retry = task.config.retry
            again = retry is not None and retry.wants(error, task.attempts)
            await note(shop, order, task.name, "retrying" if again else "failed", brief(error))
            raise
        await note(shop, order, task.name, "done", done)

    return recorded


@step
async def charge_card(shop: Shop, order: Order, card: str) -> str:
    """Take the money, once: the gateway knows a second attempt by its idempotency key."""
    try:
        answer = await post(
            shop,
            "PAYMENT_URL",
            "/charges",
            {"amount_cents": order.total_cents, "card": card},
            key=f"order-{order.id}",
        )
    except httpx.HTTPStatusError as error:
        if error.response.status_code == 402:
            raise CardDeclined("card declined") from error
        raise
    return "was charged already" if answer.headers.get("Idempotent-Replayed") else "charged"


@step
async def reserve_stock(shop: Shop, order: Order) -> str:
    """Set the goods aside."""
    return "reserved" if await shop.store.reserve(order) else "called off before"


@step
async def send_confirmation(shop: Shop, order: Order) -> str:
    """Tell the customer that the order has arrived."""
    body = {"to": order.email, "template": "order_received", "order": order.id}
    await post(shop, "EMAIL_URL", "/messages", body, key=f"order-{order.id}")
    return "sent"


async def ship_when_paid(shop: Shop, order: Order, payment: Task) -> None:
    """Nobody ships what is not paid for."""
    if (await payment.wait()).ok:
        await notify_warehouse(shop, order)
    else:
        await note(shop, order, "warehouse", "skipped", "not paid")


@step
async def notify_warehouse(shop: Shop, order: Order) -> str:
    """Have the goods packed."""
    body = {"order": order.id, "items": [item.model_dump() for item in order.items]}
    await post(shop, "WAREHOUSE_URL", "/shipments", body, key=f"order-{order.id}")
    return "notified after payment"


@step
async def track_order(shop: Shop, order: Order) -> str:
    """Tell the statistics. Nice to have, so it is not tried for long."""
    body = {"event": "order_placed", "order": order.id, "total_cents": order.total_cents}
    await post(shop, "ANALYTICS_URL", "/events", body, key=f"order-{order.id}")
    return "tracked"


async def refund_what_was_paid(shop: Shop, order: Order, payment: Task) -> None:
    """Give back what the payment took, or may have taken."""
    match await payment.wait():
        case Failed(CardDeclined()):
            await note(shop, order, "refund", "skipped", "never paid")
        case _:
            # Also when the payment failed: the charge may have come through and its answer not.
            await refund(shop, order)


@step
async def refund(shop: Shop, order: Order) -> str:
    """Undo the charge made under the order's key, if there is one, and prevent a later one."""
    answer = await post(shop, "PAYMENT_URL", "/refunds", {}, key=f"order-{order.id}")
    return "given back" if answer.json()["refunded"] else "nothing had been charged"


async def send_welcome(shop: Shop, email: str) -> None:
    """Greet a new reader of the newsletter."""
    body = {"to": email, "template": "welcome"}
    await post(shop, "EMAIL_URL", "/messages", body, key=f"welcome-{email}")


# ------------------------------------------------------------------ when they fail for good


async def payment_failed(task: Task, error: Exception) -> None:
    """No money, no order. The goods go back on the shelf."""
    shop, order, _ = task.args
    await shop.store.call_off(order, "payment_failed")
    if not isinstance(error, CardDeclined):
        await start_refund(shop, order, payment=task)
    await note(shop, order, task.name, "handled", f"{brief(error)} → payment_failed")


async def reservation_failed(payment: Task, task: Task, error: Exception) -> None:
    """Nothing to sell. The payment is under way already, so it has to be undone."""
    shop, order = task.args
    status = "sold_out" if isinstance(error, SoldOut) else "needs_attention"
    await shop.store.call_off(order, status)
    await start_refund(shop, order, payment)
    await note(shop, order, task.name, "handled", f"→ {status}")


async def keep_event(task: Task, error: Exception) -> None:
    """The statistics cannot be reached: the event waits in the database."""
    shop, order = task.args
    await shop.store.keep_event(order, "order_placed")
    await note(shop, order, task.name, "handled", f"{brief(error)} → kept in database")


async def call_for_help(task: Task, error: Exception) -> None:
    """For every task without a handler of its own: a human being has to look at this."""
    current_context().logger.error("%s needs a human being: %s", task.name, brief(error))
    match task.args:
        case [Shop() as shop, Order() as order, *_]:
            await shop.store.flag(order)
            await note(shop, order, task.name, "given_up", brief(error))


async def start_refund(shop: Shop, order: Order, payment: Task) -> None:
    """What an error handler starts is a task like any other."""
    await note(shop, order, "refund", "waiting")
    tasks = current_context().tasks
    tasks.task(name="refund", shield=True, retry=PATIENTLY).schedule(
        refund_what_was_paid, shop, order, payment
    )


# ------------------------------------------------------------------ what they share


async def post(
    shop: Shop, base_url: str, path: str, body: dict[str, Any], *, key: str
) -> httpx.Response:
    """Call a third party, in a way that makes calling it twice harmless.

    Args:
        base_url: the setting that says where it is.
        key: the same for every attempt at the same thing.

    Raises:
        httpx.HTTPError: no answer, or one that is not a success.
    """
    ctx = current_context()
    answer = await shop.http.post(
        ctx.settings.require(base_url) + path,
        json=body,
        headers={"X-Request-ID": ctx.correlation_id, "Idempotency-Key": key},
    )
    return answer.raise_for_status()


async def note(shop: Shop, order: Order, step: str, state: State, detail: str = "") -> None:
    """Write down and log how far a step is."""
    ctx = current_context()
    attempts = ctx.work.attempts if isinstance(ctx.work, Task) else 0
    await shop.store.note_step(order, step, state, attempts=attempts, detail=detail)
    about = {"order": order.id, "step": step, "state": state, "attempt": attempts, "detail": detail}
    ctx.logger.info("order %d: %s %s", order.id, step, state, extra=about)


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
