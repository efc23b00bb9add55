"""Durable jobs over HTTP."""

import asyncio
import json
import signal
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from starlette.types import Message

from backstay.app import Backstay
from backstay.context import Context
from backstay.jobs.router import anybody, jobs_router
from backstay.ledger import JobRow, Ledger, State
from backstay.tasks import add_tasks, task
from backstay.testing import FakeClock, running
from backstay.web import install
from tests.cli.shelf import Shelf, a_job, job_id
from tests.support import async_test
from tests.web.by_hand import ByHand

FAILURE = {
    "type": "CardDeclined",
    "message": "insufficient funds",
    "attempt": 1,
    "at": "2027-01-01T11:00:00+00:00",
    "traceback": "File pay.py, line 3",
}


class ShelfPart:
    """The part behind ``durable``, with a shelf for a ledger."""

    attribute = "durable"

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def bind(self, ctx: Context) -> object:
        return self

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def awake(self) -> Ledger:
        return self.shelf.ledger


class Site:
    """An app with the router, and what stands behind it."""

    def __init__(self, *rows: JobRow, guard: Any = anybody, **options: Any) -> None:
        self.shelf = Shelf(*rows)
        self.clock = FakeClock()
        self.app = FastAPI()
        self.backstay: Backstay = install(self.app, clock=self.clock, env_file=None)
        self.backstay.add(ShelfPart(self.shelf))
        self.app.include_router(jobs_router(guard=guard, **options))

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.ask("GET", path, **more)


class Stream(ByHand):
    """A client of an event stream."""

    def __init__(self, site: Site, job: UUID, **options: Any) -> None:
        super().__init__(site.app, f"/jobs/{job}/events", **options)
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self.run()
        finally:
            self._chunks.put_nowait(None)

    async def _send(self, message: Message) -> None:
        await super()._send(message)
        if message.get("body"):
            self._chunks.put_nowait(message["body"])

    async def chunk(self) -> str | None:
        """What came next, ``None`` for the end."""
        found = await self._chunks.get()
        return None if found is None else found.decode()

    async def event(self) -> tuple[str, dict[str, Any]]:
        """The next event, its name and its data; retry and comments are passed over."""
        while True:
            chunk = await self.chunk()
            assert chunk is not None, "the stream ended"
            assert chunk.endswith("\n\n")
            fields = dict(
                line.split(": ", 1) for line in chunk.splitlines() if line and line[0] != ":"
            )
            if "event" in fields:
                return fields["event"], json.loads(fields["data"])

    async def leave(self) -> None:
        """The client goes away."""
        self.give({"type": "http.disconnect"})
        await self.task


async def pass_time(site: Site, seconds: float = 3.0) -> None:
    """Let time pass in steps, so that what happens in one can have consequences in the next."""
    for _ in range(10):
        for _ in range(20):
            await asyncio.sleep(0)
        await site.clock.advance(seconds / 10)


# ------------------------------------------------------------------ the guard


async def require_operator(who: Annotated[str | None, Header()] = None) -> None:
    if who != "operator":
        raise HTTPException(403, "operators only")


@pytest.mark.parametrize("guard", [None, 3, "operator", [None]])
def test_a_guard_that_is_none_is_refused_with_the_remedy(guard: Any) -> None:
    with pytest.raises(TypeError, match="guard=anybody lets everybody in"):
        jobs_router(guard=guard)


def test_no_guards_at_all_are_refused() -> None:
    with pytest.raises(TypeError, match="guard=anybody if that is meant"):
        jobs_router(guard=[])


def test_a_guard_must_be_named() -> None:
    with pytest.raises(TypeError, match="guard"):
        jobs_router()  # type: ignore[call-arg]  # as under test


