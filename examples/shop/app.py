"""The shop's endpoints, and the app around them.

::

    python -m examples.shop                        the web process
    python -m backstay worker examples.shop.app:app    the durable jobs
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Path, Request
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from backstay.cache import add_cache
from backstay.db import MainDatabaseManager, add_database
from backstay.tasks import add_tasks
from backstay.web import Ctx, install, installed, problem_response
from examples.shop import store
from examples.shop.models import NewOrder, Order, OrderDetails, Subscription
from examples.shop.steps import (
    CurrentShop,
    Shop,
    begin,
    get_shop,
    send_welcome,
    steps_of,
    subscribe,
)
from examples.shop.views import add_views
from examples.shop.widgets import add_widgets

REQUIRED = (
    "BACKSTAY_SECRET_KEY",
    "DATABASE",
    "PAYMENT_URL",
    "EMAIL_URL",
    "WAREHOUSE_URL",
    "ANALYTICS_URL",
)

DESCRIPTION = """
Place an order, then look at it a few times: its steps go on while you watch, in a process of
their own. Kill that with `kill -9`, start it again, and they go on.

| step | | if it fails |
| --- | --- | --- |
| payment | **durable**, written with the order | is tried again; then the order is `payment_failed` |
| receipt, warehouse | **durable**, written with the booking of the payment | are tried again; then somebody is told |
| analytics | in the web process, **after the response** | is tried again; then the event is kept |

Products, customers and the list of orders are view sets: filters, search, pages and cursors, ETags,
and answers about products that are kept until an order changes what is left of them.

AI assistants shop at `/mcp`: they find products, place orders, follow them and upload photos.
"""

router = APIRouter()
add_views(router)


async def get_session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """One transaction for each request: committed when the endpoint has returned."""
    async with get_shop(connection).new_session() as session, session.begin():
        yield session


# scope="function": the commit comes before the answer, so a 201 is never a lie.
Session = Annotated[AsyncSession, Depends(get_session, scope="function")]


@router.post(
    "/orders",
    status_code=201,
    tags=["orders"],
    summary="Place an order",
    response_description="The order is yours, and whatever it needs is on disk. The rest follows.",
    responses={
        409: {
            "description": "Sold out. Nothing is charged.",
            "content": {"application/problem+json": {}},
        },
        422: {
            "description": "Something in the order will not do, or there is no such product.",
            "content": {"application/problem+json": {}, "application/json": {}},
        },
    },
)
async def place_order(new: NewOrder, ctx: Ctx, shop: CurrentShop, session: Session) -> Order:
    """Sets the items aside and answers. Payment, receipt and warehouse notice come after the
    answer, and they will come: the job that begins them is in the transaction of the order.
    """
    return await begin(session, new, ctx, shop)


@router.get(
    "/orders/{order_id}",
    tags=["orders"],
    summary="Show an order and how far it is",
    responses={404: {"description": "There is no such order."}},
)
async def get_order(
    order_id: Annotated[int, Path(ge=1, le=2**63 - 1)], ctx: Ctx, session: Session
) -> OrderDetails:
    """The order with the state of each of its durable steps, as the ledger has it."""
    order = await store.find_order(session, order_id)
    if order is None:
        raise HTTPException(404, f"There is no order {order_id}.")
    return OrderDetails(**order.model_dump(), steps=await steps_of(session, order_id, ctx))


@router.post("/newsletter", status_code=202, tags=["newsletter"], summary="Sign up for news")
async def sign_up(
    subscription: Subscription, background_tasks: BackgroundTasks, shop: CurrentShop
) -> Subscription:
    """FastAPI's own `BackgroundTasks`, as in any app. backstay runs them: one that fails no
    longer drops the next, its failure is logged and handled, and a shutdown waits for them.
    """
    background_tasks.add_task(subscribe, shop, subscription.email)
    background_tasks.add_task(send_welcome, shop, subscription.email)
    return subscription


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the database and one pool of connections, for requests, tasks and jobs alike.

    backstay stops its worker and drains its tasks before it lets this end, so no job finds
    them closed.
    """
    settings = installed(app).settings
    for name in REQUIRED:
        settings.require(name)  # better at the start than at the first order
    manager: MainDatabaseManager = app.state.DATABASE_MANAGER
    async with manager.aengine.begin() as connection:
        await connection.run_sync(store.prepare)
    async with httpx.AsyncClient(timeout=2.0) as http:
        app.state.shop = Shop(manager.asession, http)
        yield


def database_url(path: object) -> str:
    """The URL of an SQLite file."""
    return f"sqlite+aiosqlite:///{path}"


def answer_sold_out(request: Request, error: Exception) -> JSONResponse:
    return problem_response(409, str(error), title="Sold out", instance=request.url.path)


def answer_unknown_product(request: Request, error: Exception) -> JSONResponse:
    return problem_response(422, str(error), title="Unknown product", instance=request.url.path)


def create_app(
    settings: Mapping[str, Any] | None = None, *, json_logs: bool | None = None
) -> FastAPI:
    """The shop.

    Args:
        settings: values for ``REQUIRED``; what is not given comes from the environment or
            ``.env``. ``LEASE_S`` and ``WORKER`` (``0``: none in this process) may be there too.
        json_logs: ``True`` sets up the process's logging, one JSON object a line.
    """
    app = FastAPI(
        title="Tea shop",
        summary="An example of backstay.",
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_tags=[
            {"name": "orders", "description": "Durable jobs, in one transaction with the order."},
            {"name": "products", "description": "A view set, its answers kept and tagged."},
            {"name": "customers", "description": "A view set with versions: If-Match, 412."},
            {"name": "newsletter", "description": "FastAPI's BackgroundTasks, unchanged."},
        ],
    )
    found = install(app, settings=settings, json_logs=json_logs).settings
    url = database_url(found.get("DATABASE", "shop.db"))
    manager = MainDatabaseManager(url, base=store.Base)
    add_database(app, manager)
    # In a file beside it, because the worker is another process and has to be able to invalidate.
    add_cache(app, url.removesuffix(".db").replace("+aiosqlite", "") + "-cache.db")
    add_tasks(
        app,
        database=url,
        session=get_session,
        worker=found.get("WORKER", "1") != "0",
        lease_s=float(found.get("LEASE_S", 10.0)),
    )
    app.include_router(router)
    add_widgets(app)
    app.add_exception_handler(store.SoldOut, answer_sold_out)
    app.add_exception_handler(store.UnknownProduct, answer_unknown_product)
    return app


app = create_app()
