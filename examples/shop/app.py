"""The app: everything the shop is made of, wired together.

::

    python -m examples.shop                        the web process
    python -m backstay worker examples.shop.app:app    the durable jobs
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from backstay import Backstay
from backstay.auth import AuthPart, require_roles
from backstay.cache import add_cache
from backstay.db import MainDatabaseManager
from backstay.events import add_events
from backstay.jobs.part import DurablePart
from backstay.limits import add_limits, rate_limit
from backstay.pattern import HealthCheck, base_pattern
from backstay.tasks import add_tasks
from backstay.telemetry import add_telemetry
from backstay.web import install, installed, problem_response
from examples.shop import accounts, orders, store, warehouse
from examples.shop.accounts import Accounts, ShopAuth
from examples.shop.identity import ADMIN
from examples.shop.integrations import Partners
from examples.shop.integrations.partners import ADDRESSES
from examples.shop.models import Subscription
from examples.shop.order_keys import OrderKeys
from examples.shop.premises import CurrentShop, Shop, database_url, get_session
from examples.shop.steps import send_welcome, subscribe
from examples.shop.views import add_views
from examples.shop.widgets import add_widgets

__all__ = ["REQUIRED", "app", "create_app"]

REQUIRED = ("BACKSTAY_SECRET_KEY", "DATABASE", *ADDRESSES)

DESCRIPTION = r"""
Place an order, then look at it a few times: its steps go on while you watch, in a process of
their own. Kill that with `kill -9`, start it again, and they go on.

| step | | if it fails |
| --- | --- | --- |
| payment | **durable**, written with the order | is tried again; then the order is `payment_failed` |
| receipt, warehouse | **durable**, written with the booking of the payment | are tried again; then somebody is told |
| analytics | in the web process, **after the response** | is tried again; then the event is kept |

While a third party is down it is left alone: its circuit is open, orders are taken, and jobs
wait without using up attempts. What is asked of whom, and how that goes, is at
[/docintegration](/docintegration), for admins.

Products, customers and the list of orders are view sets: filters, search, pages and cursors, ETags,
and answers about products that are kept until an order changes what is left of them.

| who | how | sees |
| --- | --- | --- |
| guests | | products; their order, with the `order_key` that came with it as `X-Order-Key` |
| accounts | `POST /accounts`, then `POST /token` and `Authorization: Bearer …` | their own orders |
| admins | the same; the settings name one | all orders, and the customers |
| the warehouse | `X-API-Key`, made by `python -m examples.shop.keys` | what is to be packed |

Log in with the button *Authorize*, or by curl:

```sh
curl -s localhost:8000/accounts -H 'Content-Type: application/json' \
  -d '{"email": "grace@example.com", "password": "four words or more"}'
curl -s localhost:8000/token -d username=grace@example.com \
  --data-urlencode 'password=four words or more'
curl -s localhost:8000/orders -H 'Authorization: Bearer …'
```

