"""fastapi-accelerator's ``@cache_redis``, as its documentation uses it and as it ought to behave."""

import asyncio
import json
import uuid
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import redis.asyncio
from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from backstay.cache import Cache, cache_redis
from tests.seeds.service import ALICE, BOB, Service, both, serving
from tests.state.stores import REDIS_URL, need_redis
from tests.support import async_test

TEN_MINUTES = timedelta(minutes=10)


def plainly(app: FastAPI) -> httpx.AsyncClient:
    """For an app that nothing of backstay's was installed in."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")


@both
@async_test
async def test_a_handler_with_request_and_orm_runs_once_for_each_address(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        files = [service.models.File(filename=name) for name in ("a", "b")]
        await service.put(*files)
        for expected in ("MISS", "HIT"):
            for file in files:
                answer = await service.client.get(f"/cached/files/{file.uid}")
                assert answer.headers["x-cache"] == expected
                assert answer.json() == {"uid": str(file.uid), "filename": file.filename}
        assert service["api.cached"].ran == ["get_item"] * 2
        assert (await service.client.get(f"/cached/files/{uuid.uuid4()}")).status_code == 404


@async_test
async def test_a_handler_that_takes_no_request_is_kept_all_the_same(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path) as service:
        for query, expected in (
            ("text=tree", "MISS"),
            ("text=tree", "HIT"),
            ("text=tree&to_lang=de", "MISS"),
            ("to_lang=de&text=tree", "HIT"),
        ):
            answer = await service.client.get(f"/cached/translate?{query}")
            assert answer.headers["x-cache"] == expected
            language = "de" if "de" in query else "ru"
            assert answer.json() == {"text": f"tree (en > {language})"}
        assert (await service.client.get("/cached/translate")).status_code == 422


@async_test
async def test_what_is_kept_has_gone_through_response_model(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path) as service:
        file = service.models.File(filename="a", storage_key="s3://secret")
        await service.put(file)
        for path in ("/cached/translate?text=a", f"/cached/files/{file.uid}"):
            first, second = [await service.client.get(path) for _ in range(2)]
            assert second.headers["x-cache"] == "HIT"
            assert first.content == second.content
            assert "billed" not in second.text
            assert "secret" not in second.text


@async_test
async def test_nobody_is_given_what_was_kept_for_somebody_else(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path) as service:
        logins = {name: await service.as_user(name) for name in (ALICE, BOB)}
        for expected in ("MISS", "HIT"):
            for name, headers in logins.items():
                answer = await service.client.get("/cached/me", headers=headers)
                assert (answer.headers["x-cache"], answer.json()) == (expected, {"login": name})
        assert (await service.client.get("/cached/me")).status_code == 401


@async_test
async def test_each_host_has_its_own_answers(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path) as service:
        for host in ("one.example", "two.example"):
            answer = await service.client.get("/cached/translate?text=tree", headers={"host": host})
            assert answer.headers["x-cache"] == "MISS"


@both
@async_test
async def test_a_change_is_seen_at_once_in_a_list_and_an_item_that_were_kept(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        client = service.client
        made = (await client.post("/api/v1/file", json={"filename": "a"})).json()
        place = f"/api/v1/file/{made['uid']}"
        for name in "bc":
            for _ in range(2):
                await client.get(place)
                await client.get("/api/v1/file")
            await client.put(place, json={"filename": name})
            assert (await client.get(place)).json()["filename"] == name
            assert (await client.get("/api/v1/file")).json()["items"][0]["filename"] == name


@both
@async_test
async def test_a_client_of_redis_keeps_the_answers_of_handlers_and_view_sets(
    database: str, tmp_path: Path
) -> None:
    need_redis()
    root = f"/{uuid.uuid4().hex}"
    async with serving(database, tmp_path, redis_url=REDIS_URL, root=root) as service:
        try:
            file = service.models.File(filename="a")
            await service.put(file)
            for path in (f"{root}/cached/files/{file.uid}", f"{root}/cached/translate?text=tree"):
                assert (await service.client.get(path)).headers["x-cache"] == "MISS"
                assert (await service.client.get(path)).headers["x-cache"] == "HIT"
            place = f"{root}/api/v1/file/{file.uid}"
            assert (await service.client.get(place)).json()["filename"] == "a"
            # Whoever else works on a table of this name, in this Redis, may make it a MISS.
            answer = await service.client.get(place)
            assert answer.headers["x-cache"] in {"HIT", "MISS"}
            await service.client.put(place, json={"filename": "b"})
            assert (await service.client.get(place)).json()["filename"] == "b"
        finally:
            async with redis.asyncio.from_url(REDIS_URL) as outside:
                async for name in outside.scan_iter(f"backstay:k:{root}*"):
                    await outside.delete(name)


@async_test
async def test_without_redis_everything_is_answered(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path, redis_url="redis://127.0.0.1:1") as service:
        file = service.models.File(filename="a")
        await service.put(file)
        for path in (
            f"/cached/files/{file.uid}",
            "/cached/translate?text=tree",
            f"/api/v1/file/{file.uid}",
            "/api/v1/file",
        ):
            for _ in range(2):
                answer = await service.client.get(path)
                assert (answer.status_code, answer.headers["x-cache"]) == (200, "BYPASS")
        answer = await service.client.put(f"/api/v1/file/{file.uid}", json={"filename": "b"})
        assert answer.status_code == 200


@async_test
async def test_twenty_who_ask_at_once_have_the_handler_run_once(tmp_path: Path) -> None:
    begun, may_end, runs = asyncio.Event(), asyncio.Event(), []

    def prepare(service: Service) -> None:
        @service.app.get("/slow")
        @cache_redis(cache_class=service["core.cache"].redis_client, cache_ttl=TEN_MINUTES)
        async def slow() -> dict:
            runs.append(1)
            begun.set()
            await may_end.wait()
            return {"runs": len(runs)}

    async with serving("sqlite", tmp_path, prepare=prepare) as service:
        asked = [asyncio.ensure_future(service.client.get("/slow")) for _ in range(20)]
        await begun.wait()
        may_end.set()
        answers = await asyncio.gather(*asked)
        assert [each.json() for each in answers] == [{"runs": 1}] * 20


@pytest.mark.parametrize("decode_responses", [True, False], ids=["texts", "bytes"])
def test_clients_of_redis_with_and_without_decode_responses_work(decode_responses: bool) -> None:
    need_redis()
    path = f"/{uuid.uuid4().hex}"

    @async_test
    async def ask() -> None:
        redis_client = redis.asyncio.from_url(REDIS_URL, decode_responses=decode_responses)
        app = FastAPI()

        @app.get(path)
        @cache_redis(cache_class=redis_client, cache_ttl=TEN_MINUTES)
        async def item() -> dict[str, str]:
            return {"name": "é"}

        async with plainly(app) as client:
            first, second = [await client.get(path) for _ in range(2)]
            assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
            assert first.json() == second.json() == {"name": "é"}
        names = [name async for name in redis_client.scan_iter(f"backstay:k:{path}*")]
        assert names
        await redis_client.delete(*names)
        await redis_client.aclose()

    ask()


class Item(BaseModel):
    name: str


@async_test
async def test_a_response_of_the_handlers_own_is_given_again_as_it_was() -> None:
    async with Cache("memory://") as cache:
        app = FastAPI()

        @app.get("/text")
        @cache_redis(cache_class=cache, cache_ttl=TEN_MINUTES)
        async def text() -> Response:
            return PlainTextResponse("as it is", headers={"x-said": "this"})

        @app.get("/unkept")
        @cache_redis(cache_class=cache, cache_ttl=TEN_MINUTES, cache=False)
        async def unkept() -> Item:
            return {"name": "tree", "secret": "s"}

        async with plainly(app) as client:
            first, second = [await client.get("/text") for _ in range(2)]
            assert second.headers["x-cache"] == "HIT"
            assert first.text == second.text == "as it is"
            assert second.headers["content-type"] == first.headers["content-type"]
            assert second.headers["x-said"] == "this"
            for _ in range(2):
                answer = await client.get("/unkept")
                assert "x-cache" not in answer.headers
                assert json.loads(answer.content) == {"name": "tree"}
