import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import (
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Form,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    Security,
    WebSocket,
)
from fastapi.security import HTTPBearer, OAuth2PasswordBearer, SecurityScopes
from pydantic import BaseModel

from backstay.app import Backstay
from backstay.context import Context, Origin
from backstay.errors import BadJob
from backstay.jobs.arguments import Arguments
from backstay.jobs.injection import Injection, JobExchange
from backstay.tasks import Tasks, add_tasks
from backstay.testing import running
from backstay.web import Ctx, installed
from tests.jobs import late_dependencies
from tests.support import async_test


class FakeJob:
    """A running job, as far as dependencies see one."""

    def __init__(self, app: Backstay | None = None) -> None:
        self.app = app or Backstay()
        self.context = self.app.open(Origin.JOB, self)
        self.held: list[Callable[[], Awaitable[None]]] = []

    def hold_answer(self, until: Callable[[], Awaitable[None]]) -> None:
        self.held.append(until)


async def run(func: Callable[..., Any], app: FastAPI | None = None, **options: Any) -> Any:
    """Call an async function with what is injected, as a worker does."""
    injection = Injection(func)
    async with injection.solve(app or FastAPI(), FakeJob(), **options) as values:
        assert values.keys() == injection.names
        return await func(**values)


async def get_number() -> int:
    return 7


Number = Annotated[int, Depends(get_number)]


class TestWhatIsInjected:
    def test_dependencies_and_contexts_are_and_the_rest_is_not(self) -> None:
        def work(
            a: int,
            ctx: Context,
            number: Number,
            other: Ctx,
            maybe: Context | None = None,
            old_style: int = Depends(get_number),
            *,
            tasks: Tasks,
            b: Annotated[str, "a note"] = "",
        ) -> None: ...

        injection = Injection(work)
        assert injection.context_names == {"ctx", "other", "maybe"}
        assert injection.names == {"ctx", "other", "maybe", "number", "old_style", "tasks"}

    def test_nothing_is_for_a_plain_function(self) -> None:
        def work(a: int, b: str = "") -> None: ...

        assert Injection(work).names == frozenset()

    def test_annotations_may_be_strings_that_name_what_comes_later(self) -> None:
        assert late_dependencies.EARLY.names == {"ctx", "mailer", "printer"}
        assert late_dependencies.EARLY.context_names == {"ctx"}

    def test_an_alias_that_comes_later_is_refused_when_that_can_be_seen(self) -> None:
        arguments = Arguments(late_dependencies.send_later, name="send_later")
        with pytest.raises(BadJob, match=r"'Post'.*'post'.*define it above"):
            arguments.prepare()

    @pytest.mark.parametrize(
        "annotation",
        [Request, Response, BackgroundTasks, WebSocket, SecurityScopes, Request | None],
        ids=str,
    )
    def test_a_request_is_refused(self, annotation: Any) -> None:
        def work(thing): ...  # type: ignore[no-untyped-def]

        work.__annotations__["thing"] = annotation
        with pytest.raises(BadJob, match=r"'thing' is a \w+, and a job has no request"):
            Injection(work)

    @pytest.mark.parametrize(
        "marker", [Query(), Header(), Body(), Cookie(), Form(), Path()], ids=repr
    )
    def test_a_part_of_a_request_is_refused(self, marker: Any) -> None:
        def work(thing: Annotated[str, marker]) -> None: ...

        def old_style(thing: str = marker) -> None: ...

        for func in (work, old_style):
            with pytest.raises(BadJob, match="'thing' is to come from a request"):
                Injection(func)


