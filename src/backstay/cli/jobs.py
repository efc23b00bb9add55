"""``backstay jobs``: list, show, retry, cancel, prune."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import typer

from backstay.cli import watching
from backstay.cli.job_page import counted, job_page, job_table
from backstay.cli.picking import pick
from backstay.cli.refusal import FAILED, MISUSED, Refusal
from backstay.cli.screen import Screen
from backstay.cli.target import DatabaseOption, PrefixOption, SchemaOption, choose, look
from backstay.cli.times import parse_duration
from backstay.jobs.view import JobView
from backstay.ledger.port import Ledger
from backstay.ledger.rows import FINISHED, JobFilter, JobRow, State

__all__ = [
    "IdArgument",
    "JsonOption",
    "VerboseOption",
    "add_to",
    "cancel_jobs",
    "list_jobs",
    "prune_jobs",
    "retry_jobs",
    "show_job",
]


_PAGE = 1_000
_CHILDREN_SHOWN = 50
_REQUEUEABLE = frozenset({State.DISCARDED, State.CANCELLED})

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, with absolute times.")]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say which database was taken, and more.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="A job's id, or 8 digits or more of its beginning.")
]
IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Jobs' ids, or 8 digits or more of their beginnings."),
]
StateOption = Annotated[
    list[State] | None,
    typer.Option(
        "--state",
        "-s",
        metavar="STATE",
        help=f"In this state, one of {', '.join(State)}. May be given again.",
    ),
]
TaskOption = Annotated[
    str | None, typer.Option("--task", "-t", metavar="NAME", help="Of this task.")
]
QueueOption = Annotated[
    str | None, typer.Option("--queue", "-q", metavar="NAME", help="In this queue.")
]

_group = typer.Typer(no_args_is_help=True, help="Look at durable jobs, and steer them.")


def add_to(program: typer.Typer) -> None:
    """Add the commands to the program."""
    _group.command("watch")(watching.watch_job)
    program.add_typer(_group, name="jobs")


@_group.command("list")
def list_jobs(
    state: StateOption = None,
    task: TaskOption = None,
    queue: QueueOption = None,
    search: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Found in the task's name or the arguments."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many.")
    ] = 50,
    before: Annotated[
        str | None, typer.Option(metavar="ID", help="Older than this one: the next page.")
    ] = None,
    database: DatabaseOption = None,
    prefix: PrefixOption = None,
    schema: SchemaOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """List jobs, the newest first."""
    screen = Screen(as_json=as_json, verbose=verbose)
    which = JobFilter(
        states=frozenset(state) if state else None, task=task, queue=queue, text=search
    )

    async def work(ledger: Ledger) -> None:
        after = None if before is None else (await pick(ledger, before)).id
        with screen.waiting("looking"):
            rows = await ledger.find(which, limit=limit + 1, before=after)
            now = await ledger.now()
        shown = rows[:limit]
        if as_json:
            screen.json([JobView.of(each, args=True).model_dump(mode="json") for each in shown])
            return
        if not shown:
            screen.say("no jobs" if which == JobFilter() else "no jobs match", "dim")
            return
        screen.show(job_table(shown, now, width=screen.out.width))
        if len(rows) > limit:
            screen.say(f"there are more: --limit, or --before {shown[-1].id}", "dim")

    look(choose(database, prefix=prefix, schema=schema), screen, work)


@_group.command("show")
def show_job(
    job: IdArgument,
    history: Annotated[
        bool, typer.Option("--history", help="Show where every attempt failed.")
    ] = False,
    database: DatabaseOption = None,
    prefix: PrefixOption = None,
    schema: SchemaOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show everything about one job."""
    screen = Screen(as_json=as_json, verbose=verbose)

    async def work(ledger: Ledger) -> None:
        row = await pick(ledger, job)
        parents = await ledger.parents(row.id)
        children = await ledger.children(row.id)
        if as_json:
            view = JobView.of(row, args=True, result=True, traceback=True, history=True)
            shown = view.model_dump(mode="json")
            found = await ledger.get(children)
            screen.json(
                {
                    **shown,
                    "parents": [str(each) for each in parents],
                    "children": [
                        {"id": str(each), "state": found[each].state}
                        for each in children
                        if each in found
                    ],
                }
            )
            return
        few = children[:_CHILDREN_SHOWN]
        found = await ledger.get([*parents, *few])
        screen.show(
            job_page(
                row,
                await ledger.now(),
                parents=[found[each] for each in parents if each in found],
                children=[found[each] for each in few if each in found],
                more_children=len(children) - len(few),
                history=history,
            )
        )

    look(choose(database, prefix=prefix, schema=schema), screen, work)