AI assistants shop at `/mcp`: they find products, place orders, follow them and upload photos.
Guests' orders have their `order_key` there, too.
"""

router = APIRouter()
add_views(router)


@router.post(
    "/newsletter",
    status_code=202,
    tags=["newsletter"],
    summary="Sign up for news",
    dependencies=[Depends(rate_limit("20/minute", by="ip", name="newsletter", fail="closed"))],
)
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
    """Open the database, for requests, tasks and jobs alike.

    backstay stops its worker and drains its tasks before it lets this end, so no job finds it
    closed; and then it closes the connections to the third parties.
    """
    backstay = installed(app)
    settings = backstay.settings
    for name in REQUIRED:
        settings.require(name)  # better at the start than at the first order
    manager: MainDatabaseManager = app.state.DATABASE_MANAGER
    async with manager.aengine.begin() as connection:
        await connection.run_sync(store.prepare)
    await keep_admin(app, backstay)
    keys = OrderKeys.from_setting(settings.require("BACKSTAY_SECRET_KEY"))
    app.state.shop = Shop(manager.asession, app.state.partners, keys)
    yield


async def keep_admin(app: FastAPI, backstay: Backstay) -> None:
    """Have the admin that the settings name, if they do. Who knew an old password is logged out."""
    email = backstay.settings.get("ADMIN_EMAIL")
    if not email or not backstay.serves:  # the worker logs nobody in
        return
    password = backstay.settings.require("ADMIN_PASSWORD")
    known: Accounts = app.state.accounts
    if await known.keep_admin(email, password):
        auth: AuthPart = app.state.auth_jwt
        await auth.end_sessions(email.lower())


def has_worker(backstay: Backstay) -> HealthCheck:
    """Readiness: some process runs the durable jobs. Without, orders are taken and wait."""

    async def look() -> bool:
        durable = backstay.part("durable")
        assert isinstance(durable, DurablePart)
        workers = await durable.ledger.workers()
        return any(each.seen_s_ago <= each.lease_s for each in workers)

    return HealthCheck(check=look, vital=False)


def answer_sold_out(request: Request, error: Exception) -> JSONResponse:
    return problem_response(409, str(error), title="Sold out", instance=request.url.path)


def answer_unknown_product(request: Request, error: Exception) -> JSONResponse:
    return problem_response(422, str(error), title="Unknown product", instance=request.url.path)


TAGS = [
    {"name": "accounts", "description": "Signing up: limited, and without telling who is there."},
    {"name": "auth", "description": "Logging in, and out: everywhere, too."},
    {"name": "orders", "description": "Durable jobs, in one transaction with the order."},
    {"name": "products", "description": "A view set, its answers kept and tagged."},
    {"name": "customers", "description": "A view set with versions: If-Match, 412. For admins."},
    {"name": "warehouse", "description": "For the warehouse's machines, with API keys."},
    {"name": "newsletter", "description": "FastAPI's BackgroundTasks, unchanged."},
]


def create_app(
    settings: Mapping[str, Any] | None = None, *, json_logs: bool | None = None
) -> FastAPI:
    """The shop.

    Args:
        settings: values for ``REQUIRED``; what is not given comes from the environment or ``.env``.
            There may be others: ``ADMIN_EMAIL`` and ``ADMIN_PASSWORD`` (an admin), ``ORIGINS``
            (pages that may read answers, with spaces between them), ``TIMEZONE``, ``DEBUG``
            (``1``), ``OPEN_DOCS`` (``1``: everybody may see ``/docintegration``), ``WAIT_S`` (how long
            jobs wait for a third party that is down), ``LEASE_S``, and ``WORKER`` (``0``: none in
            this process).
        json_logs: ``True`` sets up the process's logging, one JSON object a line.
    """
    app = FastAPI(
        title="Tea shop",
        summary="An example of backstay.",
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_tags=TAGS,
    )
    backstay = install(app, settings=settings, json_logs=json_logs)
    found = backstay.settings
    url = database_url(found.get("DATABASE", "shop.db"))
    manager = MainDatabaseManager(url, base=store.Base)
    app.state.accounts = Accounts(manager)
    app.state.partners = Partners.at(found)
    debug = found.get("DEBUG", "0") == "1"
    base_pattern(
        app,
        routers=[router, accounts.router, orders.router, warehouse.router],
        timezone=found.get("TIMEZONE", "Europe/Berlin"),
        debug=debug,
        database_manager=manager,
        secret_key=found.get("BACKSTAY_SECRET_KEY"),
        origins=found.get("ORIGINS", "").split() or None,
        useintegration=app.state.partners,
        integration_docs=debug or found.get("OPEN_DOCS", "0") == "1" or require_roles(ADMIN),
        checks={"workers": has_worker(backstay)},
    )
    ShopAuth(app.state.accounts).mount_auth(app)
    # In the database, as sessions and keys are: counted once, however many web processes there are.
    # With patience, because SQLite lets one write at a time.
    add_limits(app, timeout_s=2.0)
    add_events(app, sample={"request": 0.1})
    add_telemetry(app)
    # In a file beside it, because the worker is another process and has to be able to invalidate.
    add_cache(app, url.removesuffix(".db").replace("+aiosqlite", "") + "-cache.db")
    add_tasks(
        app,
        database=url,
        session=get_session,
        worker=found.get("WORKER", "1") != "0",
        lease_s=float(found.get("LEASE_S", 10.0)),
    )
    add_widgets(app)
    app.add_exception_handler(store.SoldOut, answer_sold_out)
    app.add_exception_handler(store.UnknownProduct, answer_unknown_product)
    return app


app = create_app()
