"""The shop's endpoints, and the app around them.

``create_app()`` is what a server runs: ``python -m examples.shop``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse

from backstay.errors import HeldTaskFailed
from backstay.tasks import Failed, TaskConfig, Tasks, add_tasks
from backstay.web import Ctx, install, installed, problem_response
from examples.shop.models import NewOrder, Order, OrderDetails, Product, Subscription
from examples.shop.steps import (
    BRIEFLY,
    PATIENTLY,
    Shop,
    call_for_help,
    charge_card,
    keep_event,
    payment_failed,
    reservation_failed,
    reserve_stock,
    send_confirmation,
    send_welcome,
    ship_when_paid,
    track_order,
)
from examples.shop.store import SoldOut, Store, UnknownProduct

SETTINGS = ("DATABASE", "PAYMENT_URL", "EMAIL_URL", "WAREHOUSE_URL", "ANALYTICS_URL")

DESCRIPTION = """
Place an order, then look at it a few times: its steps go on while you watch.

| step | begins | if it fails |
| --- | --- | --- |
| payment | **now**, beside the endpoint | is tried again; then the order is `payment_failed` |
| inventory | **after the route**, and the answer waits for it | the answer is 409, the payment is given back |
| email, warehouse | **after the response** | are tried again; then somebody is told |
| analytics | **after the response** | is tried again; then the event is kept in the database |
"""

router = APIRouter()


def get_shop(request: Request) -> Shop:
    """What the lifespan opened."""
    shop: Shop = request.state.shop
    return shop


CurrentShop = Annotated[Shop, Depends(get_shop)]


@router.post(
    "/orders",
    status_code=201,
    tags=["orders"],
    summary="Place an order",
    response_description="The order is yours: its items are set aside. The rest follows.",
    responses={409: {"description": "Sold out. Nothing is charged."}},
)
async def place_order(
    new: NewOrder, tasks: Tasks, ctx: Ctx, shop: CurrentShop, request: Request
) -> Order:
    """Answers as soon as the items are set aside. Payment is under way by then, and the
    e-mail, the warehouse and the statistics come after the answer.
    """
    order = await shop.store.create_order(new, ctx.correlation_id)
    ctx.logger.info("order %d", order.id, extra={"order": order.id, "items": order.title})

    # Now, beside this function. Shielded: a deployment in the middle must not cut it off.
    payment = tasks.task(
        name="payment", shield=True, retry=PATIENTLY, on_error=payment_failed
    ).schedule(charge_card, shop, order, new.card)

    # When this function has returned. The answer waits, so that 201 means what it says.
    request.state.reservation = tasks.after_route.task(
        name="inventory", wait=True, on_error=partial(reservation_failed, payment)
    ).schedule(reserve_stock, shop, order)

    # When the customer has the answer.
    after = tasks.after_response
    after.task(name="email", retry=PATIENTLY).schedule(send_confirmation, shop, order)
    after.task(name="warehouse", retry=PATIENTLY).schedule(ship_when_paid, shop, order, payment)
    after.task(name="analytics", retry=BRIEFLY, on_error=keep_event).schedule(
        track_order, shop, order
    )
    return order


@router.get("/orders", tags=["orders"], summary="List the latest orders")
async def list_orders(
    shop: CurrentShop, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> list[Order]:
    """Newest first."""
    return await shop.store.orders(limit)


@router.get(
    "/orders/{order_id}",
    tags=["orders"],
    summary="Show an order and how far it is",
    responses={404: {"description": "There is no such order."}},
)
async def get_order(order_id: int, shop: CurrentShop) -> OrderDetails:
    """The order with the state of each of its steps, from the database."""
    order = await shop.store.order(order_id)
    if order is None:
        raise HTTPException(404, f"There is no order {order_id}.")
    return order


@router.get("/products", tags=["products"], summary="List what there is to buy")
async def list_products(shop: CurrentShop) -> list[Product]:
    """With prices, and how much is left."""
    return await shop.store.products()


@router.post("/newsletter", status_code=202, tags=["newsletter"], summary="Sign up for news")
async def sign_up(
    subscription: Subscription, background_tasks: BackgroundTasks, shop: CurrentShop
) -> Subscription:
    """FastAPI's own `BackgroundTasks`, as in any app. backstay runs them: one that fails no
    longer drops the next, its failure is logged and handled, and a shutdown waits for them.
    """
    background_tasks.add_task(shop.store.subscribe, subscription.email)
    background_tasks.add_task(send_welcome, shop, subscription.email)
    return subscription


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Open the database and one pool of connections, for requests and tasks alike.

    backstay drains its tasks before it lets this end, so no task finds them closed.
    """
    settings = installed(app).settings
    for name in SETTINGS:
        settings.require(name)  # better at the start than at the first order
    async with (
        Store.open(settings["DATABASE"]) as store,
        httpx.AsyncClient(timeout=2.0) as http,
    ):
        yield {"shop": Shop(store, http)}


def answer_sold_out(request: Request, error: Exception) -> JSONResponse:
    return problem_response(409, str(error), title="Sold out", instance=request.url.path)


def answer_unknown_product(request: Request, error: Exception) -> JSONResponse:
    return problem_response(422, str(error), title="Unknown product", instance=request.url.path)


def answer_reservation_failed(request: Request, error: Exception) -> JSONResponse:
    """The answer was held for the reservation, and that failed."""
    match request.state.reservation.outcome:
        case Failed(SoldOut() as sold_out):
            return answer_sold_out(request, sold_out)
    return problem_response(503, "Your order could not be placed.", instance=request.url.path)


def create_app(
    settings: Mapping[str, Any] | None = None, *, json_logs: bool | None = None
) -> FastAPI:
    """The shop.

    Args:
        settings: values for ``SETTINGS``; what is not given comes from the environment or ``.env``.
        json_logs: ``True`` sets up the process's logging, one JSON object a line.
    """
    app = FastAPI(
        title="Tea shop",
        summary="An example of backstay.",
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_tags=[
            {"name": "orders", "description": "Tasks at three moments of one request."},
            {"name": "products"},
            {"name": "newsletter", "description": "FastAPI's BackgroundTasks, unchanged."},
        ],
    )
    install(app, settings=settings, json_logs=json_logs)
    add_tasks(app, config=TaskConfig(on_error=call_for_help))
    app.include_router(router)
    app.add_exception_handler(SoldOut, answer_sold_out)
    app.add_exception_handler(UnknownProduct, answer_unknown_product)
    app.add_exception_handler(HeldTaskFailed, answer_reservation_failed)
    return app
