"""A service with a widget for every ready template, each with something to press that calls a tool.

``python -m uvicorn tests.widgets.hosts.app:app`` serves it; its durable jobs and its state go into
the database that HOSTS_DATABASE names.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, ClassVar, Literal
from uuid import UUID

from fastapi import FastAPI
from pydantic import BaseModel, Field

from backstay.context import Context
from backstay.tasks import State, add_tasks, task
from backstay.widgets import BaseWidget, Result, ValidationError, WidgetContext, WidgetMCPServer
from tests.widgets.face.samples import ALBUMS, CAROUSEL, LIST

__all__ = ["IMPORTED", "PHOTOS", "PRODUCTS", "SUSPECT", "VIEW", "app", "new_app", "server"]

PRODUCTS = 480
SUSPECT = 312
"""After so many products the import asks whether it shall go on."""

IMPORTED = {"products": PRODUCTS, "new": 61, "skipped": 3}
PHOTOS = "https://photos.example.com"
VIEW = "0b1c5c1e-albums"
"""Under this name hosts without a place for view state keep that of the albums."""


class Nothing(BaseModel):
    """No inputs."""


class Search(BaseModel):
    text: str = Field("", description="What to look for")


class PickUp(BaseModel):
    """What the form asks for."""

    name: str = Field(min_length=2, examples=["Ada Lovelace"])
    email: str = Field(description="The label is sent here.", json_schema_extra={"format": "email"})
    parcels: int = Field(1, ge=1, le=20)
    size: Literal["small", "medium", "large"] = "medium"
    insured: bool = Field(False, title="Insure it", description="Up to € 500, without extra cost.")


class FindPlaces(BaseWidget):
    """Finds the places that the user has saved. Shows them as a list."""

    identifier = "find_places"
    title = "Saved places"
    input_schema = Search
    template = "list"
    read_only = True
    supported_locales = ("en", "de")

    async def execute(self, inputs: Search, ctx: WidgetContext) -> dict[str, Any]:
        titles = {"en": "Saved places", "de": "Gemerkte Orte"}
        found = [each for each in LIST["items"] if inputs.text.lower() in each["title"].lower()]
        items = [{**each, "action": _saving(each["id"])} for each in found]
        return {"title": titles[ctx.locale], "subtitle": LIST["subtitle"], "items": items}


class FindCabins(BaseWidget):
    """Finds cabins that are free. Shows them side by side."""

    identifier = "find_cabins"
    title = "Cabins"
    input_schema = Nothing
    template = "carousel"
    read_only = True

    async def execute(self, inputs: Nothing) -> dict[str, Any]:
        items = [
            {
                **each,
                "action": {
                    "label": "Book",
                    "tool": "book_cabin",
                    "arguments": {"cabin": each["id"]},
                    "primary": True,
                },
            }
            for each in CAROUSEL["items"]
        ]
        return {**CAROUSEL, "items": items}


class ShowAlbums(BaseWidget):
    """Shows the user's albums; the photos of one are loaded when it is opened."""

    identifier = "show_albums"
    title = "Albums"
    input_schema = Nothing
    template = "albums"
    read_only = True
    widget_csp: ClassVar = {"resource_domains": [PHOTOS]}

    async def execute(self, inputs: Nothing) -> Result:
        albums = [
            {
                "id": each["id"],
                "title": each["title"],
                "subtitle": each["subtitle"],
                "cover": each["photos"][0]["image"] if each["photos"] else None,
                "count": len(each["photos"]),
                "load": {"tool": "album_photos", "arguments": {"album": each["id"]}},
            }
            for each in ALBUMS["albums"]
        ]
        return Result(
            {**ALBUMS, "albums": albums}, text=f"{len(albums)} albums", meta={"viewUUID": VIEW}
        )


class PlanPickUp(BaseWidget):
    """Asks where a courier shall pick up parcels."""

    identifier = "plan_pick_up"
    title = "Pick-up"
    input_schema = Nothing
    template = "form"

    async def execute(self, inputs: Nothing) -> dict[str, Any]:
        return {
            "title": "Plan a pick-up",
            "subtitle": "A courier comes on the next working day.",
            "schema": PickUp.model_json_schema(),
            "values": {"name": "Ada Lovelace"},
            "submit": {"tool": "book_pick_up", "label": "Book the pick-up"},
        }


class ShowOrders(BaseWidget):
    """Draws how many orders there were, by week or by month."""

    identifier = "show_orders"
    title = "Orders"
    input_schema = Nothing
    template = "chart"
    read_only = True

    async def execute(self, inputs: Nothing) -> dict[str, Any]:
        return _orders("week")


class ImportCatalogue(BaseWidget):
    """Imports the catalogue as a durable job, and shows how far it is."""

    identifier = "import_catalogue"
    title = "Import"
    input_schema = Nothing
    template = "progress"

    async def execute(self, inputs: Nothing, ctx: WidgetContext) -> dict[str, Any]:
        job = await ctx.tasks.durable.enqueue(read_catalogue)
        return {
            "title": "Importing the catalogue",
            "subtitle": "spring-2026.csv",
            "status": "waiting",
            "poll": {
                "tool": "import_status",
                "arguments": {"job": str(job.id)},
                "every_ms": 250,
            },
        }


server = WidgetMCPServer(
    "hosts",
    [FindPlaces, FindCabins, ShowAlbums, PlanPickUp, ShowOrders, ImportCatalogue],
    title="All templates",
    version="1.0.0",
)


