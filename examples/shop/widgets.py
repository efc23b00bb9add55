"""What AI assistants find at ``/mcp``: three widgets and a tool, beside the routes.

They stand on what the routes stand on: the same tables, the same durable jobs, the same log.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from backstay.widgets import (
    BaseWidget,
    FileReference,
    Result,
    ValidationError,
    WidgetContext,
    WidgetMCPServer,
)
from backstay.widgets.files import FileRefused, require_type
from examples.shop import photos, store
from examples.shop.identity import Account, account_of
from examples.shop.models import (
    STEPS,
    OrderByAssistant,
    OrderQuestion,
    Placed,
    Product,
    Search,
    ShownOrder,
    ShownStep,
    Status,
    Step,
    euros,
)
from examples.shop.premises import Shop
from examples.shop.steps import begin, steps_of

RECENT = 5
REMEMBERED_S = 86_400.0

LOOK_EVERY_S = 0.05
WAIT_S = 20.0
"""How long ``order_status`` waits for an order, if it is asked to."""

INSTRUCTIONS = """
A tea shop. Find products first: orders take their skus. Ask the customer before you place an
order: it charges the card. Then follow it with order_status, by the order_id and the order_key
that you were given.
"""


class FindProducts(BaseWidget):
    """Find products of the tea shop by name and price, or look at one of them more closely. Gives
    sku, name, price, and how many are left. The user sees them as a list.
    """

    identifier = "find_products"
    title = "Find products"
    input_schema = Search
    invoking = "Looking through the shelves"
    invoked = "This is what there is"
    template = "list"
    widget_description = "The products with prices, pictures and buttons to look closer and order."
    read_only = True

    async def execute(self, inputs: Search, ctx: WidgetContext) -> Result:
        cents = None if inputs.max_price is None else round(inputs.max_price * 100)
        async with store.reading(ctx.db.database) as session:
            found = await store.search(session, inputs.text, cents)
            pictures = await photos.pictures_of(session, [each.sku for each in found])
        if inputs.look_at is None:
            seen = await ctx.state.get("seen", [])
        else:
            seen = await self._look(inputs.look_at, found, ctx)
        return Result(
            {
                "title": "Tea shop",
                "subtitle": _asked_for(inputs),
                "items": [_item(each, inputs, seen, pictures.get(each.sku)) for each in found],
                "recently_looked_at": seen,
                "empty": {"title": "Nothing like that", "hint": "Try fewer words, or pay more."},
            },
            # Pictures are for the page. The model would read them letter by letter.
            text="\n".join(map(_line, found)) or "Nothing like that.",
        )

    async def _look(self, sku: str, found: Sequence[Product], ctx: WidgetContext) -> list[str]:
        """Remember for this customer, for a day, what was looked at last."""
        if sku not in [each.sku for each in found]:
            there = ", ".join(each.sku for each in found) or "none"
            raise ValidationError(f"{sku!r} is not among what was found: {there}", field="look_at")

        def first(seen: list[str]) -> list[str]:
            return [sku, *(each for each in seen if each != sku)][:RECENT]

        seen: list[str] = await ctx.state.update("seen", first, default=[], ttl=REMEMBERED_S)
        return seen


class OrderStatus(BaseWidget):
    """Show an order and how far each of its steps is: payment, receipt, parcel. With wait=true
    the answer comes when the order is through. The page that the user sees follows it by itself.
    """

    identifier = "order_status"
    title = "Order status"
    input_schema = OrderQuestion
    invoking = "Asking how far it is"
    invoked = "This is how far it is"
    template = "progress"
    widget_description = "The order's steps, live."
    read_only = True

    def __init__(self, app: FastAPI) -> None:
        self._app = app  # its lifespan opens the shop later

    async def execute(self, inputs: OrderQuestion, ctx: WidgetContext) -> ShownOrder:
        clock = ctx.app.clock
        until = clock.monotonic() + (WAIT_S if inputs.wait else 0)
        said = None
        while True:
            order = await self._look(inputs, ctx)
            news = (order.done, order.message)
            if news != said:
                said = news
                ctx.progress(order.done, order.total, order.message)
            if order.status != "running" or clock.monotonic() >= until:
                return order
            await clock.sleep(LOOK_EVERY_S)

    async def _look(self, inputs: OrderQuestion, ctx: WidgetContext) -> ShownOrder:
        shop: Shop = self._app.state.shop
        # A session for each look: while this waits, others write.
        async with store.reading(ctx.db.database) as session:
            order = await store.find_order(session, inputs.order_id)
            owner = await store.owner_of(session, inputs.order_id)
            fits = order is not None and shop.order_keys.fits(inputs.order_key, order)
            if order is None or not _may_see(account_of(ctx), owner, fits):
                # The same for both: numbers are easily guessed.
                raise ValidationError(
                    f"There is no order {inputs.order_id}, or it is none of yours. "
                    "A guest's order is shown to whoever sends its order_key.",
                    field="order_id",
                )
            steps = await steps_of(session, order.id, ctx)
        status, message = _SAID[order.status]
        shown = _shown(steps)
        done = sum(each.status == "succeeded" for each in shown)
        if status == "running" and (under_way := _under_way(shown)):
            message = under_way
        question = inputs.model_dump(include={"order_id", "order_key"}, exclude_none=True)
        return ShownOrder(
            title=f"Order {order.id}",
            subtitle=order.title,
            status=status,
            done=done,
            total=len(shown),
            message=message,
            steps=shown,
            poll={"tool": self.identifier, "arguments": question, "every_ms": 500},
            result={"Total": euros(order.total_cents)} if status == "succeeded" else None,
        )


class NewPhoto(BaseModel):
    """A photo of a product. Without one the user is asked to choose it."""

    sku: str = Field(max_length=40, description="Of the product, as find_products gives it.")
    photo: bytes | None = Field(None, description="PNG, JPEG or WebP, 2 MiB at most.")
    file: FileReference | None = Field(None, description="The same, as a file of the client's.")


class UploadPhoto(BaseWidget):
    """Add a photo to a product of the tea shop. Without photo and file, the user is shown a form
    to choose one.
    """

    identifier = "upload_photo"
    title = "Upload a photo"
    input_schema = NewPhoto
    invoking = "Looking at the photo"
    invoked = "That is done"
    template = "form"
    widget_description = "A form to choose the photo, then what became of it."
    max_file_bytes = photos.MAX_BYTES
    idempotent = True
    destructive = False

    async def execute(self, inputs: NewPhoto, ctx: WidgetContext) -> dict[str, Any]:
        if inputs.photo is None and inputs.file is None:
            return await self._form(inputs.sku, ctx)
        data, media_type = await _read(inputs)
        session = ctx.db.session  # from here on: what took its time is done
        try:
            number = await photos.add_photo(session, inputs.sku, media_type, data)
        except store.UnknownProduct as error:
            raise ValidationError(str(error), field="sku") from None
        if number is not None:
            # In the session's transaction: no photo without its thumbnail to come.
            ctx.tasks.durable.schedule(photos.make_thumbnail, number)
        ctx.logger.info("a photo of %s, %d bytes of %s", inputs.sku, len(data), media_type)
        return {
            "message": "Thank you" if number is not None else "That photo is here already",
            "details": [
                {"label": "Product", "value": inputs.sku},
                {"label": "Photo", "value": f"{media_type}, {len(data):,} bytes"},
            ],
        }

    async def _form(self, sku: str, ctx: WidgetContext) -> dict[str, Any]:
        async with store.reading(ctx.db.database) as session:
            product = await session.get(store.ProductRow, sku)
        if product is None:
            raise ValidationError(f"There is no product {sku!r}.", field="sku")
        photo = {
            "type": "string",
            "title": "Photo",
            "description": "PNG, JPEG or WebP, 2 MiB at most.",
            "contentEncoding": "base64",
            "contentMediaType": "image/*",
            "maxBytes": self.max_file_bytes,
        }
        return {
            "title": "A photo, please",
            "subtitle": product.name,
            "schema": {"type": "object", "required": ["photo"], "properties": {"photo": photo}},
            "submit": {"tool": self.identifier, "label": "Upload", "arguments": {"sku": sku}},
            "again": False,
        }


def add_widgets(app: FastAPI) -> None:
    """Serve them at ``/mcp`` of the shop."""
    server = WidgetMCPServer(
        "tea-shop",
        [FindProducts, OrderStatus(app), UploadPhoto],
        title="Tea shop",
        instructions=INSTRUCTIONS.strip(),
    )

    # It spends somebody's money, so clients should ask first.
    @server.tool(input_schema=OrderByAssistant, destructive=True, idempotent=True, open_world=True)
    async def place_order(new: OrderByAssistant, ctx: WidgetContext) -> Placed:
        """Order products of the tea shop, and have the card charged. Answers at once."""
        account = account_of(ctx)
        if account is not None and not (account.may_order and new.email.lower() == account.email):
            raise ValidationError(
                f"The user is logged in as {account.email} and can order in that name only, "
                "if the login is for placing orders.",
                field="email",
            )
        owner = None if account is None else account.email
        shop: Shop = app.state.shop
        session = ctx.db.session
        fingerprint = new.fingerprint(owner)
        before = await store.order_of_key(session, fingerprint)
        if before is not None:
            order = before
        elif await store.order_of_key(session, new.key) is not None:
            # Perhaps somebody else's, so nothing is said about it.
            raise ValidationError(
                "Another order was placed under this key. Send the same order exactly as before, "
                "or use a new key.",
                field="key",
            )
        else:
            try:
                order = await begin(session, new, ctx, shop, owner=owner)
            except (store.SoldOut, store.UnknownProduct) as error:
                raise ValidationError(str(error), field="items") from None
            await store.remember_key(session, new.key, order.id)
            await store.remember_key(session, fingerprint, order.id)
        return Placed(
            order_id=order.id,
            status=order.status,
            items=order.title,
            total=euros(order.total_cents),
            order_key=shop.order_keys.key_of(order) if owner is None else None,
            again=before is not None,
        )

    server.mount(app, "/mcp")


def _may_see(account: Account | None, owner: str | None, has_key: bool) -> bool:
    """Whether somebody may follow an order. As by HTTP: a guest's by its key, an account's by
    login, and admins may follow all.
    """
    if account is not None and account.is_admin:
        return True
    if owner is None:
        return has_key
    return account is not None and account.email == owner


# ------------------------------------------------------------------ what they say

_SAID: dict[Status, tuple[Any, str]] = {
    "processing": ("running", "The order is placed."),
    "paid": ("running", "It is paid."),
    "processed": ("succeeded", "Paid, and on its way."),
    "payment_failed": ("failed", "No payment came through, so the order was called off."),
    "needs_attention": ("failed", "It is paid, and something is stuck. Somebody looks after it."),
}

_TITLES = {"payment": "Payment", "receipt": "Receipt", "warehouse": "Parcel"}

_STEP_STATES = {
    "running": "running",
    "retrying": "running",
    "succeeded": "succeeded",
    "discarded": "failed",
    "cancelled": "cancelled",
}


def _shown(steps: Collection[Step]) -> list[ShownStep]:
    """Every step there will be, in order. What went wrong inside the shop is not the customer's."""
    known = {each.step: each for each in steps}
    shown = []
    for name, moment in STEPS.items():
        if moment != "durable":
            continue
        step = known.get(name)
        if step is None:
            shown.append(ShownStep(title=_TITLES[name], status="waiting"))
            continue
        again = step.attempts > 1 or step.state == "retrying"
        note = step.detail if step.state == "succeeded" else "is tried again" if again else ""
        state = _STEP_STATES.get(step.state, "waiting")
        shown.append(ShownStep(title=_TITLES[name], status=state, note=note))
    return shown


