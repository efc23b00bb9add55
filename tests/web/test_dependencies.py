"""``ctx: Ctx`` wherever FastAPI injects, and the verifier behind ``ctx.user``."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import PlainTextResponse
from starlette.requests import HTTPConnection
from starlette.routing import Route

from backstay import Context, User, current_context
from backstay.errors import ContextClosed, NotInstalled
from backstay.testing import running
from backstay.web import Ctx, UserVerifier, get_context, install
from backstay.web.dependencies import exchange_of
from tests.support import async_test
from tests.web.by_hand import ByHand


class Tokens:
    """A verifier that knows one token, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[HTTPConnection] = []

    async def verify(self, connection: HTTPConnection) -> User | None:
        self.asked.append(connection)
        token = connection.headers.get("authorization")
        if token is None:
            return None
        if token != "Bearer good":
            raise HTTPException(401, "unknown token", headers={"WWW-Authenticate": "Bearer"})
        return User("ada", frozenset({"read"}), {"email": "ada@example.org"})


def make_app(verifier: UserVerifier | None = None) -> FastAPI:
    app = FastAPI()
    install(app, verify_user=verifier)
    return app


@async_test
async def test_one_request_has_one_context_whoever_asks() -> None:
    app, seen = make_app(), []

    async def function_scoped(ctx: Ctx) -> AsyncIterator[Context]:
        yield ctx
        seen.append(ctx)

    def request_scoped(ctx: Ctx) -> Any:
        yield ctx
        seen.append(ctx)

    class AsClass:
        def __init__(self, ctx: Ctx) -> None:
            self.ctx = ctx

    @app.get("/")
    async def endpoint(
        ctx: Ctx,
        request: Request,
        one: Annotated[Context, Depends(function_scoped, scope="function")],
        two: Annotated[Context, Depends(request_scoped, scope="request")],
        three: Annotated[AsClass, Depends()],
        again: Annotated[Context, Depends(get_context, use_cache=False)],
    ) -> None:
        seen.extend(
            [ctx, one, two, three.ctx, again, current_context(), await get_context(request)]
        )

    await ByHand(app).run()
    assert len(seen) == 9
    assert len({id(ctx) for ctx in seen}) == 1
    first = seen[0]
    await ByHand(app).run()
    assert seen[-1] is not first
    assert seen[-1].correlation_id != first.correlation_id


@async_test
async def test_a_sync_endpoint_has_a_context_too() -> None:
    app, seen = make_app(), []

    @app.get("/")
    def endpoint(ctx: Ctx) -> None:
        seen.extend([ctx, current_context()])

    await ByHand(app).run()
    assert seen[0] is seen[1]


@async_test
async def test_a_websocket_has_a_context_too() -> None:
    app, seen = make_app(), []

    async def dependency(ctx: Ctx) -> Context:
        return ctx

    @app.websocket("/")
    async def endpoint(
        websocket: WebSocket, ctx: Ctx, other: Annotated[Context, Depends(dependency)]
    ) -> None:
        seen.extend([ctx, other, current_context()])
        await websocket.accept()
        await websocket.close()

    by_hand = ByHand(app, kind="websocket", headers={"X-Request-ID": "abc"})
    await by_hand.run()
    assert len(seen) == 3
    assert len({id(ctx) for ctx in seen}) == 1
    assert seen[0].correlation_id == "abc"


@pytest.mark.parametrize("kind", ["http", "websocket"])
@async_test
async def test_without_backstay_the_first_request_names_the_line_to_add(kind: str) -> None:
    app = FastAPI()

    @app.get("/orders")
    async def endpoint(ctx: Ctx) -> None: ...

    @app.websocket("/orders")
    async def websocket_endpoint(websocket: WebSocket, ctx: Ctx) -> None: ...

    with pytest.raises(NotInstalled) as caught:
        await ByHand(app, "/orders", kind=kind).run()
    assert "'/orders'" in str(caught.value)
    assert "add the line backstay.web.install(app)" in str(caught.value)


def test_a_door_may_name_a_line_of_its_own() -> None:
    connection = HTTPConnection({"type": "http", "path": "/orders", "headers": []})
    with pytest.raises(NotInstalled, match=r"add the line add_tasks\(app\) where the app is made"):
        exchange_of(connection, "add_tasks(app)")