# What the faces call ---------------------------------------------------------------------------


@server.tool(visibility=("app",))
async def save_place(place: str, saved: bool, ctx: WidgetContext) -> dict[str, Any]:
    """Save a place, or forget it again."""
    count = await ctx.state.incr("saved", 1 if saved else -1)
    badge = {"text": "Saved", "tone": "accent"} if saved else None
    item = {"id": place, "badge": badge, "action": _saving(place, not saved)}
    return {"item": item, "message": "Saved" if saved else "Forgotten", "count": count}


@server.tool(visibility=("app",))
async def book_cabin(cabin: str) -> dict[str, Any]:
    """Book a cabin."""
    title = next(each["title"] for each in CAROUSEL["items"] if each["id"] == cabin)
    return {
        "item": {"id": cabin, "badge": {"text": "Booked", "tone": "good"}, "action": None},
        "message": f"{title} is yours",
    }


@server.tool(visibility=("app",))
async def album_photos(album: str) -> dict[str, Any]:
    """The photos of an album."""
    return {"photos": next(each["photos"] for each in ALBUMS["albums"] if each["id"] == album)}


@server.tool(visibility=("app",), input_schema=PickUp)
async def book_pick_up(inputs: PickUp) -> dict[str, Any]:
    """Book a pick-up."""
    if inputs.email.endswith("@example.com"):
        raise ValidationError("No letter ever arrives at example.com", field="email")
    return {
        "message": "The courier comes on Monday",
        "details": [
            {"label": "Parcels", "value": inputs.parcels},
            {"label": "Label sent to", "value": inputs.email},
        ],
    }


@server.tool(visibility=("app",))
async def orders_by(unit: Literal["week", "month"]) -> dict[str, Any]:
    """How many orders there were."""
    return {**_orders(unit), "message": f"By {unit}"}


@server.tool(visibility=("app",))
async def import_status(job: UUID, ctx: WidgetContext) -> dict[str, Any]:
    """How far an import is."""
    found = await ctx.tasks.durable.job(job).status()
    progress = found.progress or {}
    finished = found.state is State.SUCCEEDED
    asks = progress.get("done") == SUSPECT and not finished
    go_on = {"label": "Go on", "tool": "go_on", "arguments": {"job": str(job)}, "primary": True}
    return {
        "status": str(found.state),
        "done": PRODUCTS if finished else progress.get("done"),
        "total": PRODUCTS,
        "message": "All products are in the shop." if finished else progress.get("message"),
        "steps": [
            {"title": "Upload", "status": "done", "note": "2.1 MB"},
            {"title": "Read products", "status": "done" if finished else "running"},
            {"title": "Publish", "status": "done" if finished else "waiting"},
        ],
        "result": found.result,
        "actions": [go_on] if asks else [],
    }


@server.tool(visibility=("app",))
async def go_on(job: UUID) -> dict[str, Any]:
    """Let an import go on that has met something odd."""
    APPROVALS.setdefault(job, asyncio.Event()).set()
    return {"actions": [], "message": "Going on"}


# What stands behind them -----------------------------------------------------------------------

APPROVALS: dict[UUID, asyncio.Event] = {}


@task
async def read_catalogue(ctx: Context) -> dict[str, int]:
    """Read products, wait in the middle until somebody says go on, and read the rest."""
    assert ctx.job is not None
    for done in range(0, SUSPECT, 40):
        ctx.progress(done, PRODUCTS, "Reading prices")
    ctx.progress(SUSPECT, PRODUCTS, "A teapot for 3,900 €. Is that right?")
    await APPROVALS.setdefault(ctx.job.id, asyncio.Event()).wait()
    for done in range(SUSPECT, PRODUCTS + 1, 8):
        ctx.progress(done, PRODUCTS, "Reading prices")
    return IMPORTED


def _saving(place: str, saved: bool = True) -> dict[str, Any]:
    return {
        "label": "Save" if saved else "Forget",
        "tool": "save_place",
        "arguments": {"place": place, "saved": saved},
    }


def _orders(unit: str) -> dict[str, Any]:
    other = "month" if unit == "week" else "week"
    days = ["02", "09", "16", "23"]
    weekly = [f"2026-{month}-{day}" for month in ("03", "04") for day in days]
    vienna, lisbon = (
        [412, 430, 398, 467, 520, 505, 561, 598],
        [210, 248, 260, 255, 301, 340, 333, 372],
    )
    if unit == "month":
        weekly = ["2025-12", "2026-01", "2026-02", "2026-03", "2026-04"]
        vienna, lisbon = [2210, 1480, 1530, 1707, 2184], [1320, 790, 864, 973, 1346]
    return {
        "title": "Orders",
        "subtitle": f"By {unit}, both shops",
        "type": "area" if unit == "week" else "bar",
        "x": weekly,
        "series": [{"name": "Vienna", "values": vienna}, {"name": "Lisbon", "values": lisbon}],
        "note": "Returns are not taken off.",
        "actions": [{"label": f"By {other}", "tool": "orders_by", "arguments": {"unit": other}}],
    }


def new_app(database: str) -> FastAPI:
    """The service. Pages of this machine may call it from browsers, as the hosts of the tests are."""
    made = FastAPI()
    # Imports that nobody has told to go on do not hold up its end.
    add_tasks(made, database=database, shutdown_grace_s=0.2)
    server.mount(made, "/mcp")
    return made


app = new_app(os.environ.get("HOSTS_DATABASE", "memory://"))