def _under_way(steps: Collection[ShownStep]) -> str:
    names = [each.title for each in steps if each.status == "running"]
    again = any(each.note for each in steps if each.status == "running")
    return f"{' and '.join(names)} under way{', tried again' if again else ''}" if names else ""


def _asked_for(search: Search) -> str:
    words = [f"“{search.text}”"] if search.text.strip() else []
    if search.max_price is not None:
        words.append(f"up to {euros(round(search.max_price * 100))}")
    return " ".join(words) or "Everything there is"


def _item(product: Product, search: Search, seen: list[str], picture: str | None) -> dict[str, Any]:
    left = product.stock - product.reserved
    closer = f", {product.reserved} set aside for orders" if product.sku == search.look_at else ""
    badge: Any = None
    if left == 0:
        badge = {"text": "Sold out", "tone": "bad"}
    elif left == 1:
        badge = {"text": "Last one", "tone": "warn"}
    elif product.sku in seen:
        badge = "Looked at"
    look = {**search.model_dump(exclude_none=True), "look_at": product.sku}
    order = {
        "label": "Order one",
        "message": f"I would like to order one {product.name} (sku {product.sku}).",
        "primary": True,
    }
    return {
        "id": product.sku,
        "title": product.name,
        "subtitle": f"{left} left{closer}",
        "meta": euros(product.price_cents),
        "badge": badge,
        "image": picture,
        "actions": [
            {"label": "Look closer", "tool": FindProducts.identifier, "arguments": look},
            *([order] if left else []),
        ],
    }


def _line(product: Product) -> str:
    left = product.stock - product.reserved
    return f"{product.sku}: {product.name}, {euros(product.price_cents)}, {left} left"


async def _read(new: NewPhoto) -> tuple[bytes, str]:
    """The photo, and what it is by its bytes.

    Raises:
        ValidationError: it will not do.
    """
    if new.photo is not None and new.file is not None:
        raise ValidationError("Send photo or file, not both.", field="file")
    field = "photo" if new.file is None else "file"
    try:
        if new.file is not None:
            data = await new.file.read(max_bytes=photos.MAX_BYTES, allowed_types=photos.TYPES)
        else:
            assert new.photo is not None
            data = new.photo
        return data, require_type(data, photos.TYPES)
    except FileRefused as error:
        raise ValidationError(str(error), field=field) from None
