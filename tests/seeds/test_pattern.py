"""The base pattern, the time zone, exceptions and JWT as the documentation shows them."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI

from backstay.appstate import AUTH_JWT, CACHE_STATUS, DATABASE_MANAGER, DEBUG, TIMEZONE
from backstay.auth import BaseAuthJWT, jwt_auth
from backstay.errors import AlreadyInstalled, BadAuth, WeakSecret
from backstay.pattern import base_pattern
from backstay.testing import running
from tests.seeds.service import ALICE, SECRET_KEY, both, serving
from tests.support import async_test


@both
@async_test
async def test_one_call_makes_a_service(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path) as service:
        app, client = service.app, service.client
        answer = await client.get("/healthcheck")
        assert answer.json() == {"status": True, "version": "1.4.2"}
        assert app.version == "1.4.2"
        assert app.description == "Files, tasks and whoever works on them."
        assert str(app.state.TIMEZONE) == "Europe/Moscow"
        assert app.state.CACHE_STATUS is True
        assert app.state.DATABASE_MANAGER is service.manager
        assert app.state.SECRET_KEY == SECRET_KEY
        tags = [each["name"] for each in (await client.get("/openapi.json")).json()["tags"]]
        assert {"FileViewSet", "UserViewSet", "TaskExecutionViewSet", "common"} <= set(tags)
        assert len(tags) == len(set(tags))


@async_test
async def test_what_an_app_was_told_is_found_by_its_names(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path) as service:
        app = service.app
        assert (TIMEZONE(), CACHE_STATUS(), DATABASE_MANAGER(), AUTH_JWT(), DEBUG()) == (None,) * 5
        assert TIMEZONE(app) is app.state.TIMEZONE
        assert CACHE_STATUS(app) is True
        assert DATABASE_MANAGER(app) is service.manager
        assert AUTH_JWT(app) is not None
        assert DEBUG(app) is False


@async_test
async def test_the_time_is_moscows_whichever_way_it_is_asked_for(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path) as service:
        said = (await service.client.get("/now")).json()
        assert len(set(said)) == 1
        assert said[0].endswith("+03:00")


@async_test
async def test_an_exception_is_answered_in_detail_and_in_the_zone_of_the_service(
    tmp_path: Path,
) -> None:
    async with serving("sqlite", tmp_path) as service:
        answer = await service.client.get("/forbidden", headers={"X-Request-ID": "req-1"})
        body = answer.json()
        assert answer.status_code == body["status"] == 403
        assert answer.headers["content-type"] == "application/problem+json"
        assert body["correlation_id"] == "req-1"
        assert body["datetime"].endswith("+03:00")
        assert len(body["error_id"]) == 32
        assert isinstance(body["detail"], str)
        assert "traceback" not in body


@async_test
async def test_debug_mode_adds_the_traceback_and_the_time_it_took(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path, debug=True) as service:
        answer = await service.client.get("/forbidden")
        assert "get_users" in json.dumps(answer.json()["traceback"])
        assert answer.headers["x-process-time"].endswith(" ms")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("DELETE", "/now", 405), ("GET", "/api/v1/file?size=x", 422)],
    ids=["404", "405", "422"],
)
@async_test
async def test_every_error_has_the_same_form(
    method: str, path: str, status: int, tmp_path: Path
) -> None:
    async with serving("sqlite", tmp_path) as service:
        answer = await service.client.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert {
            "type",
            "title",
            "status",
            "detail",
            "error_id",
            "correlation_id",
            "datetime",
        } <= set(answer.json())


@both
@async_test
async def test_the_documented_hooks_give_tokens_to_those_who_know_the_password(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        client = service.client
        wrong = await client.post("/token", data={"username": "alice", "password": "guess"})
        assert wrong.status_code == 401
        assert "access_token" not in wrong.text
        login = await service.as_user(ALICE)
        for path in ("/check_protected", "/protected"):
            assert (await client.get(path)).status_code == 401
            answer = (await client.get(path, headers=login)).json()
            assert answer["message"] == "This is a protected route"
            assert (answer["user"]["sub"], answer["user"]["version"]) == ("alice", "Alice")


SECRET = "an entirely different secret key 4f0c9be1a7"


def guarded(hooks: dict[str, Any], **options: Any) -> FastAPI:
    app = FastAPI()
    type("AuthJWT", (BaseAuthJWT,), hooks).mount_auth(app, secret_key=SECRET, **options)  # type: ignore[attr-defined]  # made here
    return app


async def login(app: FastAPI) -> tuple[int, dict[str, Any]]:
    async with running(app, raise_app_exceptions=False) as client:
        answer = await client.post("/token", data={"username": "ada", "password": "right"})
        return answer.status_code, answer.json()


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


async def _async(username: str, password: str) -> bool:
    return password == "right"


def _sync(username: str, password: str) -> bool:
    return password == "right"


def _with_self(self: Any, username: str, password: str) -> bool:
    return password == "right"


@pytest.mark.parametrize(
    "hook",
    [_async, _sync, _with_self, staticmethod(_sync), staticmethod(_async)],
    ids=["async", "sync", "self", "static", "static async"],
)
@async_test
async def test_check_auth_may_be_written_in_any_way(hook: Any) -> None:
    assert (await login(guarded({"check_auth": hook})))[0] == 200


@async_test
async def test_a_coroutine_that_nobody_awaited_lets_nobody_in() -> None:
    def careless(username: str, password: str) -> Any:
        async def check() -> bool:
            return False

        return check()

    status, body = await login(guarded({"check_auth": careless}))
    assert status == 401
    assert "access_token" not in body


@pytest.mark.parametrize("answer", ["yes", 1, 1.0, None, [True]], ids=repr)
@async_test
async def test_nothing_but_true_lets_anybody_in(answer: Any) -> None:
    status, body = await login(guarded({"check_auth": lambda username, password: answer}))
    assert status == 500
    assert "access_token" not in body


@async_test
async def test_added_claims_cannot_replace_what_tokens_are_trusted_by() -> None:
    for claim in ("sub", "exp", "iss", "aud", "jti", "iat", "nbf"):
        hooks = {"check_auth": _sync, "add_jwt_body": lambda username, claim=claim: {claim: "root"}}
        status, body = await login(guarded(hooks))
        assert (status, "access_token" in body) == (500, False)


@async_test
async def test_a_token_says_who_made_it_for_whom_and_until_when() -> None:
    _, body = await login(guarded({"check_auth": _async}))
    assert body["token_type"] == "bearer"
    assert {"iss", "sub", "aud", "exp", "nbf", "iat", "jti"} <= set(claims_of(body["access_token"]))


@async_test
async def test_without_a_secret_key_the_app_does_not_start() -> None:
    app = FastAPI()
    type("AuthJWT", (BaseAuthJWT,), {"check_auth": _async}).mount_auth(app)  # type: ignore[attr-defined]  # made here
    with pytest.raises((BadAuth, RuntimeError), match="secret key"):
        async with running(app):
            pass


@async_test
async def test_the_pattern_may_come_after_the_authentication() -> None:
    app = FastAPI()
    type("AuthJWT", (BaseAuthJWT,), {"check_auth": _async}).mount_auth(app)  # type: ignore[attr-defined]  # made here
    base_pattern(app, secret_key=SECRET)
    assert (await login(app))[0] == 200


@pytest.mark.parametrize("secret", ["secret", "changeme", "a" * 64, "short-but-random-7Qx"])
def test_a_weak_secret_key_is_refused_outside_of_debug_mode(secret: str) -> None:
    with pytest.raises(WeakSecret):
        base_pattern(FastAPI(), secret_key=secret)


def test_a_second_pattern_on_one_app_is_refused() -> None:
    app = FastAPI()
    base_pattern(app)
    with pytest.raises(AlreadyInstalled):
        base_pattern(app)


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [(["*"], "*"), (["https://app.example"], "https://app.example"), (["https://b.example"], None)],
    ids=["everybody", "named", "another"],
)
@async_test
async def test_no_origin_is_reflected_with_credentials(
    origins: list[str], allowed: str | None
) -> None:
    app = FastAPI()
    base_pattern(app, origins=origins)
    async with running(app) as client:
        headers = {"origin": "https://app.example", "cookie": "a=b"}
        answer = await client.get("/healthcheck", headers=headers)
    assert answer.headers.get("access-control-allow-origin") == allowed
    with_credentials = answer.headers.get("access-control-allow-credentials")
    assert with_credentials == ("true" if allowed == "https://app.example" else None)


@async_test
async def test_two_apps_in_one_process_do_not_take_each_others_tokens() -> None:
    one, other = guarded({"check_auth": _async}), FastAPI()
    type("Other", (BaseAuthJWT,), {"check_auth": _async}).mount_auth(other, secret_key=SECRET + "!")  # type: ignore[attr-defined]  # made here

    @other.get("/x")
    async def x(jwt: dict[str, Any] = Depends(jwt_auth)) -> str:
        return str(jwt["sub"])

    _, body = await login(one)
    async with running(other) as client:
        bearer = {"authorization": f"Bearer {body['access_token']}"}
        assert (await client.get("/x", headers=bearer)).status_code == 401


@async_test
async def test_a_hundred_who_log_in_at_once_each_get_a_session_of_their_own() -> None:
    app = guarded({"check_auth": _async})
    async with running(app) as client:
        form = {"username": "ada", "password": "right"}
        answers = await asyncio.gather(*(client.post("/token", data=form) for _ in range(20)))
    tokens = [claims_of(each.json()["access_token"]) for each in answers]
    assert len({each["sid"] for each in tokens}) == len({each["jti"] for each in tokens}) == 20
