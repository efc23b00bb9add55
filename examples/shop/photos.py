"""Pictures of products: kept in the database, made small by a durable job."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.sqlite import insert as insert_or
from sqlalchemy.ext.asyncio import AsyncSession

from backstay import Context
from backstay.tasks import task
from examples.shop import png
from examples.shop.store import PhotoRow, ProductRow, UnknownProduct, reading

TYPES = ("image/png", "image/jpeg", "image/webp")

MAX_BYTES = 2 * 1024 * 1024

SIDE = 96
"""How long the longer side of a thumbnail is at most, in pixels."""

_SHOWN_AS_IT_IS = 32 * 1024
"""Bytes of a photo without a thumbnail that may still go into a list."""


async def add_photo(session: AsyncSession, sku: str, media_type: str, data: bytes) -> int | None:
    """Keep a picture of a product.

    Returns:
        Its number; ``None`` if it is there already.

    Raises:
        UnknownProduct: of what?
    """
    if await session.get(ProductRow, sku) is None:
        raise UnknownProduct(f"There is no product {sku!r}.")
    number: int | None = await session.scalar(
        insert_or(PhotoRow)
        .values(
            sku=sku,
            sha256=hashlib.sha256(data).hexdigest(),
            media_type=media_type,
            data=data,
            added_at=datetime.now(UTC),
        )
        .on_conflict_do_nothing()
        .returning(PhotoRow.id)
    )
    return number


async def pictures_of(session: AsyncSession, skus: Collection[str]) -> dict[str, str]:
    """The latest picture of each product that has one, as an address that holds it (RFC 2397)."""
    rows = await session.execute(
        select(PhotoRow.sku, PhotoRow.media_type, PhotoRow.data, PhotoRow.thumbnail)
        .where(PhotoRow.sku.in_(skus))
        .order_by(PhotoRow.id)
    )
    found = {}
    for sku, media_type, data, thumbnail in rows:
        if thumbnail is not None:
            found[sku] = _address("image/png", thumbnail)
        elif len(data) <= _SHOWN_AS_IT_IS:
            found[sku] = _address(media_type, data)
    return found


def _address(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@task(name="shop.thumbnail", queue="photos", transactional=True)
async def make_thumbnail(photo_id: int, ctx: Context) -> str:
    """Make a photo small enough for lists."""
    async with reading(ctx.db.database) as session:
        data = await session.scalar(select(PhotoRow.data).where(PhotoRow.id == photo_id))
    assert data is not None, "photos are never deleted"
    try:
        small = await asyncio.to_thread(png.shrink, data, SIDE)
    except png.NotReadable as error:
        return f"kept as it is: {error}"  # a JPEG, say; trying again would not change it
    await ctx.db.session.execute(
        update(PhotoRow).where(PhotoRow.id == photo_id).values(thumbnail=small)
    )
    return "made"
