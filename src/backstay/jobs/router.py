"""Durable jobs over HTTP: list, look, watch, cancel, requeue; behind a guard of the user's."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Annotated, Any, Protocol, cast
from uuid import UUID
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Body, Depends, Header, Path, Query
from fastapi.params import Depends as DependsMarker
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from backstay.app import Backstay
from backstay.errors import UnknownJob
from backstay.jobs.feed import JobFeed
from backstay.jobs.view import JobPage, JobView
from backstay.ledger.port import Ledger
from backstay.ledger.rows import FINISHED, JobFilter, JobRow, State
from backstay.web.exchange import Exchange
from backstay.web.installation import installed
from backstay.web.problems import problem_response
from backstay.web.request_facts import path_of

__all__ = ["Guard", "LedgerHolder", "anybody", "jobs_router"]

Guard = Callable[..., Any] | DependsMarker
"""A FastAPI dependency that lets a request pass or raises: a function, or ``Depends(...)``."""

_RECONNECT_MS = 2_000


class LedgerHolder(Protocol):
    """What the router asks of the part behind ``durable``."""

    async def awake(self) -> Ledger:
        """The ledger, opened."""


async def anybody() -> None:
    """The guard that lets every request pass. Says in the code that this is meant."""


def jobs_router(
    *,
    guard: Guard | Sequence[Guard],
    steering_guard: Guard | Sequence[Guard] = (),
    prefix: str = "/jobs",
    listing: bool = True,
    steering: bool = True,
    show_args: bool = False,
    show_results: bool = False,
    show_tracebacks: bool = False,
    max_listeners: int = 1_000,
    poll_s: tuple[float, float] = (0.2, 2.0),
    keep_alive_s: float = 15.0,
) -> APIRouter:
    """Routes for the app's durable jobs: ``app.include_router(jobs_router(guard=require_user))``.

    Args:
        guard: in front of every route. A dependency that lets users see their own jobs only may
            take ``job_id: UUID``, together with ``listing=False``. One that yields a database
            session holds it for as long as an event stream is open, unless its scope is
            ``"function"``. ``anybody`` leaves the routes open.
        steering_guard: in front of cancel and requeue, besides ``guard``.
        prefix: of all paths.
        listing: whether there is a list of all jobs.
        steering: whether there are routes to cancel and to requeue.
        show_args: whether arguments are shown, secrets masked, and can be searched.
        show_results: whether results are shown.
        show_tracebacks: whether failures are shown with where they happened.
        max_listeners: event streams at a time in this process; more are answered with 503.
        poll_s: how often the ledger is asked about the jobs that are listened to, all in one
            query: seconds while they change, and at most while they do not.
        keep_alive_s: seconds of silence after which a stream sends a comment, so that proxies
            leave it open and lost clients are noticed.

    Raises:
        TypeError: ``guard`` is missing, ``None``, or no dependency.
        ValueError: a number makes no sense.
    """
    guards = _dependencies("guard", guard)
    if not guards:
        raise TypeError(
            "jobs_router(guard=) has no dependency in it, so anybody could read and cancel jobs; "
            "pass a dependency that refuses strangers, or guard=anybody if that is meant"
        )
    steering_guards = _dependencies("steering_guard", steering_guard)
    if not 0 < poll_s[0] <= poll_s[1]:
        raise ValueError(f"poll_s= is two numbers of seconds, the smaller first; got {poll_s!r}")
    if max_listeners < 1 or not keep_alive_s > 0:
        raise ValueError(
            f"max_listeners= is 1 or more and keep_alive_s= more than 0; got {max_listeners!r} "
            f"and {keep_alive_s!r}"
        )
    router = APIRouter(prefix=prefix, tags=["jobs"], dependencies=guards)
    feeds: WeakKeyDictionary[Backstay, JobFeed] = WeakKeyDictionary()

    def feed_of(backstay: Backstay) -> JobFeed:
        if backstay not in feeds:
            awake = _holder_in(backstay).awake
            feeds[backstay] = JobFeed(awake, backstay.clock, poll_s=poll_s)
        return feeds[backstay]

    def view(row: JobRow) -> JobView:
        return JobView.of(
            row,
            args=show_args,
            result=show_results,
            traceback=show_tracebacks,
            history=show_tracebacks,
        )

    searched: Any = Query(  # not in an annotation, where FastAPI could not see the option
        default=None,
        min_length=1,
        max_length=200,
        description="Found in the task's name or the arguments.",
        include_in_schema=show_args,
    )

    if listing:

        @router.get("", summary="List jobs", response_description="The newest first.")
        async def list_jobs(
            request: Request,
            state: Annotated[list[State] | None, Query(description="Any of these.")] = None,
            task: Annotated[str | None, Query(description="The task's name.")] = None,
            queue: Annotated[str | None, Query(description="The queue's name.")] = None,
            search: str | None = searched,
            before: Annotated[
                UUID | None, Query(description="`next` of the page that came before.")
            ] = None,
            limit: Annotated[int, Query(ge=1, le=200)] = 50,
        ) -> JobPage:
            which = JobFilter(
                states=frozenset(state) if state else None,
                task=task,
                queue=queue,
                # Whoever may not see arguments may not guess them by searching either.
                text=search if show_args else None,
            )
            rows = await (await _ledger_of(request)).find(which, limit=limit + 1, before=before)
            return JobPage(
                jobs=[view(each) for each in rows[:limit]],
                next=rows[limit - 1].id if len(rows) > limit else None,
            )

    @router.get("/{job_id}", summary="Show a job", responses=_NOT_FOUND)
    async def show_job(request: Request, job_id: JobId) -> JobView:
        return view(await _row(await _ledger_of(request), job_id))

    @router.get(
        "/{job_id}/events",
        summary="Watch a job",
        response_class=StreamingResponse,
        response_model=None,
        responses={**_NOT_FOUND, **_EVENTS, **_problem(503, "Too many streams are open.")},
    )
    async def watch_job(
        request: Request,
        job_id: JobId,
        last_event_id: Annotated[str | None, Header(include_in_schema=False)] = None,
    ) -> Response:
        """Server-sent events: `update` whenever the job changes, then `finished` and the end.

        Each carries the job as it is now, without arguments, so nothing is missed by connecting
        late or again. `gone` says that its history was deleted meanwhile.
        """
        backstay = _backstay_of(request)
        row = await _row(await _ledger_of(request), job_id)
        feed = feed_of(backstay)
        if row.finished and last_event_id == _event_of(row, show_results)[0]:
            # Browsers connect again when a stream ends; this is how they are told not to.
            return Response(status_code=204)
        if not row.finished and feed.listeners >= max_listeners:
            return problem_response(
                503,
                "Too many event streams are open. Try again shortly, or ask for the job itself.",
                instance=path_of(request.scope),
                headers={"Retry-After": "5"},
            )
        return _EventStream(_events(feed, row, show_results, keep_alive_s, last_event_id))

    if not steering:
        return router

    @router.post(
        "/{job_id}/cancel",
        summary="Cancel a job",
        dependencies=steering_guards,
        response_description="It is cancelled.",
        response_model=JobView,
        responses={
            **_NOT_FOUND,
            202: {"model": JobView, "description": "It runs; its worker has been asked to stop."},
            **_problem(409, "It has finished already."),
        },
    )
    async def cancel_job(
        request: Request, job_id: JobId, reason: Annotated[str, _REASON] = "cancelled over HTTP"
    ) -> Any:
        ledger = await _ledger_of(request)
        before = await ledger.cancel(job_id, reason)
        if before is None:
            raise UnknownJob(f"there is no job {job_id} to cancel")
        if before in FINISHED:
            return problem_response(
                409, f"The job is {before.value} already.", instance=path_of(request.scope)
            )
        job = view(await _row(ledger, job_id))
        if job.finished:
            return job
        return JSONResponse(job.model_dump(mode="json"), 202)

    @router.post(
        "/{job_id}/requeue",
        summary="Run a discarded or cancelled job again",
        dependencies=steering_guards,
        response_description="It waits for a worker, with a fresh count of attempts.",
        response_model=JobView,
        responses={
            **_NOT_FOUND,
            **_problem(409, "It is neither discarded nor cancelled, or its unique key is taken."),
        },
    )
    async def requeue_job(request: Request, job_id: JobId) -> Any:
        ledger = await _ledger_of(request)
        if await ledger.requeue(JobFilter(ids=(job_id,))):
            return view(await _row(ledger, job_id))
        row = await _row(ledger, job_id)
        return problem_response(
            409,
            "Another job holds its unique key."
            if row.state in {State.DISCARDED, State.CANCELLED}
            else f"The job is {row.state.value}; only discarded and cancelled ones are requeued.",
            instance=path_of(request.scope),
        )

    return router


JobId = Annotated[UUID, Path(description="The job's id.")]
_REASON = Body(embed=True, max_length=500, description="For people, kept with the job.")


def _problem(status: int, description: str) -> dict[int | str, dict[str, Any]]:
    members = {name: {"type": "string"} for name in ("type", "title", "detail", "instance")}
    schema = {"type": "object", "properties": {**members, "status": {"type": "integer"}}}
    return {
        status: {
            "description": description,
            "content": {"application/problem+json": {"schema": schema}},
        }
    }


_NOT_FOUND = _problem(404, "There is no such job (any more).")
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The stream.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "Nothing has happened since the last event, and nothing will."},
}


def _dependencies(option: str, guard: object) -> list[DependsMarker]:
    given: list[Any] = list(guard) if isinstance(guard, Sequence) else [guard]
    for each in given:
        if not isinstance(each, DependsMarker) and not callable(each):
            raise TypeError(
                f"jobs_router({option}=) is a dependency that refuses strangers, such as "
                f"{option}=require_operator; got {each!r}; {option}=anybody lets everybody in"
            )
    return [each if isinstance(each, DependsMarker) else Depends(each) for each in given]


def _backstay_of(request: Request) -> Backstay:
    exchange = Exchange.of(request.scope)  # also there in an app that is mounted in another
    return exchange.app if exchange is not None else installed(request.app)


def _holder_in(backstay: Backstay) -> LedgerHolder:
    return cast("LedgerHolder", backstay.part("durable"))


async def _ledger_of(request: Request) -> Ledger:
    return await _holder_in(_backstay_of(request)).awake()


async def _row(ledger: Ledger, job_id: UUID) -> JobRow:
    row = (await ledger.get([job_id])).get(job_id)
    if row is None:
        raise UnknownJob(f"there is no job {job_id} (any more)")
    return row


# ---------------------------------------------------------------------- events


def _event_of(row: JobRow, show_results: bool) -> tuple[str, bytes]:
    """The id of an event, which is the same where the content is, and the event."""
    data = JobView.of(row, result=show_results).model_dump_json()
    event_id = hashlib.blake2b(data.encode(), digest_size=8).hexdigest()
    name = "finished" if row.finished else "update"
    return event_id, f"id: {event_id}\nevent: {name}\ndata: {data}\n\n".encode()


async def _events(
    feed: JobFeed,
    row: JobRow,
    show_results: bool,
    keep_alive_s: float,
    last_event_id: str | None,
) -> AsyncGenerator[bytes, None]:
    """A job's stream, from what it is now to its end (WHATWG HTML, §9.2)."""
    yield b"retry: %d\n\n" % _RECONNECT_MS
    with feed.listen(row) as listener:
        event_id, event = _event_of(row, show_results)
        if event_id != last_event_id:
            yield event
            last_event_id = event_id
        while not row.finished:
            heard = await listener.hear(keep_alive_s)
            if heard is None:
                yield b": still here\n\n"
            elif isinstance(heard, JobRow):
                row = heard
                event_id, event = _event_of(row, show_results)
                if event_id != last_event_id:  # what changed may be nothing that is shown
                    yield event
                    last_event_id = event_id
            else:
                if heard == "gone":
                    yield b"event: gone\ndata: {}\n\n"
                return


class _EventStream(StreamingResponse):
    """A stream that ends when the client leaves, and closes its generator however it ends."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        self._events = events
        super().__init__(
            events,
            headers={
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # nginx would hold events back
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Starlette leaves noticing departures to send() where servers speak ASGI 2.4, and a
        # silent stream sends nothing for a while.
        streaming = asyncio.create_task(self.stream_response(send))
        leaving = asyncio.create_task(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait({streaming, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if streaming.done():
                streaming.result()
        except OSError:
            raise ClientDisconnect from None
        finally:
            for each in (streaming, leaving):
                each.cancel()
            await asyncio.gather(streaming, leaving, return_exceptions=True)
            await self._events.aclose()
        if self.background is not None:
            await self.background()