@async_test
async def test_the_guard_stands_before_every_route() -> None:
    row = a_job()
    site = Site(row, guard=require_operator)
    routes = [("GET", ""), ("GET", f"/{row.id}"), ("GET", f"/{row.id}/events")]
    routes += [("POST", f"/{row.id}/cancel"), ("POST", f"/{row.id}/requeue")]
    for method, path in routes:
        assert (await site.ask(method, f"/jobs{path}")).status_code == 403
    assert site.shelf.rows[row.id] == row
    assert (await site.get("/jobs", headers={"who": "operator"})).status_code == 200


@async_test
async def test_guards_may_be_depends_and_several() -> None:
    asked: list[str] = []

    def by_name(name: str) -> Callable[[], None]:
        return lambda: asked.append(name)

    site = Site(guard=[Depends(by_name("one")), by_name("two")])
    assert (await site.get("/jobs")).status_code == 200
    assert asked == ["one", "two"]


@async_test
async def test_a_guard_may_know_which_job_is_meant() -> None:
    mine, other = a_job(1), a_job(2)

    async def owner(job_id: UUID) -> None:
        if job_id != mine.id:
            raise HTTPException(404)

    site = Site(mine, other, guard=owner, listing=False)
    assert (await site.get(f"/jobs/{mine.id}")).status_code == 200
    assert (await site.get(f"/jobs/{other.id}")).status_code == 404
    assert (await site.get("/jobs")).status_code == 404


@async_test
async def test_steering_may_have_a_guard_of_its_own() -> None:
    row = a_job()
    site = Site(row, steering_guard=require_operator)
    assert (await site.get(f"/jobs/{row.id}")).status_code == 200
    assert (await site.ask("POST", f"/jobs/{row.id}/cancel")).status_code == 403


@async_test
async def test_steering_can_be_left_out() -> None:
    row = a_job()
    site = Site(row, steering=False)
    assert (await site.ask("POST", f"/jobs/{row.id}/cancel")).status_code in {404, 405}


@pytest.mark.parametrize(
    "options",
    [{"poll_s": (0, 1)}, {"poll_s": (2, 1)}, {"max_listeners": 0}, {"keep_alive_s": 0}],
)
def test_numbers_must_make_sense(options: Any) -> None:
    with pytest.raises(ValueError, match="got"):
        jobs_router(guard=anybody, **options)


# ------------------------------------------------------------------ looking


@async_test
async def test_jobs_are_listed_in_pages() -> None:
    rows = [a_job(n) for n in range(1, 6)]
    site = Site(*rows)
    first = (await site.get("/jobs?limit=2")).json()
    assert [each["id"] for each in first["jobs"]] == [str(rows[4].id), str(rows[3].id)]
    second = (await site.get("/jobs", params={"limit": 2, "before": first["next"]})).json()
    assert [each["id"] for each in second["jobs"]] == [str(rows[2].id), str(rows[1].id)]
    third = (await site.get("/jobs", params={"limit": 2, "before": second["next"]})).json()
    assert [each["id"] for each in third["jobs"]] == [str(rows[0].id)]
    assert third["next"] is None


@async_test
async def test_jobs_are_filtered() -> None:
    site = Site(
        a_job(1, task="a"),
        a_job(2, task="a", queue="mail", state=State.RUNNING),
        a_job(3, task="b", state=State.DISCARDED),
    )

    async def count(query: str) -> int:
        return len((await site.get(f"/jobs?{query}")).json()["jobs"])

    assert await count("") == 3
    assert await count("task=a") == 2
    assert await count("task=a&queue=mail") == 1
    assert await count("state=running&state=discarded") == 2


@async_test
async def test_arguments_can_be_searched_by_those_who_see_them_alone() -> None:
    rows = [a_job(1, args='{"order": 17}'), a_job(2, args='{"order": 18}')]
    for show_args, found in ((False, 2), (True, 1)):
        site = Site(*rows, show_args=show_args)
        assert len((await site.get("/jobs?search=17")).json()["jobs"]) == found


