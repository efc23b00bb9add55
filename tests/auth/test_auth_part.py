"""Guarding as a part of an app: keys and store when it starts, or why it does not."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from backstay.auth import AuthPart, JWTVerifier, Keyring, SigningKey, VerifiedToken
from backstay.auth.memory_store import MemoryAuthStore
from backstay.db import MainDatabaseManager, add_database
from backstay.errors import BadAuth, TokensUncheckable
from backstay.events import add_events
from backstay.testing import FakeClock, running
from backstay.web import Ctx, install
from tests.auth.service import (
    OTHER_SECRET,
    SECRET,
    FragileStore,
    People,
    bearer,
    log_in,
    mounted,
    service,
)
from tests.support import async_test


def unstarted(**options: Any) -> tuple[FastAPI, AuthPart]:
    app = FastAPI()
    install(app, settings={}, env_file=None, clock=FakeClock())
    return app, People.mount_auth(app, **{"store": MemoryAuthStore(), **options})


@async_test
async def test_without_a_secret_key_the_app_does_not_start() -> None:
    app, _ = unstarted()
    with pytest.raises(
        RuntimeError, match=r"mount_auth\(app, secret_key=\.\.\.\) or to base_pattern"
    ):
        async with running(app):
            pass


@async_test
async def test_the_secret_key_of_the_app_may_be_set_later() -> None:
    app, auth = unstarted()
    app.state.SECRET_KEY = SECRET
    async with running(app) as client:
        await log_in(client)
        assert auth.keyring.keys[0].kid == SigningKey.from_secret(SECRET).kid


@pytest.mark.parametrize("weak", ["secret", "x" * 64, "", " ", ["good", ""], f"{SECRET},short", 7])
@async_test
async def test_a_weak_secret_key_does_not_start_unless_debugging(weak: Any) -> None:
    app, _ = unstarted(secret_key=weak)
    with pytest.raises(RuntimeError, match="BadAuth|WeakSecret") as raised:
        async with running(app):
            pass
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("how", ["state", "app"])
@async_test
async def test_in_debug_mode_a_weak_secret_key_is_warned_of(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = unstarted(secret_key="hunter2")
    if how == "state":
        app.state.DEBUG = True
    else:
        app.debug = True
    async with running(app) as client:
        await log_in(client)
    assert "refused outside debug" in caplog.text
    assert "hunter2" not in caplog.text


@async_test
async def test_debug_that_was_said_to_be_off_is_off() -> None:
    app, _ = unstarted(secret_key="hunter2")
    app.debug, app.state.DEBUG = True, False
    with pytest.raises(RuntimeError, match="WeakSecret"):
        async with running(app):
            pass


@pytest.mark.parametrize(
    "both",
    [f"{OTHER_SECRET},{SECRET}", f" {OTHER_SECRET} , {SECRET},", [OTHER_SECRET, SecretStr(SECRET)]],
    ids=["commas", "spaces", "list"],
)
@async_test
async def test_of_several_secrets_the_first_signs_and_all_verify(both: Any) -> None:
    store = MemoryAuthStore()
    _, before = service(store=store)
    _, after = service(store=store, secret_key=both)
    old, new = await before.issue("ada"), await after.issue("ada")
    assert await after.verify_token(old.access_token) is not None
    assert await after.verify_token(new.access_token) is not None
    assert await before.verify_token(new.access_token) is None


@async_test
async def test_keys_follow_each_other_without_a_restart() -> None:
    clock = FakeClock()
    day = 86_400
    old = SigningKey.generate(kid="old")
    new = SigningKey.from_pem(
        SigningKey.generate().private_pem(), kid="new", signs_from=clock.now().replace(day=2)
    )

    class Rotating(People):
        KEYS = Keyring(old, new)

    _, auth = service(Rotating, clock=clock)
    first = await auth.issue("ada")
    assert first.access_token.startswith(old.header)
    assert [each["kid"] for each in auth.jwks()["keys"]] == ["new", "old"]
    await clock.advance(day - 60)
    second = await auth.issue("ada")
    await clock.advance(60)
    third = await auth.issue("ada")
    assert second.access_token.startswith(old.header)
    assert third.access_token.startswith(new.header)
    for grant in (second, third):
        assert await auth.verify_token(grant.access_token) is not None


@async_test
async def test_an_app_whose_keys_do_not_sign_yet_does_not_start() -> None:
    class Early(People):
        KEYS = Keyring(SigningKey.generate(signs_from=FakeClock().now().replace(year=2028)))

    app, _ = service(Early)
    with pytest.raises(RuntimeError, match="none of the keys"):
        async with running(app):
            pass


@pytest.mark.parametrize(
    ("attributes", "options", "says"),
    [
        ({"ALGORITHM": "none"}, {}, "HS256, HS384, HS512"),
        ({"ALGORITHM": "RS256"}, {}, "KEYS"),
        ({"ALGORITHM": "ES256"}, {}, "KEYS"),
        ({"KEYS": "x"}, {}, "KEYS is a Keyring"),
        ({"KEYS": Keyring(SigningKey.generate())}, {"secret_key": SECRET}, "one of them"),
        ({"TRUSTED_ISSUERS": ["https://a.example"]}, {}, "verifies no tokens"),
        (
            {
                "ISSUER": "https://shop.example",
                "TRUSTED_ISSUERS": [JWTVerifier("https://shop.example", audience="x")],
            },
            {},
            "this service's own",
        ),
        ({"ACCESS_TOKEN_EXPIRE_MINUTES": 0}, {}, "ACCESS_TOKEN_EXPIRE_MINUTES"),
        ({"check_auth": None}, {}, "has no check_auth"),
    ],
    ids=["none", "RS256", "ES256", "KEYS", "both", "no verifier", "itself", "no time", "no check"],
)
def test_what_could_never_work_is_said_at_once(
    attributes: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    declared: Any = type("Declared", (People,), attributes)
    with pytest.raises(BadAuth, match=says):
        declared.mount_auth(FastAPI(), **options)


@async_test
async def test_sessions_are_kept_in_the_apps_own_database(tmp_path: Path) -> None:
    manager = MainDatabaseManager(f"sqlite:///{tmp_path}/shop.db", echo=False)
    app = FastAPI()
    install(app, settings={}, env_file=None)
    People.mount_auth(app, secret_key=SECRET)
    add_database(app, manager)
    async with running(app) as client:
        ada, refresh = await log_in(client)
        assert (await client.post("/logout", headers=ada)).status_code == 204

    again = FastAPI()
    install(again, settings={}, env_file=None)
    again.state.DATABASE_MANAGER = manager
    People.mount_auth(again, secret_key=SECRET)
    async with running(again) as client:
        assert (await client.get("/check_protected", headers=ada)).status_code == 401
        form = {"grant_type": "refresh_token", "refresh_token": refresh}
        assert (await client.post("/token", data=form)).status_code == 400
    await manager.dispose()


@async_test
async def test_sessions_outlive_the_process_in_a_database_of_their_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/auth.db"
    refresh = ""
    for _ in range(3):
        app, _ = service(store=url)
        async with running(app) as client:
            if refresh:
                form = {"grant_type": "refresh_token", "refresh_token": refresh}
                answer = await client.post("/token", data=form)
                assert answer.status_code == 200
                refresh = answer.json()["refresh_token"]
            else:
                _, refresh = await log_in(client)


@async_test
async def test_that_only_this_process_knows_is_said(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()
    People.mount_auth(app, secret_key=SECRET)
    async with running(app) as client:
        await log_in(client)
    said = [each.message for each in caplog.records if each.name == "backstay.auth"]
    assert len([each for each in said if "memory of this process" in each]) == 1


@async_test
async def test_it_works_where_nobody_runs_the_lifespan() -> None:
    import httpx

    app, _ = service()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://testserver"
    ) as client:
        ada, _ = await log_in(client)
        assert (await client.get("/check_protected", headers=ada)).status_code == 200


@async_test
async def test_whoever_comes_first_may_leave_while_the_store_opens() -> None:
    opens, go_on = asyncio.Event(), asyncio.Event()

    class SlowStore(MemoryAuthStore):
        opened = 0

        async def open(self) -> None:
            SlowStore.opened += 1
            opens.set()
            await go_on.wait()

    _, auth = service(store=SlowStore())
    first = asyncio.create_task(auth.issue("ada"))
    await opens.wait()
    second = asyncio.create_task(auth.issue("ada"))
    first.cancel()
    go_on.set()
    assert (await second).scopes
    assert SlowStore.opened == 1


@async_test
async def test_nobody_waits_long_for_a_store_to_open() -> None:
    class Impatient(People):
        STORE_PATIENCE_SECONDS = 0.01

    class SlowStore(MemoryAuthStore):
        opens = asyncio.Event()

        async def open(self) -> None:
            await self.opens.wait()

    _, auth = service(Impatient, store=SlowStore())
    with pytest.raises(TokensUncheckable, match="takes long to open"):
        await auth.issue("ada")
    opening = asyncio.create_task(auth.open())  # as an app does that starts: it has the time
    done, _ = await asyncio.wait({opening}, timeout=0.05)
    assert not done
    SlowStore.opens.set()
    await opening
    assert (await auth.issue("ada")).scopes
    await auth.close()


@async_test
async def test_ctx_auth_is_for_the_apps_own_code() -> None:
    app, auth = service()

    @app.post("/me/password")
    async def change(ctx: Ctx) -> int:
        assert ctx.user is not None
        found: int = await ctx.auth.end_sessions(ctx.user.subject)
        return found

    async with running(app) as client:
        ada, _ = await log_in(client)
        await log_in(client)
        assert client.ctx.auth is auth
        assert (await client.post("/me/password", headers=ada)).json() == 2
        assert (await client.get("/check_protected", headers=ada)).status_code == 401
        assert isinstance(await auth.prune(), int)


@async_test
async def test_a_verifier_that_the_app_has_stays_its_verifier() -> None:
    class Everybody:
        async def verify(self, connection: Any) -> None:
            return None

    app = FastAPI()
    install(app, settings={}, env_file=None, verify_user=Everybody())
    mounted(app)

    @app.get("/user")
    async def user(ctx: Ctx) -> bool:
        return ctx.user is None

    async with running(app) as client:
        ada, _ = await log_in(client)
        assert (await client.get("/user", headers=ada)).json() is True


@async_test
async def test_a_request_is_verified_once_and_every_request_anew() -> None:
    app, auth = service(store=FragileStore())

    @app.get("/both")
    async def both(ctx: Ctx) -> str | None:
        return ctx.user.subject if ctx.user else None

    async with running(app) as client:
        grant = await auth.issue("ada")
        assert (await client.get("/both", headers=bearer(grant.access_token))).json() == "ada"
        await auth.end_sessions("ada")
        answer = await client.get("/both", headers=bearer(grant.access_token))
        assert answer.status_code == 401


@async_test
async def test_a_token_verifier_of_others_is_closed_with_the_app() -> None:
    class Other:
        closed = False

        async def verify_token(self, token: str) -> VerifiedToken | None:
            return None

        async def close(self) -> None:
            Other.closed = True

    app, _ = service(type("Declared", (People,), {"TRUSTED_ISSUERS": [Other()]}))
    async with running(app):
        assert not Other.closed
    assert Other.closed


@async_test
async def test_why_a_token_is_refused_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="backstay.auth")
    _, auth = service()
    assert await auth.verify_token("a.b.c") is None
    assert "a token was refused: its header is none" in caplog.text


def test_nothing_shows_the_secret() -> None:
    _, auth = service()
    assert SECRET not in repr(auth)


@async_test
async def test_what_is_audited_is_among_the_events_of_the_app(tmp_path: Path) -> None:
    app = FastAPI()
    manager = MainDatabaseManager(f"sqlite:///{tmp_path}/app.db")
    add_database(app, manager)
    add_events(app)
    People.mount_auth(app, secret_key=SECRET)
    async with running(app) as client:
        for password in ("ada", "adaada"):
            await client.post("/token", data={"username": "ada", "password": password})
        events = client.ctx.events
        await events.flush()
        found = (await events.find(kind="audit")).events
    assert [(each.name, each.outcome) for each in reversed(found)] == [
        ("login_refused", "failed"),
        ("login", "ok"),
    ]
    assert {each.facts["subject"] for each in found} == {"ada"}
    assert len({each.correlation_id for each in found}) == 2
    assert "adaada" not in repr(found)


@async_test
async def test_the_secret_key_may_be_a_setting() -> None:
    app = FastAPI()
    install(app, settings={"BACKSTAY_SECRET_KEY": SECRET}, env_file=None)
    auth = People.mount_auth(app, store=MemoryAuthStore())
    async with running(app):
        assert auth.keyring.keys[0].kid == SigningKey.from_secret(SECRET).kid