@_group.command("retry")
def retry_jobs(
    jobs: IdsArgument = None,
    state: StateOption = None,
    task: TaskOption = None,
    queue: QueueOption = None,
    yes: YesOption = False,
    database: DatabaseOption = None,
    prefix: PrefixOption = None,
    schema: SchemaOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run discarded and cancelled jobs again, with a fresh count of attempts.

    Name them by ids, or by --state, --task and --queue.
    """
    screen = Screen(as_json=as_json, verbose=verbose)
    _one_way(jobs, state, task, queue)
    states = frozenset(state or {State.DISCARDED})
    if wrong := states - _REQUEUEABLE:
        raise Refusal(f"jobs that are {min(wrong)} cannot be retried; discarded and cancelled can")

    async def chosen(ledger: Ledger) -> int:
        done: list[UUID] = []
        failed = False
        for name in jobs or ():
            row = await pick(ledger, name)
            requeued = await ledger.requeue(JobFilter(ids=(row.id,)))
            done += requeued
            if not requeued:
                failed = True
                screen.say(f"{row.id} {_why_not(row)}", "yellow")
            elif not as_json:
                screen.say(f"{row.id} of {row.task} is available again", "green")
        if as_json:
            screen.json({"requeued": [str(each) for each in done]})
        return FAILED if failed else 0

    async def matching(ledger: Ledger) -> int:
        count = await _count(ledger, states, task, queue)
        if not count:
            return _nothing(screen, {"requeued": []})
        if count > 1 and not yes:
            asked = screen.confirm(f"Retry {counted(count)} in {target.name}?", "give --yes")
            if not asked:
                return MISUSED if asked is None else FAILED
        done: list[UUID] = []
        which = JobFilter(states=states, task=task, queue=queue)

        async def requeue(rows: list[JobRow]) -> int:
            ids = tuple(each.id for each in rows)
            requeued = await ledger.requeue(JobFilter(ids=ids, states=states))
            done.extend(requeued)
            return len(requeued)

        seen = await _in_pages(ledger, which, screen, ("retrying", count), requeue)
        if as_json:
            screen.json({"requeued": [str(each) for each in done]})
        else:
            screen.say(f"{counted(len(done))} available again", "green")
        if len(done) < seen:
            screen.say(
                f"{seen - len(done):,} were left alone: another job holds their unique key, or "
                "somebody was faster",
                "yellow",
            )
        return 0 if done else FAILED

    target = choose(database, prefix=prefix, schema=schema)
    _leave(look(target, screen, chosen if jobs else matching))


@_group.command("cancel")
def cancel_jobs(
    jobs: Annotated[
        list[str],
        typer.Argument(metavar="ID", help="Jobs' ids, or 8 digits or more of their beginnings."),
    ],
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="For people, kept with the job.")
    ] = "cancelled from the command line",
    database: DatabaseOption = None,
    prefix: PrefixOption = None,
    schema: SchemaOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Cancel jobs: at once if they wait; running ones are asked to stop."""
    screen = Screen(as_json=as_json, verbose=verbose)

    async def work(ledger: Ledger) -> int:
        answers: list[dict[str, Any]] = []
        failed = False
        for name in jobs:
            row = await pick(ledger, name)
            before = await ledger.cancel(row.id, reason)
            asked = before is State.RUNNING
            done = before is not None and before not in FINISHED
            failed = failed or not done
            answers.append(
                {
                    "id": str(row.id),
                    "before": before,
                    "cancelled": done and not asked,
                    "asked": asked,
                }
            )
            if as_json:
                continue
            if asked:
                screen.say(f"{row.id} of {row.task} is running; it was asked to stop", "green")
            elif done:
                screen.say(f"{row.id} of {row.task} is cancelled", "green")
            else:
                screen.say(f"{row.id} of {row.task} is {before or 'gone'} already", "yellow")
        if as_json:
            screen.json(answers)
        return FAILED if failed else 0

    _leave(look(choose(database, prefix=prefix, schema=schema), screen, work))


@_group.command("prune")
def prune_jobs(
    older_than: Annotated[
        str, typer.Option(metavar="DURATION", help="Finished longer ago: 90s, 15m, 2h, 7d.")
    ],
    state: StateOption = None,
    task: TaskOption = None,
    queue: QueueOption = None,
    yes: YesOption = False,
    database: DatabaseOption = None,
    prefix: PrefixOption = None,
    schema: SchemaOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Delete the history of finished jobs: succeeded and cancelled ones, unless --state is given."""
    screen = Screen(as_json=as_json, verbose=verbose)
    try:
        older_than_s = parse_duration(older_than)
    except ValueError as error:
        raise Refusal(f"--older-than: {error}") from None
    states = frozenset(state or {State.SUCCEEDED, State.CANCELLED})
    if wrong := states - FINISHED:
        raise Refusal(f"jobs that are {min(wrong)} are not finished, so they are not pruned")
    which = JobFilter(states=states, task=task, queue=queue, older_than_s=older_than_s)

    async def work(ledger: Ledger) -> int:
        if not await ledger.find(which, limit=1):
            return _nothing(screen, {"deleted": 0})
        if not yes:
            listed = " and ".join(sorted(states))
            asked = screen.confirm(
                f"Delete {listed} jobs older than {older_than} in {target.name}?", "give --yes"
            )
            if not asked:
                return MISUSED if asked is None else FAILED
        # How many are that old nobody has counted; there are no more than these.
        most = await _count(ledger, states, task, queue)
        with screen.counting("deleting", most) as advance:
            deleted = await ledger.delete(which, told=advance)
        if as_json:
            screen.json({"deleted": deleted})
        else:
            screen.say(f"{counted(deleted)} deleted", "green")
        return 0

    target = choose(database, prefix=prefix, schema=schema)
    _leave(look(target, screen, work))


def _one_way(jobs: list[str] | None, *filters: object) -> None:
    if jobs and any(filters):
        raise Refusal("name jobs by their ids, or by --state, --task and --queue; not both")
    if not jobs and not any(filters):
        raise Refusal("no jobs were named", hint="give ids, or --state discarded")


def _leave(code: int) -> None:
    if code:
        raise typer.Exit(code)


def _nothing(screen: Screen, answer: dict[str, Any]) -> int:
    if screen.as_json:
        screen.json(answer)
    else:
        screen.say("no jobs match", "dim")
    return 0


def _why_not(row: JobRow) -> str:
    if row.state in _REQUEUEABLE:
        return f"of {row.task} was left alone: another job holds its unique key"
    return f"of {row.task} is {row.state}; only discarded and cancelled jobs can be retried"


async def _count(
    ledger: Ledger, states: frozenset[State], task: str | None, queue: str | None
) -> int:
    return sum(
        each.jobs
        for each in await ledger.counts(states)
        if (task is None or each.task == task) and (queue is None or each.queue == queue)
    )


async def _in_pages(
    ledger: Ledger,
    which: JobFilter,
    screen: Screen,
    bar: tuple[str, int],
    do: Callable[[list[JobRow]], Awaitable[int]],
) -> int:
    """Do something with all that match, some hundreds at a time. How many there were."""
    seen = 0
    before: UUID | None = None
    with screen.counting(bar[0], bar[1]) as advance:
        while rows := await ledger.find(which, limit=_PAGE, before=before):
            before = rows[-1].id
            seen += len(rows)
            await do(rows)
            advance(len(rows))
    return seen
