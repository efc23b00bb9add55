"""The session a request works with is noted, and commits that come too late are found."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Security, WebSocket
from fastapi.dependencies.models import Dependant
from fastapi.security import SecurityScopes
from fastapi.testclient import TestClient
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from backstay.jobs.session_scope import late_commits, remember_sessions


class FakeSession:
    """Enough of a session for code to be written that looks like the real thing."""

    def __init__(self, name: str = "the app's") -> None:
        self.name = name

    def __enter__(self) -> "FakeSession":
        return self

    def __exit__(self, *_: object) -> None: ...

    async def __aenter__(self) -> "FakeSession":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def commit(self) -> None: ...

    async def acommit(self) -> None: ...

    async def rollback(self) -> None: ...

    @contextmanager
    def begin(self) -> Iterator["FakeSession"]:
        raise AssertionError("these are read, not run")

    @asynccontextmanager
    async def abegin(self) -> AsyncIterator["FakeSession"]:
        raise AssertionError("these are read, not run")
        yield


async def get_session() -> AsyncIterator[FakeSession]:
    async with FakeSession() as session:
        yield session


InSession = Annotated[FakeSession, Depends(get_session)]


class Notes:
    def __init__(self) -> None:
        self.sessions: list[Any] = []
        self.paths: list[str] = []

    def take(self, connection: HTTPConnection, session: Any) -> None:
        self.paths.append(connection.url.path)
        self.sessions.append(session)


def plain(app: FastAPI, got: list[Any]) -> None:
    @app.get("/")
    async def endpoint(session: InSession) -> None:
        got.append(session)


def sync(app: FastAPI, got: list[Any]) -> None:
    @app.get("/")
    def endpoint(session: InSession) -> None:
        got.append(session)


def nested(app: FastAPI, got: list[Any]) -> None:
    def repository(session: InSession) -> FakeSession:
        return session

    def service(session: Annotated[FakeSession, Depends(repository)]) -> FakeSession:
        return session

    @app.get("/")
    async def endpoint(session: Annotated[FakeSession, Depends(service)]) -> None:
        got.append(session)


def without_a_parameter(app: FastAPI, got: list[Any]) -> None:
    async def check(session: InSession) -> None:
        got.append(session)

    @app.get("/", dependencies=[Depends(check)])
    async def endpoint() -> None: ...


def function_scoped(app: FastAPI, got: list[Any]) -> None:
    @app.get("/")
    async def endpoint(
        session: Annotated[FakeSession, Depends(get_session, scope="function")],
    ) -> None:
        got.append(session)


def uncached(app: FastAPI, got: list[Any]) -> None:
    @app.get("/")
    async def endpoint(
        session: Annotated[FakeSession, Depends(get_session, use_cache=False)],
    ) -> None:
        got.append(session)


def included(app: FastAPI, got: list[Any]) -> None:
    inner, outer = APIRouter(), APIRouter()

    @inner.get("/")
    async def endpoint(session: InSession) -> None:
        got.append(session)

    outer.include_router(inner, prefix="/inner")
    app.include_router(outer, prefix="/outer")


def mounted(app: FastAPI, got: list[Any]) -> None:
    inner = FastAPI()
    plain(inner, got)
    app.mount("/mounted", inner)


def mounted_without_an_app(app: FastAPI, got: list[Any]) -> None:
    inner = FastAPI()
    plain(inner, got)
    app.router.routes.append(Mount("/mounted", routes=[Mount("/deeper", app=inner)]))


Way = Callable[[FastAPI, list[Any]], None]

PATHS: dict[Way, str] = {
    included: "/outer/inner/",
    mounted: "/mounted/",
    mounted_without_an_app: "/mounted/deeper/",
}

every_way = pytest.mark.parametrize(
    "way",
    [
        plain,
        sync,
        nested,
        without_a_parameter,
        function_scoped,
        uncached,
        included,
        mounted,
        mounted_without_an_app,
    ],
    ids=lambda way: way.__name__,
)


@every_way
def test_the_session_that_the_endpoint_gets_is_noted(way: Way) -> None:
    app, got, notes = FastAPI(), list[Any](), Notes()
    way(app, got)
    assert remember_sessions(app.routes, get_session, notes.take) == 1
    path = PATHS.get(way, "/")
    assert TestClient(app).get(path).status_code == 200
    assert notes.sessions == got
    assert notes.paths == [path]
    assert TestClient(app).get(path).status_code == 200
    assert notes.sessions == got
    assert len({id(each) for each in got}) == 2


@every_way
def test_an_overriding_session_is_noted(way: Way) -> None:
    app, got, notes = FastAPI(), list[Any](), Notes()
    way(app, got)
    remember_sessions(app.routes, get_session, notes.take)
    test_session = FakeSession("a test's")
    inner = [route.app for route in app.routes if isinstance(route, Mount)]
    for each in (app, *inner):
        for deeper in (
            each,
            *(route.app for route in getattr(each, "routes", ()) if isinstance(route, Mount)),
        ):
            if isinstance(deeper, FastAPI):
                deeper.dependency_overrides[get_session] = lambda: test_session
    assert TestClient(app).get(PATHS.get(way, "/")).status_code == 200
    assert got == notes.sessions == [test_session]


@every_way
def test_noting_twice_changes_nothing(way: Way) -> None:
    app, got, notes = FastAPI(), list[Any](), Notes()
    way(app, got)
    remember_sessions(app.routes, get_session, notes.take)
    assert remember_sessions(app.routes, get_session, notes.take) == 1
    TestClient(app).get(PATHS.get(way, "/"))
    assert len(notes.sessions) == 1


def test_what_is_declared_after_the_session_finds_it_noted() -> None:
    app, notes, seen = FastAPI(), Notes(), list[list[Any]]()

    def look() -> None:
        seen.append(list(notes.sessions))

    def service(session: InSession, _: Annotated[None, Depends(look)]) -> FakeSession:
        return session

    @app.get("/")
    def endpoint(session: Annotated[FakeSession, Depends(service)]) -> None:
        assert seen == [[session]]

    remember_sessions(app.routes, get_session, notes.take)
    assert TestClient(app).get("/").status_code == 200


def test_websockets_have_sessions_too() -> None:
    app, notes = FastAPI(), Notes()
    router = APIRouter()

    @router.websocket("/ws")
    async def endpoint(socket: WebSocket, session: InSession) -> None:
        await socket.accept()
        await socket.send_text(str(notes.sessions == [session]))
        await socket.close()

    app.include_router(router)
    assert remember_sessions(app.routes, get_session, notes.take) == 1
    with TestClient(app).websocket_connect("/ws") as socket:
        assert socket.receive_text() == "True"


def test_only_routes_that_use_it_are_touched() -> None:
    app, notes = FastAPI(), Notes()

    @app.get("/without")
    async def without() -> None: ...

    @app.get("/unused")
    async def unused(session: InSession) -> None: ...

    @app.get("/used")
    async def used(session: InSession, x_kind: Annotated[str, Header()] = "") -> None: ...

    def uses(dependant: Dependant) -> bool:
        return bool(dependant.header_params)

    assert remember_sessions(app.routes, get_session, notes.take, uses) == 1
    client = TestClient(app)
    for path in ("/without", "/unused", "/used"):
        client.get(path)
    assert notes.paths == ["/used"]


def test_the_documentation_of_a_route_stays_as_it_was() -> None:
    def tenant_session(x_tenant: Annotated[str, Header()]) -> str:
        return x_tenant

    def make() -> FastAPI:
        app = FastAPI()

        @app.get("/")
        async def endpoint(session: Annotated[str, Depends(tenant_session)]) -> str:
            return session

        return app

    notes, app = Notes(), make()
    remember_sessions(app.routes, tenant_session, notes.take)
    assert app.openapi() == make().openapi()
    client = TestClient(app)
    assert client.get("/", headers={"X-Tenant": "acme"}).json() == "acme"
    assert notes.sessions == ["acme"]
    errors = client.get("/").json()["detail"]
    plain_errors = TestClient(make()).get("/").json()["detail"]
    assert {str(each) for each in errors} == {str(each) for each in plain_errors}


def test_a_session_that_depends_on_the_scopes_asked_for_is_the_same_one() -> None:
    made: list[FakeSession] = []

    def scoped_session(scopes: SecurityScopes) -> FakeSession:
        made.append(FakeSession(scopes.scope_str))
        return made[-1]

    def service(session: Annotated[FakeSession, Depends(scoped_session)]) -> FakeSession:
        return session

    app, notes = FastAPI(), Notes()

    @app.get("/")
    def endpoint(session: Annotated[FakeSession, Security(service, scopes=["orders"])]) -> str:
        return session.name

    remember_sessions(app.routes, scoped_session, notes.take)
    assert TestClient(app).get("/").json() == "orders"
    assert notes.sessions == made
    assert len(made) == 1


# ---------------------------------------------------------------------- commits that come too late


async def commits_behind() -> AsyncIterator[FakeSession]:
    async with FakeSession() as session:
        yield session
        session.commit()


async def commits_behind_in_try() -> AsyncIterator[FakeSession]:
    session = FakeSession()
    try:
        yield session
        session.commit()
    except Exception:
        await session.rollback()
        raise


def commits_in_else() -> Iterator[FakeSession]:
    session = FakeSession()
    try:
        yield session
    except Exception:
        raise
    else:
        session.commit()


def commits_finally() -> Iterator[FakeSession]:
    session = FakeSession()
    try:
        yield session
    finally:
        session.commit()


def begins_around() -> Iterator[FakeSession]:
    with FakeSession() as session, session.begin():
        yield session


async def begins_around_nested() -> AsyncIterator[FakeSession]:
    async with FakeSession() as session:
        with session.begin():
            yield session


async def begins_in_a_stack() -> AsyncIterator[FakeSession]:
    async with AsyncExitStack() as stack:
        session = stack.enter_context(FakeSession().begin())
        yield session


@asynccontextmanager
async def session_scope() -> AsyncIterator[FakeSession]:
    async with FakeSession() as session:
        yield session
        session.commit()


async def in_its_own_context_manager() -> AsyncIterator[FakeSession]:
    async with session_scope() as session:
        yield session


async def handed_on_by_a_loop() -> AsyncIterator[FakeSession]:
    async for session in commits_behind():
        yield session


def handed_on() -> Iterator[FakeSession]:
    yield from commits_in_else()


class Manager:
    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[FakeSession]:
        async with FakeSession() as session:
            yield session
            session.commit()

    @contextlib.asynccontextmanager
    async def careful_session(self) -> AsyncIterator[FakeSession]:
        session = FakeSession()
        try:
            yield session
        except Exception:
            await session.rollback()
            raise


manager = Manager()


async def of_a_manager() -> AsyncIterator[FakeSession]:
    async with manager.session() as session:
        yield session


class Provider:
    async def __call__(self) -> AsyncIterator[FakeSession]:
        async with FakeSession() as session:
            yield session
            session.commit()


LATE: list[Callable[..., Any]] = [
    commits_behind,
    commits_behind_in_try,
    commits_in_else,
    commits_finally,
    begins_around,
    begins_around_nested,
    begins_in_a_stack,
    in_its_own_context_manager,
    handed_on_by_a_loop,
    handed_on,
    of_a_manager,
    Provider(),
]


def of_the_tutorial() -> Iterator[FakeSession]:
    with FakeSession() as session:
        yield session


def commits_before() -> Iterator[FakeSession]:
    with FakeSession() as session:
        session.commit()
        yield session


def commits_only_errors() -> Iterator[FakeSession]:
    session = FakeSession()
    try:
        yield session
    except ValueError:
        session.commit()
        raise


def hands_out_a_committer() -> Iterator[tuple[FakeSession, Callable[[], None]]]:
    session = FakeSession()

    def finish() -> None:
        session.commit()

    yield session, finish
    later = lambda: session.commit()  # noqa: E731, F841


async def of_a_careful_manager() -> AsyncIterator[FakeSession]:
    async with manager.careful_session() as session:
        yield session


async def begins_before() -> AsyncIterator[FakeSession]:
    async with FakeSession() as session:
        session.begin()
        yield session


def returns_it() -> FakeSession:
    session = FakeSession()
    session.commit()
    return session


def hidden() -> Any:
    source = "def made():\n    session = FakeSession()\n    yield session\n    session.commit()"
    exec(source, globals())
    return globals()["made"]


FINE: list[Callable[..., Any]] = [
    of_the_tutorial,
    commits_before,
    commits_only_errors,
    hands_out_a_committer,
    of_a_careful_manager,
    begins_before,
    returns_it,
    hidden(),
]


def app_with(dependency: Callable[..., Any], **options: Any) -> FastAPI:
    app = FastAPI()

    @app.post("/orders")
    async def place_order(session: Annotated[Any, Depends(dependency, **options)]) -> None: ...

    return app


@pytest.mark.parametrize("dependency", LATE, ids=lambda each: getattr(each, "__name__", "object"))
def test_a_commit_behind_the_yield_of_a_request_scoped_dependency_is_found(
    dependency: Callable[..., Any],
) -> None:
    [complaint] = late_commits(app_with(dependency).routes, dependency)
    name = getattr(dependency, "__name__", "Provider")
    assert complaint.startswith("POST /orders (tests.jobs.test_session_scope.")
    assert name in complaint
    assert "test_session_scope.py:" in complaint
    assert 'scope="function")' in complaint


@pytest.mark.parametrize("dependency", LATE, ids=lambda each: getattr(each, "__name__", "object"))
def test_the_same_in_function_scope_is_fine(dependency: Callable[..., Any]) -> None:
    assert late_commits(app_with(dependency, scope="function").routes, dependency) == []


@pytest.mark.parametrize("dependency", FINE, ids=lambda each: each.__name__)
def test_what_commits_elsewhere_or_cannot_be_seen_is_fine(dependency: Callable[..., Any]) -> None:
    assert late_commits(app_with(dependency).routes, dependency) == []


def test_the_complaint_names_the_line() -> None:
    [complaint] = late_commits(app_with(commits_behind).routes, commits_behind)
    line = commits_behind.__code__.co_firstlineno + 3
    assert f"`session.commit()` comes after its yield, {__file__}:{line})" in complaint


def test_only_routes_that_use_it_are_complained_about() -> None:
    app = app_with(commits_behind)

    @app.get("/orders")
    async def read(session: Annotated[Any, Depends(commits_behind)], q: str = "") -> None: ...

    @app.websocket("/orders")
    async def listen(session: Annotated[Any, Depends(commits_behind)]) -> None: ...

    remember_sessions(app.routes, commits_behind, Notes().take)
    assert len(late_commits(app.routes, commits_behind)) == 2
    [complaint] = late_commits(
        app.routes, commits_behind, lambda dependant: not dependant.query_params
    )
    assert complaint.startswith("POST /orders")


def test_a_nested_session_in_an_included_router_is_complained_about() -> None:
    app, router = FastAPI(), APIRouter()

    def service(session: Annotated[Any, Depends(commits_behind)]) -> None: ...

    @router.post("/orders")
    async def place_order(_: Annotated[None, Depends(service)]) -> None: ...

    app.include_router(router, prefix="/shop")
    [complaint] = late_commits(app.routes, commits_behind)
    assert complaint.startswith("POST /shop/orders")