class TestSolving:
    @async_test
    async def test_dependencies_of_every_kind_are_resolved_nested_and_once(self) -> None:
        made: list[str] = []

        def get_sync(number: Number) -> tuple[int, int]:
            made.append("sync")
            return number, threading.get_ident()

        async def get_async(pair: Annotated[tuple[int, int], Depends(get_sync)]) -> int:
            made.append("async")
            return pair[0] + 1

        class Counter:
            def __init__(self, number: Number) -> None:
                self.number = number

        async def work(
            pair: Annotated[tuple[int, int], Depends(get_sync)],
            more: Annotated[int, Depends(get_async)],
            counter: Annotated[Counter, Depends()],
            again: int = Depends(get_async, use_cache=False),
        ) -> Any:
            return pair, more, counter.number, again

        (number, thread), more, counted, again = await run(work)
        assert (number, more, counted, again) == (7, 8, 7, 8)
        assert thread != threading.get_ident()
        assert made == ["sync", "async", "async"]

    @async_test
    async def test_overrides_of_the_app_count(self) -> None:
        app = FastAPI()
        app.dependency_overrides[get_number] = lambda: 99

        async def work(number: Number) -> int:
            return number

        assert await run(work, app) == 99
        app.dependency_overrides.clear()
        assert await run(work, app) == 7

    @async_test
    async def test_each_job_gets_its_own(self) -> None:
        def make() -> object:
            return object()

        async def work(thing: Annotated[object, Depends(make)]) -> object:
            return thing

        assert await run(work) is not await run(work)

    @async_test
    async def test_the_context_is_the_jobs_own_wherever_it_is_asked_for(self) -> None:
        async def get_both(ctx: Ctx) -> Context:
            return ctx

        async def work(
            direct: Context, param: Ctx, nested: Annotated[Context, Depends(get_both)]
        ) -> list[Context]:
            return [direct, param, nested]

        job = FakeJob()
        async with Injection(work).solve(FastAPI(), job) as values:
            assert await work(**values) == [job.context] * 3

    @async_test
    async def test_a_context_alone_needs_no_app(self) -> None:
        async def work(ctx: Context) -> Context:
            return ctx

        job = FakeJob()
        async with Injection(work).solve(None, job) as values:
            assert values == {"ctx": job.context}

    @async_test
    async def test_dependencies_work_without_an_app_as_well(self) -> None:
        async def work(number: Number) -> None: ...

        async with Injection(work).solve(None, FakeJob()) as values:
            assert values == {"number": 7}

    @async_test
    async def test_tasks_schedule_for_the_job(self) -> None:
        app = FastAPI()
        add_tasks(app)
        ran: list[Origin] = []
        done = asyncio.Event()

        async def note(origin: Origin) -> None:
            ran.append(origin)
            done.set()

        async def get_scheduling(tasks: Tasks, ctx: Ctx) -> None:
            tasks.schedule(note, ctx.origin)

        async def work(tasks: Tasks, nothing: Annotated[None, Depends(get_scheduling)]) -> None:
            assert tasks is not None

        async with running(app):
            backstay = installed(app)
            assert backstay is not None
            async with Injection(work).solve(app, FakeJob(backstay)) as values:
                await work(**values)
            await done.wait()
        assert ran == [Origin.JOB]

    @async_test
    async def test_the_synthetic_request_has_app_and_state_and_nothing_else(self) -> None:
        seen: dict[str, Any] = {}

        async def look(request: Request, response: Response) -> None:
            seen.update(
                app=request.app,
                pool=request.state.pool,
                method=request.method,
                path=request.url.path,
                headers=dict(request.headers),
                query=dict(request.query_params),
                cookies=request.cookies,
                client=request.client,
                body=await request.body(),
                gone=await request.is_disconnected(),
            )
            response.headers["x"] = "y"

        async def work(nothing: Annotated[None, Depends(look)]) -> None: ...

        app = FastAPI()
        await run(work, app, state={"pool": "a pool"})
        assert seen == {
            "app": app, "pool": "a pool", "method": "POST", "path": "/", "headers": {},
            "query": {}, "cookies": {}, "client": None, "body": b"", "gone": False,
        }  # fmt: skip

    @async_test
    async def test_defaults_stand_in_for_what_a_request_would_have_said(self) -> None:
        class Filter(BaseModel):
            page: int = 1

        def find(
            page: int = 3,
            agent: Annotated[str, Header()] = "none",
            session: Annotated[str | None, Cookie()] = None,
            limit: Annotated[int | None, Body()] = None,
            filter: Annotated[Filter, Query()] = Filter(),
        ) -> Any:
            return page, agent, session, limit, filter.page

        async def work(found: Annotated[Any, Depends(find)]) -> Any:
            return found

        assert await run(work) == (3, "none", None, None, 1)

    @async_test
    async def test_background_tasks_of_dependencies_run_after_the_job(self) -> None:
        told: list[str] = []

        def get(background: BackgroundTasks) -> None:
            background.add_task(told.append, "in the background")

        async def work(nothing: Annotated[None, Depends(get)]) -> None:
            told.append("job")

        async def fail(nothing: Annotated[None, Depends(get)]) -> None:
            raise ValueError

        await run(work)
        with pytest.raises(ValueError):
            await run(fail)
        assert told == ["job", "in the background"]

    @async_test
    async def test_many_jobs_of_one_function_may_be_solved_at_once(self) -> None:
        both, waiting = asyncio.Event(), []

        async def get() -> object:
            waiting.append(1)
            if len(waiting) == 2:
                both.set()
            await both.wait()
            return object()

        async def work(thing: Annotated[object, Depends(get)]) -> object:
            return thing

        injection = Injection(work)

        async def one() -> object:
            async with injection.solve(FastAPI(), FakeJob()) as values:
                return values["thing"]

        first, second = await asyncio.gather(one(), one())
        assert first is not second

    def test_the_exchange_of_a_job_hands_on_what_is_held(self) -> None:
        job = FakeJob()

        async def until() -> None: ...

        JobExchange(job).hold_answer(until)
        assert job.held == [until]


