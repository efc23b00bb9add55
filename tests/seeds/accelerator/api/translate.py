"""A route that asks another service."""

from datetime import timedelta

from fastapi import APIRouter

from backstay.cache import cache_redis
from tests.seeds.accelerator.core.cache import redis_client
from tests.seeds.accelerator.core.config import ROOT
from tests.seeds.accelerator.core.useintegration import gtapi
from tests.seeds.accelerator.integration.google_translate.endpoint import GoogleTranslateEndpoints

router = APIRouter(prefix=ROOT)


@router.get("/translate")
# We can easily cache responses from integrations
@cache_redis(cache_class=redis_client, cache_ttl=timedelta(minutes=10))
async def translate(
    text: str, from_lang: str = "en", to_lang: str = "ru"
) -> GoogleTranslateEndpoints.Schema.TranslateV2:
    # Call integration method
    return await gtapi.translate(text, from_lang, to_lang)
