"""Routes whose answers are kept."""

import uuid
from datetime import timedelta

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from pydantic import BaseModel
from sqlalchemy import select

from backstay.auth import jwt_auth
from backstay.cache import cache_redis
from backstay.db import OrmAsync
from tests.seeds.accelerator.core.cache import redis_client
from tests.seeds.accelerator.core.config import ROOT
from tests.seeds.accelerator.core.db import DatabaseManager
from tests.seeds.accelerator.models.files import File as Files
from tests.seeds.accelerator.schemas.file import File as FilesSchema

router = APIRouter(prefix=f"{ROOT}/cached")
ran: list[str] = []
"""Which handlers have run, in order."""


@router.get("/files/{item_id}")
@cache_redis(cache_class=redis_client, cache_ttl=timedelta(minutes=10))
async def get_item(
    request: Request,
    item_id: uuid.UUID = Path(...),
    aorm: OrmAsync = Depends(DatabaseManager.aget_orm),
) -> FilesSchema:
    ran.append("get_item")
    response = await aorm.get(select(Files).filter(Files.uid == item_id))
    if response is None:
        raise HTTPException(404)
    return response


class TranslateV2(BaseModel):
    text: str


@router.get("/translate")
@cache_redis(cache_class=redis_client, cache_ttl=timedelta(minutes=10))
async def translate(text: str, from_lang: str = "en", to_lang: str = "ru") -> TranslateV2:
    ran.append("translate")
    return {"text": f"{text} ({from_lang} > {to_lang})", "billed": 17}  # a slow service, say


@router.get("/me")
@cache_redis(cache_class=redis_client, cache_ttl=timedelta(minutes=10))
async def me(jwt: dict = Depends(jwt_auth)) -> dict:
    ran.append("me")
    return {"login": jwt["sub"]}