class TestTearingDown:
    @async_test
    async def test_function_scoped_ones_exit_before_request_scoped_ones_after_the_job(self) -> None:
        told: list[str] = []

        async def for_request() -> AsyncIterator[str]:
            yield "r"
            told.append("request")

        def for_function() -> Iterator[str]:
            yield "f"
            told.append("function")

        async def work(
            r: Annotated[str, Depends(for_request)],
            f: Annotated[str, Depends(for_function, scope="function")],
        ) -> None:
            told.append("job " + r + f)

        await run(work)
        assert told == ["job rf", "function", "request"]

    @async_test
    async def test_the_jobs_exception_is_thrown_into_them(self) -> None:
        told: list[str] = []

        async def session() -> AsyncIterator[str]:
            try:
                yield "session"
                told.append("commit")
            except ValueError as error:
                told.append(f"rollback: {error}")
                raise
            finally:
                told.append("close")

        def lock() -> Iterator[None]:
            with contextlib.suppress(KeyError):
                try:
                    yield
                finally:
                    told.append("unlock")

        async def work(
            s: Annotated[str, Depends(session)],
            lock: Annotated[None, Depends(lock, scope="function")],
        ) -> None:
            raise ValueError("no stock")

        with pytest.raises(ValueError, match="no stock"):
            await run(work)
        assert told == ["unlock", "rollback: no stock", "close"]

    @pytest.mark.parametrize("scope", ["function", "request"])
    def test_one_that_keeps_the_exception_to_itself_does_not_make_a_success(
        self, scope: Any
    ) -> None:
        async def swallow() -> AsyncIterator[None]:
            with contextlib.suppress(ValueError):
                yield

        async def work(nothing: Annotated[None, Depends(swallow, scope=scope)]) -> None:
            raise ValueError("no stock")

        with pytest.raises(ValueError, match="no stock"):
            asyncio.run(run(work))

    @async_test
    async def test_one_may_turn_the_exception_into_another(self) -> None:
        async def translate() -> AsyncIterator[None]:
            try:
                yield
            except ValueError as error:
                raise KeyError("translated") from error

        async def work(nothing: Annotated[None, Depends(translate)]) -> None:
            raise ValueError("no stock")

        with pytest.raises(KeyError, match="translated"):
            await run(work)

    @async_test
    async def test_an_exit_that_fails_fails_the_job(self) -> None:
        async def commit() -> AsyncIterator[None]:
            yield
            raise RuntimeError("commit failed")

        async def work(nothing: Annotated[None, Depends(commit)]) -> None: ...

        with pytest.raises(RuntimeError, match="commit failed"):
            await run(work)

    @async_test
    async def test_if_one_cannot_be_made_those_before_it_exit_with_the_error(self) -> None:
        told: list[str] = []

        async def first() -> AsyncIterator[None]:
            try:
                yield
            except HTTPException as error:
                told.append(str(error.status_code))
                raise

        async def second(nothing: Annotated[None, Depends(first)]) -> None:
            raise HTTPException(503)

        async def work(nothing: Annotated[None, Depends(second)]) -> None:
            told.append("job")

        with pytest.raises(HTTPException):
            await run(work)
        assert told == ["503"]

    @async_test
    async def test_a_cancelled_job_tears_down_too(self) -> None:
        started, told = asyncio.Event(), []

        async def session() -> AsyncIterator[None]:
            try:
                yield
            finally:
                await asyncio.sleep(0)
                told.append("closed")

        async def work(nothing: Annotated[None, Depends(session)]) -> None:
            started.set()
            await asyncio.Event().wait()

        job = asyncio.create_task(run(work))
        await started.wait()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert told == ["closed"]