@pytest.mark.parametrize("query", ["limit=0", "limit=1000", "state=lost", "before=x"])
def test_queries_without_sense_are_refused(query: str) -> None:
    @async_test
    async def check() -> None:
        assert (await Site().get(f"/jobs?{query}")).status_code == 422

    check()


@async_test
async def test_a_job_is_shown_without_what_may_be_private() -> None:
    row = a_job(
        state=State.DISCARDED, has_result=True, result={"sum": 3}, errors=(FAILURE, FAILURE)
    )
    shown = (await Site(row).get(f"/jobs/{row.id}")).json()
    assert (shown["id"], shown["state"], shown["finished"]) == (str(row.id), "discarded", True)
    assert (shown["args"], shown["result"], shown["has_result"]) == (None, None, True)
    assert shown["error"] == {**FAILURE, "at": "2027-01-01T11:00:00Z", "traceback": None}
    assert shown["errors"] is None


@async_test
async def test_a_job_is_shown_with_what_was_allowed() -> None:
    row = a_job(
        args='{"order": 17, "password": "hush"}',
        has_result=True,
        result={"token": "hush", "sum": 3},
        errors=(FAILURE,),
    )
    site = Site(row, show_args=True, show_results=True, show_tracebacks=True)
    shown = (await site.get(f"/jobs/{row.id}")).json()
    assert shown["args"] == {"order": 17, "password": "***"}
    assert shown["result"] == {"token": "***", "sum": 3}
    assert shown["errors"][0]["traceback"] == "File pay.py, line 3"


@async_test
async def test_a_job_that_is_not_there_is_a_problem() -> None:
    missing = job_id(9)
    site = Site()
    routes = [("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/requeue")]
    for method, path in routes:
        answer = await site.ask(method, f"/jobs/{missing}{path}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == "There is no such job."


@async_test
async def test_a_ledger_that_is_away_is_a_503() -> None:
    site = Site(a_job())
    site.shelf.break_down("host=10.0.0.7 is down")
    answer = await site.get("/jobs")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "10.0.0.7" not in answer.text


@async_test
async def test_an_app_mounted_in_another_has_its_jobs() -> None:
    row = a_job()
    site = Site(row)
    inner = FastAPI()
    inner.include_router(jobs_router(guard=anybody))
    site.app.mount("/inner", inner)
    assert (await site.get(f"/inner/jobs/{row.id}")).json()["id"] == str(row.id)
    assert (await site.get(f"/inner/jobs/{job_id(9)}")).status_code == 404


# ------------------------------------------------------------------ steering


@async_test
async def test_a_waiting_job_is_cancelled() -> None:
    row = a_job()
    site = Site(row)
    answer = await site.ask("POST", f"/jobs/{row.id}/cancel", json={"reason": "ordered twice"})
    assert answer.status_code == 200
    assert answer.json()["state"] == "cancelled"
    assert answer.json()["error"]["message"] == "ordered twice"


@async_test
async def test_a_running_job_is_asked_to_stop() -> None:
    row = a_job(state=State.RUNNING)
    answer = await Site(row).ask("POST", f"/jobs/{row.id}/cancel")
    assert answer.status_code == 202
    assert answer.json()["cancel_requested"] is True


@async_test
async def test_a_finished_job_is_not_cancelled() -> None:
    row = a_job(state=State.SUCCEEDED)
    answer = await Site(row).ask("POST", f"/jobs/{row.id}/cancel")
    assert answer.status_code == 409
    assert answer.json()["detail"] == "The job is succeeded already."
    assert answer.headers["content-type"] == "application/problem+json"


@async_test
async def test_what_a_problem_is_about_is_the_path_that_the_client_asked_for() -> None:
    row = a_job(state=State.SUCCEEDED)
    for action in ("cancel", "requeue"):
        site, path = Site(row), f"/jobs/{row.id}/{action}"
        site.app.root_path = "/api"  # which a proxy takes off
        answer = await site.ask("POST", path, headers={"Host": "elsewhere/hidden?"})
        assert (answer.status_code, answer.json()["instance"]) == (409, f"/api{path}")


@async_test
async def test_a_discarded_job_is_requeued() -> None:
    row = a_job(state=State.DISCARDED)
    answer = await Site(row).ask("POST", f"/jobs/{row.id}/requeue")
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["attempt"]) == ("available", 0)


