"""The cache, one for the whole service."""

import redis.asyncio as redis

from backstay.cache import Cache
from tests.seeds.accelerator.core.config import REDIS_URL

# Whoever has no Redis at hand has memory.
redis_client = (
    redis.from_url(REDIS_URL, encoding="utf-8", decode_responses=True)
    if REDIS_URL
    else Cache("memory://")
)
