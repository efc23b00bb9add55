"""Parameters that are handed over directly: the same as FastAPI's way, only sooner."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.dependencies import utils as fastapi_injection
from fastapi.testclient import TestClient
from starlette.requests import HTTPConnection

from backstay.errors import NotInstalled
from backstay.tasks import Tasks, add_tasks
from backstay.tasks.installation import _get_tasks
from backstay.testing import running
from tests.support import async_test


@pytest.fixture
def solved() -> Iterator[list[object]]:
    """What FastAPI solved as a dependency, while the test ran."""
    calls: list[object] = []
    original = fastapi_injection.solve_dependencies

    async def watch(**options: Any) -> Any:
        calls.append(options["dependant"].call)
        return await original(**options)

    fastapi_injection.solve_dependencies = watch  # type: ignore[assignment]  # put back below
    yield calls
    fastapi_injection.solve_dependencies = original


def app_with(add_route: Callable[[FastAPI, list[str]], None]) -> tuple[FastAPI, list[str]]:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []
    add_route(app, log)
    return app, log


def plain(app: FastAPI, log: list[str]) -> None:
    @app.get("/{word}")
    async def endpoint(word: str, tasks: Tasks) -> None:
        tasks.schedule(log.append, word)


def included(app: FastAPI, log: list[str]) -> None:
    inner, outer = APIRouter(), APIRouter()

    @inner.get("/{word}")
    async def endpoint(word: str, tasks: Tasks) -> None:
        tasks.schedule(log.append, word)

    outer.include_router(inner)
    app.include_router(outer)


def mounted(app: FastAPI, log: list[str]) -> None:
    inner = FastAPI()
    plain(inner, log)
    app.mount("/", inner)


def twice(app: FastAPI, log: list[str]) -> None:
    @app.get("/{word}")
    async def endpoint(tasks: Tasks, word: str, again: Tasks) -> None:
        assert again is tasks
        tasks.schedule(log.append, word)


def beside_the_request(app: FastAPI, log: list[str]) -> None:
    @app.get("/{word}")
    async def endpoint(
        connection: HTTPConnection, request: Request, tasks: Tasks, word: str
    ) -> None:
        assert connection is request
        tasks.schedule(log.append, word)


def beside_a_dependency(app: FastAPI, log: list[str]) -> None:
    async def upper(word: str) -> str:
        return word

    @app.get("/{word}")
    async def endpoint(tasks: Tasks, word: Annotated[str, Depends(upper)]) -> None:
        tasks.schedule(log.append, word)


def sync(app: FastAPI, log: list[str]) -> None:
    @app.get("/{word}")
    def endpoint(word: str, tasks: Tasks) -> None:
        tasks.schedule(log.append, word)


def in_a_dependency(app: FastAPI, log: list[str]) -> None:
    async def note(word: str, tasks: Tasks) -> None:
        tasks.schedule(log.append, word)

    @app.get("/{word}", dependencies=[Depends(note)])
    async def endpoint() -> None: ...


DIRECT = [plain, included, mounted, twice, beside_the_request, beside_a_dependency]


@pytest.mark.parametrize("add_route", [*DIRECT, sync, in_a_dependency])
def test_tasks_arrive_either_way(
    add_route: Callable[[FastAPI, list[str]], None], solved: list[object]
) -> None:
    app, log = app_with(add_route)

    @async_test
    async def ask() -> None:
        async with running(app) as client:
            assert (await client.get("/word")).status_code == 200
            await client.tasks.settle()

    ask()
    assert log == ["word"]
    assert (_get_tasks in solved) is (add_route not in DIRECT)


@async_test
async def test_routes_added_while_the_app_runs_get_theirs_from_fastapi() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []
    async with running(app) as client:
        plain(app, log)
        assert (await client.get("/late")).status_code == 200
        await client.tasks.settle()
    assert log == ["late"]


def test_a_route_shared_with_an_app_without_backstay_still_says_what_is_missing() -> None:
    router = APIRouter()

    @router.get("/")
    async def endpoint(tasks: Tasks) -> None: ...

    equipped, bare = FastAPI(routes=router.routes), FastAPI(routes=router.routes)
    add_tasks(equipped)
    assert TestClient(equipped).get("/").status_code == 200
    with pytest.raises(NotInstalled, match=r"add_tasks\(app\)"):
        TestClient(bare).get("/")


@async_test
async def test_the_openapi_document_and_the_signature_stay_as_they_were() -> None:
    app, _ = app_with(plain)
    before = app.openapi()
    app.openapi_schema = None
    async with running(app) as client:
        assert (await client.get("/openapi.json")).json() == before