@async_test
async def test_what_cannot_be_requeued_says_why() -> None:
    running = a_job(1, state=State.RUNNING)
    taken = a_job(2, state=State.DISCARDED, unique_key="taken")
    site = Site(running, taken)
    answer = await site.ask("POST", f"/jobs/{running.id}/requeue")
    assert (answer.status_code, "is running" in answer.json()["detail"]) == (409, True)
    answer = await site.ask("POST", f"/jobs/{taken.id}/requeue")
    assert (answer.status_code, "unique key" in answer.json()["detail"]) == (409, True)


# ------------------------------------------------------------------ watching


@async_test
async def test_a_stream_begins_with_what_is_and_ends_with_the_job() -> None:
    row = a_job(state=State.RUNNING)
    site = Site(row)
    stream = Stream(site, row.id)
    assert await stream.chunk() == "retry: 2000\n\n"
    name, data = await stream.event()
    assert (name, data["state"], data["args"]) == ("update", "running", None)
    assert stream.start["status"] == 200
    assert stream.header("content-type") == ["text/event-stream; charset=utf-8"]
    assert stream.header("cache-control") == ["no-store"]

    row = site.shelf.put(row, progress={"done": 1, "total": 4, "message": "größe\nzwei"})
    await pass_time(site)
    name, data = await stream.event()
    assert (name, data["progress"]["fraction"]) == ("update", 0.25)
    assert data["progress"]["message"] == "größe\nzwei"

    site.shelf.put(row, state=State.SUCCEEDED)
    await pass_time(site)
    name, data = await stream.event()
    assert (name, data["state"]) == ("finished", "succeeded")
    assert await stream.chunk() is None
    await stream.task


@async_test
async def test_a_finished_job_is_one_event() -> None:
    row = a_job(state=State.DISCARDED)
    stream = Stream(Site(row), row.id)
    assert (await stream.event())[0] == "finished"
    assert await stream.chunk() is None
    await stream.task


@async_test
async def test_a_browser_that_connects_again_after_the_end_is_told_to_stop() -> None:
    row = a_job(state=State.SUCCEEDED)
    site = Site(row)
    first = await site.get(f"/jobs/{row.id}/events")
    (event_id,) = [line[4:] for line in first.text.splitlines() if line.startswith("id: ")]
    again = await site.get(f"/jobs/{row.id}/events", headers={"Last-Event-ID": event_id})
    assert (again.status_code, again.content) == (204, b"")
    other = await site.get(f"/jobs/{row.id}/events", headers=[(b"Last-Event-ID", b"nonsense\xe9")])
    assert other.status_code == 200


@async_test
async def test_what_the_client_has_seen_is_not_sent_again() -> None:
    row = a_job(state=State.RUNNING)
    site = Site(row)
    first = Stream(site, row.id)
    await first.chunk()
    (event_id,) = [
        line[4:] for line in str(await first.chunk()).splitlines() if line.startswith("id: ")
    ]
    await first.leave()
    again = Stream(site, row.id, headers={"Last-Event-ID": event_id})
    await again.chunk()
    site.shelf.put(row, state=State.SUCCEEDED)
    await pass_time(site)
    assert (await again.event())[0] == "finished"
    await again.task


@async_test
async def test_changes_that_are_not_shown_are_no_events() -> None:
    row = a_job(state=State.RUNNING)
    site = Site(row)
    stream = Stream(site, row.id)
    await stream.event()
    row = site.shelf.put(row, args='{"changed": true}')
    await pass_time(site)
    site.shelf.put(row, state=State.SUCCEEDED)
    await pass_time(site)
    assert (await stream.event())[0] == "finished"
    await stream.task


