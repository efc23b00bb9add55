"""The page is there for whom it should be, and for nobody else."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, WebSocket
from httpx import AsyncClient
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles

from backstay.errors import BadIntegration
from backstay.integration.page import add_docintegration
from backstay.pattern import base_pattern
from backstay.testing import running
from backstay.web import install
from tests.browser.integrations import Payments, Translate
from tests.support import async_test

PATHS = [
    "/docintegration",
    "/docintegration.json",
    "/docintegration/live.json",
    "/docintegration/main.js",
]


def made(*, debug: bool = True, **options: Any) -> FastAPI:
    app = FastAPI(title="Shop", debug=debug)
    add_docintegration(app, [Translate("https://translate.example")], **options)
    return app


async def statuses(client: AsyncClient, paths: list[str] = PATHS) -> set[int]:
    return {(await client.get(path)).status_code for path in paths}


@async_test
async def test_in_debug_mode_everybody_sees_it() -> None:
    async with running(made()) as client:
        assert await statuses(client) == {200}
        page = await client.get("/docintegration")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-store"
        assert "<title>Integrations · Shop</title>" in page.text
        assert (await client.head("/docintegration")).status_code == 200


@async_test
async def test_otherwise_it_is_as_if_it_were_not() -> None:
    async with running(made(debug=False)) as client:
        nowhere = await client.get("/nowhere")
        for path in PATHS:
            found = await client.get(path)
            assert (found.status_code, found.json()) == (404, nowhere.json())
            # Not even by what is allowed there.
            assert (await client.post(path)).status_code == 404


@async_test
async def test_debug_mode_is_looked_up_for_each_request() -> None:
    app = made(debug=False)
    async with running(app) as client:
        assert await statuses(client) == {404}
        app.state.DEBUG = True
        assert await statuses(client) == {200}
        app.state.DEBUG = False
        app.debug = True
        assert await statuses(client) == {404}


@async_test
async def test_a_mounted_app_that_was_left_in_debug_mode_does_not_show_it() -> None:
    app = FastAPI()
    base_pattern(app, debug=False)
    app.mount("/inner", made(debug=True))
    paths = [f"/inner{path}" for path in PATHS]
    async with running(app) as client:
        assert await statuses(client, paths) == {404}
        app.state.DEBUG = True
        assert await statuses(client, paths) == {200}


@async_test
async def test_everybody_sees_it_where_that_is_said() -> None:
    async with running(made(debug=False, access=True)) as client:
        assert await statuses(client) == {200}


def only_admin(x_key: Annotated[str, Header()] = "") -> None:
    if x_key != "admin":
        raise HTTPException(403, "Not for you.")


@pytest.mark.parametrize("access", [only_admin, Depends(only_admin)], ids=["function", "Depends"])
@pytest.mark.parametrize("debug", [True, False], ids=["debug", "no debug"])
@async_test
async def test_a_dependency_decides_in_debug_mode_too(access: Any, debug: bool) -> None:
    async with running(made(debug=debug, access=access)) as client:
        assert await statuses(client) == {403}
        client.headers["X-Key"] = "admin"
        assert await statuses(client) == {200}


@async_test
async def test_tests_may_override_the_dependency() -> None:
    app = made(debug=False, access=only_admin)
    app.dependency_overrides[only_admin] = lambda: None
    async with running(app) as client:
        assert await statuses(client) == {200}


@async_test
async def test_it_is_not_in_the_schema_of_the_app() -> None:
    for access in (None, True, only_admin):
        async with running(made(access=access)) as client:
            assert (await client.get("/openapi.json")).json()["paths"] == {}


@async_test
async def test_the_data_are_the_document_with_how_it_goes() -> None:
    app = FastAPI(debug=True)
    instance = Translate("https://translate.example")
    add_docintegration(app, [instance])
    instance.statistics.record("translate", duration_s=0.1, outcome="ok", status=200, attempts=1)
    async with running(app) as client:
        answer = await client.get("/docintegration.json")
        found = answer.json()
        live = (await client.get("/docintegration/live.json")).json()
    assert answer.headers["cache-control"] == "no-store"
    endpoint = found["integrations"][0]["endpoints"][0]
    assert endpoint["live"]["statistics"]["total"]["calls"] == 1
    assert live["document"] == found["document"]
    assert live["process"] == found["process"]
    assert live["endpoints"].keys() == {"google-translate.translate", "google-translate.language"}


@async_test
async def test_a_page_that_knows_the_earlier_slots_is_sent_the_later_ones() -> None:
    app = FastAPI(debug=True)
    instance = Translate("https://translate.example")
    add_docintegration(app, [instance])
    instance.statistics.record("translate", duration_s=0.1, outcome="ok", status=200, attempts=1)

    async def series(client: AsyncClient, **query: str) -> list[Any]:
        live = (await client.get("/docintegration/live.json", params=query)).json()
        found: list[Any] = live["endpoints"]["google-translate.translate"]["statistics"]["series"]
        return found

    async with running(app) as client:
        process = (await client.get("/docintegration/live.json")).json()["process"]["id"]
        assert len(await series(client, process=process, since="999999999999")) == 0
        # Another process knows other slots, and nonsense is no slot.
        assert len(await series(client, process="other", since="999999999999")) == 1
        assert len(await series(client, process=process, since="x")) == 1
        assert len(await series(client, process=process, since="9" * 5000)) == 1


@async_test
async def test_it_may_be_elsewhere_and_its_files_are_beside_it() -> None:
    app = made(path="/internal/services")
    async with running(app) as client:
        assert await statuses(client) == {404}
        page = await client.get("/internal/services")
        assert 'src="services/main.js"' in page.text
        assert (await client.get("/internal/services/main.js")).status_code == 200
        assert (await client.get("/internal/services.json")).status_code == 200


@async_test
async def test_a_catch_all_does_not_hide_it_and_answers_while_it_is_closed() -> None:
    app = FastAPI(debug=True)

    @app.get("/{path:path}")
    async def everything(path: str) -> str:
        return "mine"

    add_docintegration(app, [])
    async with running(app) as client:
        assert "<title>" in (await client.get("/docintegration")).text
        app.debug = False
        assert (await client.get("/docintegration")).json() == "mine"


@async_test
async def test_pages_mounted_at_the_root_do_not_hide_it(tmp_path: Any) -> None:
    (tmp_path / "index.html").write_text("mine")
    app = FastAPI(debug=True)
    app.mount("/", StaticFiles(directory=tmp_path, html=True))
    add_docintegration(app, [])
    async with running(app) as client:
        assert "<title>" in (await client.get("/docintegration")).text
        assert (await client.get("/")).text == "mine"


def with_route(app: FastAPI) -> None:
    app.get("/docintegration")(lambda: "mine")


def with_mount(app: FastAPI) -> None:
    app.mount("/docintegration", PlainTextResponse("mine"))


def with_router(app: FastAPI) -> None:
    router = APIRouter(prefix="/docintegration")
    router.get("")(lambda: "mine")
    app.include_router(router)


def with_inner_router(app: FastAPI) -> None:
    inner = APIRouter()
    inner.get("/docintegration.json")(lambda: "mine")
    router = APIRouter()
    router.include_router(inner)
    app.include_router(router)


@pytest.mark.parametrize(
    "clash",
    [with_route, with_mount, with_router, with_inner_router],
    ids=lambda each: each.__name__,
)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@async_test
async def test_an_app_that_has_such_a_route_itself_does_not_start(clash: Any, before: bool) -> None:
    app = FastAPI()
    if before:
        clash(app)
    add_docintegration(app, [])
    if not before:
        clash(app)
    with pytest.raises(BadIntegration, match=r"is at /docintegration.*another path="):
        async with running(app):
            pass


@async_test
async def test_other_methods_and_websockets_at_its_path_are_no_clash() -> None:
    app = FastAPI(debug=True)
    app.post("/docintegration")(lambda: "mine")

    @app.websocket("/docintegration")
    async def socket(websocket: WebSocket) -> None: ...

    add_docintegration(app, [])
    async with running(app) as client:
        assert (await client.get("/docintegration")).status_code == 200
        assert (await client.post("/docintegration")).json() == "mine"


@async_test
async def test_two_of_them_at_one_path_are_a_clash_and_at_two_are_none() -> None:
    app = FastAPI(debug=True)
    add_docintegration(app, [Translate("https://a.example")])
    add_docintegration(app, [Payments("https://b.example")], path="/other")
    async with running(app) as client:
        names = [
            (await client.get(f"{path}.json")).json()["integrations"][0]["name"]
            for path in ("/docintegration", "/other")
        ]
    assert names == ["Google Translate", "Payment gateway"]
    twice = made()
    add_docintegration(twice, [])
    with pytest.raises(BadIntegration, match="docintegration"):
        async with running(twice):
            pass


@pytest.mark.parametrize(
    "path", ["", "/", "docs", "/docs/", "/{name}", "/a b", "/a//b", "/ü", None, 3]
)
def test_a_path_that_will_not_do_is_refused(path: Any) -> None:
    with pytest.raises(BadIntegration, match=r"add_docintegration\(path=\)"):
        add_docintegration(FastAPI(), [], path=path)


@pytest.mark.parametrize("access", [False, 1, "admin", object], ids=["False", "1", "text", "class"])
def test_an_access_that_is_none_is_refused(access: Any) -> None:
    if access is object:  # a class is a dependency: FastAPI makes one
        add_docintegration(FastAPI(), [], access=access)
    else:
        with pytest.raises(BadIntegration, match="access="):
            add_docintegration(FastAPI(), [], access=access)


def test_it_comes_before_the_app_has_started() -> None:
    app = FastAPI()
    install(app)
    app.middleware_stack = app.build_middleware_stack()
    with pytest.raises(RuntimeError, match="after the app had started"):
        add_docintegration(app, [])


@async_test
async def test_an_app_of_starlette_will_do() -> None:
    app = Starlette(debug=True)
    add_docintegration(app, [Translate("https://translate.example")])
    async with running(app) as client:
        assert await statuses(client) == {200}


@async_test
async def test_headers_of_base_pattern_leave_the_pages_own_policy_alone() -> None:
    app = FastAPI(debug=True)
    base_pattern(app, debug=True, useintegration=[Translate("https://translate.example")])
    async with running(app) as client:
        headers = (await client.get("/docintegration")).headers
        script = (await client.get("/docintegration/main.js")).headers
    assert headers.get_list("content-security-policy") == [headers["content-security-policy"]]
    assert "script-src 'self'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert script["x-content-type-options"] == "nosniff"


@async_test
async def test_a_dependency_that_says_no_by_what_it_returns_is_understood() -> None:
    def is_inside(x_inside: Annotated[str, Header()] = "") -> bool:
        return x_inside == "yes"

    async with running(made(access=is_inside)) as client:
        assert await statuses(client) == {403}
        client.headers["X-Inside"] = "yes"
        assert await statuses(client) == {200}