def add_user_endpoint(app: FastAPI) -> None:
    async def dependency(ctx: Ctx) -> Context:
        return ctx

    @app.get("/")
    async def endpoint(
        ctx: Ctx,
        one: Annotated[Context, Depends(dependency)],
        two: Annotated[Context, Depends(get_context, use_cache=False)],
    ) -> Any:
        assert ctx.user == one.user == two.user == current_context().user
        return None if ctx.user is None else [ctx.user.subject, *ctx.user.scopes, ctx.user.claims]


@async_test
async def test_the_verifier_is_asked_once_for_a_request() -> None:
    verifier = Tokens()
    app = make_app(verifier)
    add_user_endpoint(app)
    async with running(app) as client:
        answer = await client.get("/", headers={"Authorization": "Bearer good"})
        assert answer.json() == ["ada", "read", {"email": "ada@example.org"}]
        assert len(verifier.asked) == 1
        assert isinstance(verifier.asked[0], HTTPConnection)
        await client.get("/", headers={"Authorization": "Bearer good"})
        assert len(verifier.asked) == 2


@async_test
async def test_a_request_without_credentials_is_anonymous_and_asked_about_once() -> None:
    verifier = Tokens()
    app = make_app(verifier)
    add_user_endpoint(app)
    async with running(app) as client:
        assert (await client.get("/")).json() is None
    assert len(verifier.asked) == 1


@async_test
async def test_without_a_verifier_every_request_is_anonymous() -> None:
    app = make_app()
    add_user_endpoint(app)
    async with running(app) as client:
        answer = await client.get("/", headers={"Authorization": "Bearer good"})
    assert answer.json() is None


@async_test
async def test_wrong_credentials_are_answered_as_the_verifier_says() -> None:
    app, reached = make_app(Tokens()), []

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        reached.append(ctx)

    async with running(app) as client:
        answer = await client.get("/", headers={"Authorization": "Bearer bad"})
    assert answer.status_code == 401
    assert answer.json() == {"detail": "unknown token"}
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "X-Request-ID" in answer.headers
    assert reached == []


@async_test
async def test_a_verifier_that_breaks_is_a_500_not_an_anonymous() -> None:
    class Broken:
        async def verify(self, connection: HTTPConnection) -> User | None:
            raise OSError("the key server is down")

    app = make_app(Broken())
    add_user_endpoint(app)
    async with running(app, raise_app_exceptions=False) as client:
        assert (await client.get("/")).status_code == 500


@async_test
async def test_an_endpoint_that_wants_no_context_costs_no_question() -> None:
    verifier = Tokens()
    app = make_app(verifier)

    @app.get("/")
    async def endpoint() -> None: ...

    async with running(app) as client:
        answer = await client.get("/", headers={"Authorization": "Bearer bad"})
    assert answer.status_code == 200
    assert verifier.asked == []


@async_test
async def test_a_user_nobody_asked_for_says_how_to_ask() -> None:
    app, messages = make_app(Tokens()), []

    def look() -> None:
        try:
            _ = current_context().user
        except ContextClosed as error:
            messages.append(str(error))

    @app.get("/")
    async def endpoint() -> None:
        look()

    async def plain(request: Request) -> PlainTextResponse:
        look()
        context = await get_context(request)
        return PlainTextResponse(context.user.subject if context.user else "anonymous")

    app.router.routes.append(Route("/plain", plain))
    async with running(app) as client:
        headers = {"Authorization": "Bearer good"}
        await client.get("/", headers=headers)
        assert (await client.get("/plain", headers=headers)).text == "ada"
    assert len(messages) == 2
    assert "take ctx: Ctx as a parameter" in messages[0]


@async_test
async def test_a_websockets_user_is_verified_too() -> None:
    verifier = Tokens()
    app, seen = make_app(verifier), []

    @app.websocket("/")
    async def endpoint(websocket: WebSocket, ctx: Ctx) -> None:
        seen.append(ctx.user)
        await websocket.accept()
        await websocket.close()

    headers = {"Authorization": "Bearer good"}
    await ByHand(app, kind="websocket", headers=headers).run()
    assert [user.subject for user in seen if user] == ["ada"]
    assert [connection.scope["type"] for connection in verifier.asked] == ["websocket"]
