"""A customer who comes by MCP: what an AI assistant's client does, with the official one.

Lists the tools, looks around, uploads a photo, orders, orders again because it cannot tell
whether the first time worked, and follows the order to its end.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import RequestParamsMeta

from examples.shop import png
from examples.shop.timeline import Lane

BASKET = {"teapot": 1, "cup": 2}

PHOTOGRAPHED = "teapot"

VISIT_S = 60.0
"""How long it takes at most, on a machine that has a lot else to do."""

_CONVERSATION = cast("RequestParamsMeta", {"openai/session": "the demo's"})
"""By this the shop knows what was looked at in the same conversation."""


class Refused(Exception):
    """A tool answered with an error, or with something else than was to be expected."""


@dataclass
class Call:
    """One call of a tool. Times are seconds of the Unix epoch.

    Attributes:
        kind: ``widget`` or ``tool``, nothing for the protocol's own.
        note: what came of it, in a few words.
        reports: when progress was reported.
    """

    kind: str
    name: str
    began_at: float
    ended_at: float | None = None
    good: bool = False
    note: str = ""
    reports: list[float] = field(default_factory=list)


@dataclass
class Visit:
    """All its calls.

    Attributes:
        revision: of MCP, as client and shop agreed on it.
        over_at: when it had what it came for, or gave up.
        said: why it gave up, empty if it did not.
        photos: what it uploaded: the product, by the SHA-256 of the file.
    """

    began_at: float
    revision: str = ""
    calls: list[Call] = field(default_factory=list)
    over_at: float | None = None
    said: str = ""
    photos: dict[str, str] = field(default_factory=dict)

    @property
    def reports(self) -> int:
        """How often progress was reported to it."""
        return sum(len(call.reports) for call in self.calls)

    @contextmanager
    def call(self, name: str, kind: str = "widget") -> Iterator[Call]:
        """A call that ends with the block, well or not."""
        call = Call(kind, name, time.time())
        self.calls.append(call)
        try:
            yield call
            call.good = True
        finally:
            call.ended_at = time.time()


class Assistant:
    """One customer.

    Args:
        url: the shop's.
        visit: is written while it goes on.
        order_sent: told what is about to be ordered; gives the lane of that request.
    """

    def __init__(self, url: str, visit: Visit, order_sent: Callable[[str], Lane]) -> None:
        self._url = url
        self._visit = visit
        self._order_sent = order_sent

    async def go_shopping(self) -> None:
        """Do all of it. What is refused, or does not come, ends the visit and is written there."""
        try:
            async with asyncio.timeout(VISIT_S):
                await self._shop()
        except TimeoutError:
            stuck = self._visit.calls[-1].name if self._visit.calls else "connect"
            self._visit.said = f"{stuck} was not over after {VISIT_S:g} s"
        except Exception as error:  # whatever it is, the visit was not what it should have been
            self._visit.said = in_words(error)
        finally:
            self._visit.over_at = time.time()

    async def _shop(self) -> None:
        async with httpx2.AsyncClient(timeout=VISIT_S) as http:
            transport = streamable_http_client(f"{self._url}/mcp", http_client=http)
            client = Client(transport, read_timeout_seconds=VISIT_S)
            async with AsyncExitStack() as stack:
                with self._visit.call("connect", "") as call:
                    await stack.enter_async_context(client)
                    self._visit.revision = client.protocol_version
                    shop = client.server_info
                    call.note = "" if shop is None else shop.title or shop.name
                await self._look_around(client)
                photo = await self._upload(client)
                order = await self._order(client, http)
                await self._follow(client, order)
                await self._look_at_the_photo(client, photo)

    async def _look_around(self, client: Client) -> None:
        with self._visit.call("tools/list", "") as call:
            tools = (await client.list_tools()).tools
            faces = sum("ui" in (each.meta or {}) for each in tools)
            call.note = f"{len(tools)} tools, {faces} with a page"
        with self._visit.call("find_products") as call:
            found = await ask(client, "find_products", {"max_price": 50})
            call.note = ", ".join(each["id"] for each in found["items"])

    async def _upload(self, client: Client) -> bytes:
        photo = picture()
        with self._visit.call("upload_photo") as call:
            encoded = base64.b64encode(photo).decode()
            await ask(client, "upload_photo", {"sku": PHOTOGRAPHED, "photo": encoded})
            self._visit.photos[hashlib.sha256(photo).hexdigest()] = PHOTOGRAPHED
            call.note = f"{len(photo):,} bytes of PNG, taken"
        return photo

    async def _order(self, client: Client, http: httpx2.AsyncClient) -> dict[str, Any]:
        """Order, and order again. What is needed to follow it."""
        wanted = {
            "email": "ada@example.com",
            "card": "tok_visa",
            "items": [{"sku": sku, "quantity": each} for sku, each in BASKET.items()],
            "key": f"demo-{self._visit.began_at}",
        }
        lane = self._order_sent(", ".join(f"{each} x {sku}" for sku, each in BASKET.items()))
        http.headers["X-Request-ID"] = lane.request_id
        with lane.attended(), self._visit.call("place_order", "tool") as call:
            placed = await ask(client, "place_order", wanted)
            lane.status = 200
            lane.answered_at = lane.answered_at or time.time()
            call.note = f"order {placed['order_id']}, {placed['total']}"
        del http.headers["X-Request-ID"]
        with self._visit.call("place_order", "tool") as call:
            again = await ask(client, "place_order", wanted)
            if again["order_id"] != placed["order_id"]:
                raise Refused(f"ordered twice: {placed['order_id']} and {again['order_id']}")
            if again["order_key"] != placed["order_key"]:
                raise Refused(f"order {placed['order_id']} came with two keys")
            call.note = f"same key: order {again['order_id']} again"
        return {name: again[name] for name in ("order_id", "order_key")}

    async def _follow(self, client: Client, which: dict[str, Any]) -> None:
        with self._visit.call("order_status") as call:

            async def reported(done: float, total: float | None, message: str | None) -> None:
                call.reports.append(time.time())
                call.note = f"{done:g} of {total or 0:g}: {message}"

            question = {**which, "wait": True}
            order = {"status": "running"}
            while order["status"] == "running":  # the shop does not wait for ever
                order = await ask(client, "order_status", question, progress=reported)
            call.note = order["message"]

    async def _look_at_the_photo(self, client: Client, photo: bytes) -> None:
        whole = f"data:image/png;base64,{base64.b64encode(photo).decode()}"
        with self._visit.call("find_products") as call:
            while True:
                found = await ask(client, "find_products", {"look_at": PHOTOGRAPHED})
                images = {each["id"]: each["image"] for each in found["items"]}
                if images[PHOTOGRAPHED] not in (None, whole):
                    break
                call.note = "no thumbnail yet"
                await asyncio.sleep(0.05)
            call.note = f"the {PHOTOGRAPHED} with its thumbnail"


async def ask(
    client: Client, tool: str, arguments: dict[str, Any], *, progress: Any = None
) -> dict[str, Any]:
    """What a tool answers, for its page.

    Raises:
        Refused: it answers with an error.
    """
    answer = await client.call_tool(tool, arguments, progress_callback=progress, meta=_CONVERSATION)
    found: dict[str, Any] = answer.structured_content or {}
    if answer.is_error:
        raise Refused(f"{tool}: {found.get('message', 'an error that says nothing')}")
    return found


def in_words(error: BaseException) -> str:
    """The innermost of what went wrong."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def picture(width: int = 192, height: int = 144) -> bytes:
    """A teapot, more or less, in the evening."""

    def colour(x: int, y: int) -> tuple[int, int, int]:
        across, down = (x - width / 2) / height, (y - height * 0.58) / height
        belly = (across / 0.3) ** 2 + (down / 0.24) ** 2 < 1
        lid = (across / 0.07) ** 2 + ((down + 0.26) / 0.05) ** 2 < 1
        handle = 0.6 < ((across + 0.3) / 0.15) ** 2 + (down / 0.17) ** 2 < 1
        spout = 0.2 < across < 0.46 and abs(down + (across - 0.2) * 0.9 - 0.06) < 0.05
        if belly or lid or handle or spout:
            return (60, 92 + y // 4, 96 + x // 6)
        return (250 - y // 3, 214 - y // 2, 178 - y // 4 + x // 16)

    rows = [b"".join(bytes(colour(x, y)) for x in range(width)) for y in range(height)]
    return png.write(png.Pixels(width, height, 3, rows))
