"""Who is let in, where, and what those who are not are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse

from backstay.auth import (
    current_user,
    jwt_auth,
    oauth2_scheme,
    require_roles,
    require_scopes,
)
from backstay.context import Context, User
from backstay.errors import BadAuth
from backstay.testing import running
from backstay.web import Ctx, install
from tests.auth.service import OTHER_SECRET, People, bearer, log_in, mounted, service
from tests.support import async_test


def guarded() -> FastAPI:
    app, _ = service()

    @app.get("/me")
    async def me(jwt: dict = Depends(jwt_auth)) -> Any:  # type: ignore[type-arg]  # as documented
        return jwt

    @app.get("/orders")
    async def orders(jwt: Annotated[Any, Security(jwt_auth, scopes=["orders"])]) -> Any:
        return jwt["sub"]

    @app.get("/stock", dependencies=[Depends(require_scopes("stock", "orders"))])
    async def stock() -> str:
        return "stock"

    @app.get("/admin")
    def admin(jwt: Annotated[Any, Depends(require_roles("admin"))]) -> Any:
        return jwt["sub"]

    @app.get("/user")
    async def user(user: Annotated[User, Depends(current_user)]) -> Any:
        return [user.subject, sorted(user.scopes), user.claims["sub"]]

    @app.get("/ctx")
    async def ctx(ctx: Ctx) -> Any:
        return ctx.user and [ctx.user.subject, sorted(ctx.user.scopes)]

    @app.get("/shown")
    async def shown(token: Annotated[str | None, Depends(oauth2_scheme)]) -> Any:
        return token

    return app


@async_test
async def test_whoever_shows_a_good_token_is_let_in() -> None:
    async with running(guarded()) as client:
        ada, _ = await log_in(client)
        claims = (await client.get("/me", headers=ada)).json()
        assert (claims["sub"], claims["iss"], claims["roles"]) == ("ada", "backstay", ["admin"])
        assert (await client.get("/orders", headers=ada)).json() == "ada"
        assert (await client.get("/admin", headers=ada)).json() == "ada"
        assert (await client.get("/user", headers=ada)).json() == [
            "ada",
            ["orders", "photos"],
            "ada",
        ]


@async_test
async def test_ctx_knows_the_user_too() -> None:
    async with running(guarded()) as client:
        ada, _ = await log_in(client)
        assert (await client.get("/ctx", headers=ada)).json() == ["ada", ["orders", "photos"]]
        assert (await client.get("/ctx")).json() is None
        assert (await client.get("/ctx", headers=bearer("x"))).status_code == 401


@pytest.mark.parametrize("path", ["/me", "/orders", "/stock", "/admin", "/user"])
@async_test
async def test_whoever_shows_nothing_is_told_what_to_show(path: str) -> None:
    async with running(guarded()) as client:
        for headers in ({}, {"Authorization": "Basic YTpi"}, {"Cookie": "token=x"}):
            answer = await client.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
        ada, _ = await log_in(client)
        token = ada["Authorization"].removeprefix("Bearer ")
        assert (await client.get(path, params={"access_token": token})).status_code == 401


@pytest.mark.parametrize("path", ["/me", "/orders", "/stock", "/admin", "/user"])
@async_test
async def test_whoever_shows_something_bad_is_told_that_it_is(path: str) -> None:
    async with running(guarded()) as client:
        ada, refresh = await log_in(client)
        token = ada["Authorization"].removeprefix("Bearer ")
        for shown in ("", "x", "a.b.c", token[:-2], token + "x", refresh, f"{token} {token}"):
            answer = await client.get(path, headers=bearer(shown))
            assert answer.status_code == 401, shown
            assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
            assert token not in answer.text
        twice = [("Authorization", f"Bearer {token}"), ("Authorization", "Bearer x")]
        assert (await client.get(path, headers=twice)).status_code == 401


@async_test
async def test_a_good_token_that_does_not_allow_it_is_refused_with_what_is_needed() -> None:
    async with running(guarded()) as client:
        ada, _ = await log_in(client, scope="photos")
        answer = await client.get("/orders", headers=ada)
        assert answer.status_code == 403
        assert answer.headers["www-authenticate"] == (
            'Bearer error="insufficient_scope", '
            'error_description="The credentials do not allow this.", scope="orders"'
        )
        ada, _ = await log_in(client)
        answer = await client.get("/stock", headers=ada)
        assert answer.status_code == 403, "all of them are needed"
        assert 'scope="stock orders"' in answer.headers["www-authenticate"]


@async_test
async def test_whoever_has_no_role_is_refused() -> None:
    async with running(guarded()) as client:
        bob, _ = await log_in(client, "bob")
        answer = await client.get("/admin", headers=bob)
        assert (answer.status_code, answer.json()["detail"]) == (
            403,
            "You have no role that may do this.",
        )


@async_test
async def test_an_api_key_stands_for_its_owner_and_has_no_roles() -> None:
    app = guarded()
    async with running(app) as client:
        made = await app.state.auth_jwt.api_keys.create(
            "ada", name="scanner", scopes=["stock", "orders"]
        )
        for headers in (bearer(made.key), {"X-API-Key": made.key}):
            claims = (await client.get("/me", headers=headers)).json()
            assert (claims["sub"], claims["scope"]) == ("ada", "orders stock")
            assert claims["api_key"] == made.record.id
            assert (await client.get("/stock", headers=headers)).json() == "stock"
            assert (await client.get("/ctx", headers=headers)).json()[0] == "ada"
            assert (await client.get("/admin", headers=headers)).status_code == 403
            assert (await client.post("/logout/everywhere", headers=headers)).status_code == 403
        await app.state.auth_jwt.api_keys.revoke(made.record.id)
        assert (await client.get("/me", headers={"X-API-Key": made.key})).status_code == 401
        ada, _ = await log_in(client)
        token = ada["Authorization"].removeprefix("Bearer ")
        assert (await client.get("/me", headers={"X-API-Key": token})).status_code == 401


@async_test
async def test_the_scheme_gives_what_was_shown_unverified() -> None:
    async with running(guarded()) as client:
        assert (await client.get("/shown", headers=bearer("x"))).json() == "x"
        assert (await client.get("/shown")).json() is None


def test_a_websocket_is_guarded_too() -> None:
    app, _ = service()

    @app.websocket("/ws")
    async def ws(socket: WebSocket, jwt: Annotated[Any, Depends(jwt_auth)]) -> None:
        await socket.accept()
        await socket.send_text(jwt["sub"])
        await socket.close()

    with TestClient(app) as client:
        form = {"username": "ada", "password": "adaada"}
        token = client.post("/token", data=form).json()["access_token"]
        with client.websocket_connect("/ws", headers=bearer(token)) as socket:
            assert socket.receive_text() == "ada"
        for headers in ({}, bearer("x")):
            with (
                pytest.raises(WebSocketDenialResponse) as raised,
                client.websocket_connect("/ws", headers=headers),
            ):
                pass
            assert raised.value.status_code == 401


@async_test
async def test_an_app_guarded_as_a_whole_still_gives_tokens() -> None:
    app = FastAPI(dependencies=[Depends(jwt_auth), Depends(require_roles("admin"))])
    mounted(app)

    @app.get("/x")
    async def x() -> str:
        return "x"

    async with running(app) as client:
        assert (await client.get("/x")).status_code == 401
        assert (await client.get("/check_protected")).status_code == 401
        assert (await client.post("/logout")).status_code == 401
        ada, refresh = await log_in(client)
        assert (await client.get("/x", headers=ada)).json() == "x"
        await client.post("/token", data={"grant_type": "refresh_token", "refresh_token": refresh})
        assert (await client.post("/token/revoke", data={"token": "x"})).status_code == 200


@async_test
async def test_an_old_token_is_in_nobodys_way_where_new_ones_are_got() -> None:
    async def somebody(ctx: Ctx) -> User | None:
        return ctx.user

    app = FastAPI(dependencies=[Depends(somebody)])
    mounted(app)
    async with running(app) as client:
        _, refresh = await log_in(client)
        form = {"grant_type": "refresh_token", "refresh_token": refresh}
        answer = await client.post("/token", data=form, headers=bearer("x"))
        assert answer.status_code == 200
        assert (await client.get("/check_protected", headers=bearer("x"))).status_code == 401


@async_test
async def test_tests_may_put_something_in_the_place_of_jwt_auth() -> None:
    app = guarded()
    app.dependency_overrides[jwt_auth] = lambda: {"sub": "eve", "scope": "a", "roles": ["admin"]}
    async with running(app) as client:
        assert (await client.get("/admin")).json() == "eve"
        assert (await client.get("/user")).json() == ["eve", ["a"], "eve"]


@async_test
async def test_routers_of_routers_are_guarded() -> None:
    app, _ = service()
    inner, outer = APIRouter(), APIRouter(dependencies=[Depends(jwt_auth)])

    @inner.get("/x")
    async def x() -> str:
        return "x"

    outer.include_router(inner, prefix="/inner")
    app.include_router(outer, prefix="/outer")
    async with running(app) as client:
        assert (await client.get("/outer/inner/x")).status_code == 401
        ada, _ = await log_in(client)
        assert (await client.get("/outer/inner/x", headers=ada)).json() == "x"
        for path in ("/outer//inner/x", "/outer/inner/x/", "/outer/./inner/x", "/outer%2finner/x"):
            assert (await client.get(path)).status_code in {401, 404, 307}


class Part:
    """Something that a mounted app has and the one around it does not, so that it runs by itself."""

    attribute = "part"

    def bind(self, ctx: Context) -> object:
        return self

    async def open(self) -> None: ...

    async def close(self) -> None: ...


def telling_who(*, backstay: bool = False, parts: Sequence[Part] = ()) -> FastAPI:
    app = FastAPI()
    if backstay:
        installed = install(app, settings={}, env_file=None)
        for each in parts:
            installed.add(each)

    @app.get("/me")
    async def me(jwt: Annotated[Any, Depends(jwt_auth)], ctx: Ctx) -> Any:
        assert ctx.user is not None
        return [jwt["sub"], ctx.user.subject]

    return app


@pytest.mark.parametrize(
    "options",
    [{}, {"backstay": True}, {"backstay": True, "parts": [Part()]}],
    ids=["bare", "with backstay", "with parts of its own"],
)
@async_test
async def test_a_mounted_app_is_guarded_by_the_one_around_it(options: dict[str, Any]) -> None:
    app, _ = service()
    inner = telling_who(**options)
    inner.mount("/deeper", telling_who(**options))
    app.mount("/inner", inner)
    async with running(app) as client:
        ada, _ = await log_in(client)
        for path in ("/inner/me", "/inner/deeper/me"):
            assert (await client.get(path)).status_code == 401
            assert (await client.get(path, headers=bearer("x"))).status_code == 401
            assert (await client.get(path, headers=ada)).json() == ["ada", "ada"]


@pytest.mark.parametrize("parts", [[], [Part()]], ids=["with nothing", "with parts of its own"])
@async_test
async def test_an_app_in_a_mounted_app_takes_the_logins_of_the_nearest(parts: list[Part]) -> None:
    app, _ = service()
    inner, _ = service(secret_key=OTHER_SECRET)
    inner.mount("/deeper", telling_who(backstay=True, parts=parts))
    app.mount("/inner", inner)
    async with running(app) as client:
        ada, _ = await log_in(client)
        answer = await client.post("/inner/token", data={"username": "bob", "password": "bobbob"})
        bob = bearer(answer.json()["access_token"])
        assert (await client.get("/inner/deeper/me", headers=bob)).json() == ["bob", "bob"]
        assert (await client.get("/inner/deeper/me", headers=ada)).status_code == 401


@async_test
async def test_a_mounted_app_with_logins_of_its_own_takes_no_others() -> None:
    app, _ = service()
    inner, _ = service(secret_key=OTHER_SECRET)

    for each in (app, inner):

        @each.get("/me")
        async def me(jwt: Annotated[Any, Depends(jwt_auth)], ctx: Ctx) -> Any:
            assert ctx.user is not None
            return [jwt["sub"], ctx.user.subject]

    app.mount("/inner", inner)
    async with running(app) as client:
        ada, _ = await log_in(client)
        answer = await client.post("/inner/token", data={"username": "bob", "password": "bobbob"})
        bob = bearer(answer.json()["access_token"])
        assert (await client.get("/me", headers=ada)).json() == ["ada", "ada"]
        assert (await client.get("/inner/me", headers=bob)).json() == ["bob", "bob"]
        assert (await client.get("/inner/me", headers=ada)).status_code == 401
        assert (await client.get("/me", headers=bob)).status_code == 401


@async_test
async def test_apps_in_one_process_do_not_take_each_others_tokens() -> None:
    class Named(People):
        ISSUER = "shop"

    async with (
        running(service()[0]) as one,
        running(service(secret_key=OTHER_SECRET)[0]) as another,
        running(service(Named)[0]) as same_secret,
    ):
        ada, _ = await log_in(one)
        assert (await one.get("/check_protected", headers=ada)).status_code == 200
        assert (await another.get("/check_protected", headers=ada)).status_code == 401
        assert (await same_secret.get("/check_protected", headers=ada)).status_code == 401


@async_test
async def test_a_guard_without_logins_says_what_to_do() -> None:
    app = FastAPI()
    install(app, settings={}, env_file=None)

    @app.get("/x", dependencies=[Depends(jwt_auth)])
    async def x() -> str:
        return "x"

    async with running(app, raise_app_exceptions=False) as client:
        answer = await client.get("/x", headers=bearer("x"))
        assert answer.status_code == 500
        assert "mount_auth" not in answer.text


@async_test
async def test_openapi_says_what_is_needed() -> None:
    async with running(guarded()) as client:
        document = (await client.get("/openapi.json")).json()
        flow = document["components"]["securitySchemes"]["AuthJWT"]["flows"]["password"]
        assert flow["tokenUrl"] == "token"
        assert document["paths"]["/orders"]["get"]["security"] == [{"AuthJWT": ["orders"]}]
        assert document["paths"]["/stock"]["get"]["security"] == [{"AuthJWT": ["stock", "orders"]}]


@pytest.mark.parametrize("make", [require_scopes, require_roles])
@pytest.mark.parametrize("names", [(), ("",), (7,), (["a"],)], ids=str)
def test_a_guard_that_asks_for_nothing_is_refused(make: Any, names: tuple[Any, ...]) -> None:
    with pytest.raises(BadAuth, match="everybody or nobody"):
        make(*names)


def test_a_scope_that_no_token_could_have_is_refused() -> None:
    with pytest.raises(BadAuth, match="is no scope"):
        require_scopes('a" b')