@async_test
async def test_a_silent_stream_says_that_it_is_there() -> None:
    row = a_job(state=State.RUNNING)
    site = Site(row)
    stream = Stream(site, row.id)
    await stream.event()
    await pass_time(site, 15)
    assert await stream.chunk() == ": still here\n\n"
    await stream.leave()


@async_test
async def test_a_job_whose_history_is_deleted_is_gone() -> None:
    row = a_job(state=State.RUNNING)
    site = Site(row)
    stream = Stream(site, row.id)
    await stream.event()
    site.shelf.rows.clear()
    await pass_time(site)
    assert await stream.event() == ("gone", {})
    assert await stream.chunk() is None
    await stream.task


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
def test_a_client_that_leaves_ends_the_stream_and_the_questions(spec_version: str) -> None:
    @async_test
    async def check() -> None:
        row = a_job(state=State.RUNNING)
        site = Site(row)
        stream = Stream(site, row.id, spec_version=spec_version)
        await stream.event()
        await pass_time(site)
        await stream.leave()
        asked = len(site.shelf.asked)
        await pass_time(site, 60)
        assert len(site.shelf.asked) == asked

    check()


@async_test
async def test_a_thousand_listeners_ask_once() -> None:
    rows = [a_job(n, state=State.RUNNING) for n in range(1, 11)]
    site = Site(*rows)
    streams = [Stream(site, rows[n % 10].id) for n in range(1_000)]
    for each in streams:
        await each.event()
    site.shelf.asked.clear()
    for row in rows:
        site.shelf.put(row, state=State.SUCCEEDED)
    await pass_time(site, 1.0)
    for each in streams:
        assert (await each.event())[0] == "finished"
        await each.task
    assert len(site.shelf.asked) <= 10
    assert max(len(ids) for ids in site.shelf.asked) == 10


@async_test
async def test_streams_are_bounded() -> None:
    row = a_job(state=State.RUNNING)
    site = Site(row, max_listeners=2)
    streams = [Stream(site, row.id) for _ in range(2)]
    for each in streams:
        await each.event()
    refused = await site.get(f"/jobs/{row.id}/events")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    await streams[0].leave()
    third = Stream(site, row.id)
    assert (await third.event())[0] == "update"
    await third.leave()
    await streams[1].leave()


@async_test
async def test_questions_become_rare_while_nothing_happens() -> None:
    row = a_job(state=State.RUNNING)
    site = Site(row)
    stream = Stream(site, row.id)
    await stream.event()
    site.shelf.asked.clear()
    await pass_time(site, 10)
    for _ in range(5):
        await pass_time(site, 10)
    assert 20 <= len(site.shelf.asked) <= 40, "two seconds apart, after a few quicker ones"
    await stream.leave()


@async_test
async def test_who_joins_during_a_long_pause_need_not_wait_for_its_end() -> None:
    rows = [a_job(n, state=State.RUNNING) for n in (1, 2)]
    site = Site(*rows, poll_s=(0.2, 1000.0), keep_alive_s=10_000.0)
    first = Stream(site, rows[0].id)
    await first.event()
    for _ in range(5):
        await pass_time(site, 1000)
    second = Stream(site, rows[1].id)
    await second.event()
    site.shelf.put(rows[1], state=State.SUCCEEDED)
    await pass_time(site, 2)
    assert (await second.event())[0] == "finished"
    await first.leave()


@async_test
async def test_streams_outlive_a_ledger_that_is_away() -> None:
    row = a_job(state=State.RUNNING)
    site = Site(row)
    stream = Stream(site, row.id)
    await stream.event()
    site.shelf.break_down()
    await pass_time(site)
    site.shelf.broken = None
    site.shelf.put(row, state=State.SUCCEEDED)
    await pass_time(site)
    assert (await stream.event())[0] == "finished"
    await stream.task