def _work_with(dependency: Callable[..., Any]) -> Injection:
    def work(thing: Annotated[Any, Depends(dependency)]) -> None: ...

    return Injection(work)


class TestRefusedDependencies:
    @pytest.mark.parametrize(
        ("annotation", "kind"),
        [
            (int, "query"),
            (Annotated[str, Header()], "header"),
            (Annotated[str, Cookie()], "cookie"),
            (Annotated[str, Path()], "path"),
            (Annotated[int, Body()], "body"),
            (dict[str, Any], "body"),
        ],
        ids=str,
    )
    def test_one_that_needs_a_part_of_a_request_is_refused_early(
        self, annotation: Any, kind: str
    ) -> None:
        def inner(wanted): ...  # type: ignore[no-untyped-def]

        inner.__annotations__["wanted"] = annotation

        def outer(x: Annotated[Any, Depends(inner)]) -> None: ...

        with pytest.raises(BadJob, match=rf"'wanted' of .*inner\(\) .*job has no {kind}"):
            _work_with(outer).prepare()

    @pytest.mark.parametrize("scheme", [OAuth2PasswordBearer("token"), HTTPBearer()])
    def test_one_that_needs_credentials_is_refused_early(self, scheme: Any) -> None:
        def current_user(token: Annotated[Any, Security(scheme)]) -> None: ...

        with pytest.raises(BadJob, match=r"a job has none; pass the user's id"):
            _work_with(current_user).prepare()

    def test_one_that_can_do_without_credentials_is_not(self) -> None:
        scheme = HTTPBearer(auto_error=False)

        def current_user(token: Annotated[Any, Security(scheme)]) -> None: ...

        _work_with(current_user).prepare()

    def test_one_that_needs_a_websocket_is_refused_early(self) -> None:
        def inner(socket: WebSocket) -> None: ...

        with pytest.raises(BadJob, match="WebSocket"):
            _work_with(inner).prepare()

    @async_test
    async def test_an_override_that_needs_a_part_of_a_request_is_refused_when_it_is_used(
        self,
    ) -> None:
        def override(q: str) -> None: ...

        app = FastAPI()
        app.dependency_overrides[get_number] = override

        async def work(number: Number) -> None: ...

        with pytest.raises(BadJob, match=r"needs query\.q of a request"):
            await run(work, app)

    def test_nothing_is_looked_at_before_it_is_needed(self) -> None:
        _work_with(lambda q: q)

    def test_one_that_fastapi_cannot_resolve_is_refused_by_name(self) -> None:
        def short() -> None: ...

        def long(x: Annotated[None, Depends(short, scope="function")]) -> Iterator[None]:
            yield

        with pytest.raises(BadJob, match=r"work\(\): FastAPI cannot resolve"):
            _work_with(long).prepare()

    def test_one_whose_name_never_appears_is_refused(self) -> None:
        def work(thing: "Missing" = Depends(get_number)) -> None: ...  # noqa: F821

        with pytest.raises(BadJob, match="'Missing' of 'thing' cannot be resolved"):
            Injection(work).prepare()