@async_test
async def test_a_bug_ends_the_streams_and_the_next_one_begins_afresh() -> None:
    row = a_job(state=State.RUNNING)
    site = Site(row)
    stream = Stream(site, row.id)
    await stream.event()
    site.shelf.broken = ZeroDivisionError("a bug")
    await pass_time(site)
    with pytest.raises(ZeroDivisionError):
        await stream.task
    site.shelf.broken = None
    again = Stream(site, row.id)
    await again.event()
    site.shelf.put(row, state=State.SUCCEEDED)
    await pass_time(site)
    assert (await again.event())[0] == "finished"
    await again.task


@async_test
async def test_a_server_that_is_asked_to_stop_is_not_held_up_by_streams() -> None:
    heard: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        row = a_job(state=State.RUNNING)
        site = Site(row)
        stream = Stream(site, row.id)
        await stream.event()
        signal.raise_signal(signal.SIGTERM)
        assert await stream.chunk() is None
        await stream.task
        assert heard == [signal.SIGTERM], "and the server hears it too"
        signal.raise_signal(signal.SIGTERM)
        assert len(heard) == 2
    finally:
        signal.signal(signal.SIGTERM, previous)


# ------------------------------------------------------------------ OpenAPI


def test_openapi_describes_every_answer() -> None:
    schema = Site(show_args=True).app.openapi()
    paths = schema["paths"]
    assert set(paths) == {
        "/jobs",
        "/jobs/{job_id}",
        "/jobs/{job_id}/events",
        "/jobs/{job_id}/cancel",
        "/jobs/{job_id}/requeue",
    }
    page = paths["/jobs"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert page == {"$ref": "#/components/schemas/JobPage"}
    events = paths["/jobs/{job_id}/events"]["get"]["responses"]
    assert set(events["200"]["content"]) == {"text/event-stream"}
    assert set(events) == {"200", "204", "404", "422", "503"}
    cancel = paths["/jobs/{job_id}/cancel"]["post"]["responses"]
    assert set(cancel) == {"200", "202", "404", "409", "422"}
    assert set(cancel["404"]["content"]) == {"application/problem+json"}
    view = {"$ref": "#/components/schemas/JobView"}
    assert cancel["202"]["content"]["application/json"]["schema"] == view
    named = {each["name"] for each in paths["/jobs"]["get"]["parameters"]}
    assert named == {"state", "task", "queue", "search", "before", "limit"}


def test_openapi_hides_a_search_that_does_nothing() -> None:
    parameters = Site().app.openapi()["paths"]["/jobs"]["get"]["parameters"]
    assert "search" not in {each["name"] for each in parameters}


def test_the_prefix_is_the_users_choice() -> None:
    assert "/work/{job_id}" in Site(prefix="/work").app.openapi()["paths"]


# ------------------------------------------------------------------ as users have it


@task(name="test_router.add")
async def add(one: int, two: int) -> int:
    return one + two


@async_test
async def test_the_router_shows_the_jobs_of_an_app() -> None:
    app = FastAPI()
    add_tasks(app, database="memory://")
    app.include_router(jobs_router(guard=anybody, show_args=True, show_results=True))
    async with running(app) as client:
        handle = await client.durable.enqueue(add, 1, 2)
        await handle.wait(10)
        shown = (await client.get(f"/jobs/{handle.id}")).json()
        assert (shown["state"], shown["args"], shown["result"]) == (
            "succeeded",
            {"one": 1, "two": 2},
            3,
        )
        events = (await client.get(f"/jobs/{handle.id}/events")).text
        assert "event: finished\n" in events
        listed = (await client.get("/jobs?task=test_router.add")).json()["jobs"]
        assert [each["id"] for each in listed] == [str(handle.id)]
