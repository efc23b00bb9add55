"""A new user: a password that is hashed, and a letter that is sent again until it arrives."""

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import bcrypt
import httpx
import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from backstay import current_context
from backstay.tasks import Failed, Retry, Succeeded, Task, Tasks, add_tasks
from backstay.testing import FakeClock, running
from backstay.web import Ctx, install
from tests.recipes.servers import (
    RecordingServer,
    http_client,
    in_turn,
    recording_server,
    served,
)
from tests.recipes.store import Store
from tests.support import async_test

SCHEMA = """
create table users (
    id integer primary key, email text, name text, password_hash text, verified integer default 0
);
create table tokens (token text primary key, user_id integer, expires_at text, used_at text);
"""

PASSWORD = "open sesame"


class NewUser(BaseModel):
    email: str
    name: str
    password: str


class Accounts:
    """What the service's tasks do, and what they need for it.

    Attributes:
        pauses: seconds that the error handler asked to pause, in order.
        given_up: tasks whose error handler gave up, each with its last error.
        letters: the tasks that send the letters with a link.
    """

    def __init__(self, folder: Path, parties: RecordingServer) -> None:
        self.store = Store(folder / "accounts.db", SCHEMA)
        self.parties_url = parties.url
        self.pauses: list[float] = []
        self.given_up: list[tuple[Task, Exception]] = []
        self.letters: list[Task] = []

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        async with http_client(self.parties_url) as self.http:
            yield

    async def post(self, path: str, content: object) -> None:
        (await self.http.post(path, json=content)).raise_for_status()

    async def send_link(self, email: str, name: str, token: str) -> None:
        link = f"https://accounts.example.com/verify?token={token}"
        await self.post("/mail", {"to": email, "template": "verify", "name": name, "link": link})

    async def welcome(self, email: str, name: str) -> None:
        await self.post("/mail", {"to": email, "template": "welcome", "name": name})

    async def count(self, event: str, user_id: int | None = None) -> None:
        at = current_context().app.clock.now().isoformat()
        await self.post("/events", {"event": event, "user": user_id, "at": at})

    async def give_up(self, task: Task, error: Exception) -> None:
        self.given_up.append((task, error))
        current_context().logger.error("no letter reached %s: %r", task.args[0], error)
        await self.http.post("/alerts", json={"text": f"no letter reached {task.args[0]}"})


def sending_again(
    accounts: Accounts, pause: Callable[[float], Awaitable[None]], times: int = 3
) -> Callable[[Task, Exception], Awaitable[None]]:
    """An error handler that calls the task again, after pauses that double, until it succeeds."""

    async def send_again(task: Task, error: Exception) -> None:
        for attempt in range(times):
            await pause(2.0**attempt)
            try:
                await task()
            except Exception as again:
                error = again
            else:
                return
        await accounts.give_up(task, error)

    return send_again


def make_app(
    accounts: Accounts, clock: FakeClock | None = None, retry: Retry | None = None
) -> FastAPI:
    """The service as an app.

    Args:
        accounts: what its tasks do.
        clock: its time.
        retry: how a letter is sent again. ``None`` leaves that to an error handler.
    """
    app = FastAPI(lifespan=accounts.lifespan)
    install(app, clock=clock)
    add_tasks(app)

    async def pause(seconds: float) -> None:
        accounts.pauses.append(seconds)

    on_error = accounts.give_up if retry is not None else sending_again(accounts, pause)

    # Hashing keeps a processor busy, so this endpoint is a plain function: it has a thread.
    @app.post("/register")
    def register(new: NewUser, tasks: Tasks, ctx: Ctx) -> dict[str, int]:
        hashed = bcrypt.hashpw(new.password.encode(), bcrypt.gensalt(rounds=4)).decode()
        user_id = accounts.store.run(
            "insert into users (email, name, password_hash) values (?, ?, ?)",
            *(new.email, new.name, hashed),
        )
        token = secrets.token_urlsafe(32)
        accounts.store.run(
            "insert into tokens (token, user_id, expires_at) values (?, ?, ?)",
            *(token, user_id, (ctx.app.clock.now() + timedelta(hours=24)).isoformat()),
        )
        letter = tasks.after_response.task(
            name=f"link_for_{user_id}", on_error=on_error, retry=retry
        ).schedule(accounts.send_link, new.email, new.name, token)
        accounts.letters.append(letter)
        tasks.after_response.schedule(accounts.count, "registered", user_id)
        return {"user": user_id}

    @app.post("/verify")
    async def verify(token: str, tasks: Tasks, ctx: Ctx) -> dict[str, str]:
        tasks.after_response.schedule(accounts.count, "link used")
        now = ctx.app.clock.now().isoformat()
        with accounts.store.transaction() as transaction:
            found = transaction.execute(
                "update tokens set used_at = ? where token = ? and used_at is null"
                " and expires_at > ? returning user_id",
                (now, token, now),
            ).fetchone()
            if found is None:
                raise HTTPException(400, "this link is not valid, or no longer")
            email, name = transaction.execute(
                "update users set verified = 1 where id = ? returning email, name", found
            ).fetchone()
        tasks.after_response.schedule(accounts.welcome, email, name)
        return {"verified": email}

    return app


ADA = {"email": "ada@example.com", "name": "Ada", "password": PASSWORD}


def token_in(letter: object) -> str:
    assert isinstance(letter, dict)
    return str(httpx.URL(letter["link"]).params["token"])


@async_test
async def test_the_link_in_the_letter_verifies_the_user_once(tmp_path: Path) -> None:
    async with recording_server() as parties:
        accounts = Accounts(tmp_path, parties)
        async with served(make_app(accounts)) as client:
            assert (await client.post("/register", json=ADA)).json() == {"user": 1}
            [letter] = await parties.arrived("/mail")
            query = {"token": token_in(letter.json())}
            verified = await client.post("/verify", params=query)
            again = await client.post("/verify", params=query)
            unknown = await client.post("/verify", params={"token": "made up"})

    assert verified.json() == {"verified": "ada@example.com"}
    assert (again.status_code, unknown.status_code) == (400, 400)
    [(email, name, hashed, flag)] = accounts.store.rows(
        "select email, name, password_hash, verified from users"
    )
    assert (email, name, flag) == ("ada@example.com", "Ada", 1)
    assert PASSWORD not in hashed
    assert bcrypt.checkpw(PASSWORD.encode(), hashed.encode())
    letters = [each.json() for each in parties.at("/mail")]
    assert [letter["template"] for letter in letters] == ["verify", "welcome"]
    assert {letter["to"] for letter in letters} == {"ada@example.com"}
    events = [each.json() for each in parties.at("/events")]
    # Once, although all three scheduled it: two of them were refused.
    assert {each["event"]: each["user"] for each in events} == {"registered": 1, "link used": None}
    assert len(events) == 2
    assert all(datetime.fromisoformat(each["at"]).tzinfo for each in events)


@async_test
async def test_a_link_of_yesterday_is_refused_and_no_welcome_is_sent(tmp_path: Path) -> None:
    clock = FakeClock()
    async with recording_server() as parties:
        accounts = Accounts(tmp_path, parties)
        async with running(make_app(accounts, clock)) as client:
            await client.post("/register", json=ADA)
            await client.tasks.settle()
            await clock.advance(24 * 3600)
            query = {"token": token_in(parties.at("/mail")[0].json())}
            answer = await client.post("/verify", params=query)
            await client.tasks.settle()

    assert answer.status_code == 400
    assert accounts.store.rows("select verified from users") == [(0,)]
    assert [each.json()["template"] for each in parties.at("/mail")] == ["verify"]


@async_test
async def test_a_letter_that_never_arrives_is_sent_once_and_three_times_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with recording_server() as parties:
        parties.replies["/mail"] = in_turn(500, 501, 502, 503)
        accounts = Accounts(tmp_path, parties)
        async with running(make_app(accounts)) as client:
            answer = await client.post("/register", json=ADA, headers={"X-Request-ID": "r-1"})
            await client.tasks.settle()

    assert answer.status_code == 200
    assert len(parties.at("/mail")) == 4
    assert len({each.body for each in parties.at("/mail")}) == 1, "the same letter every time"
    assert accounts.pauses == [1, 2, 4]
    [letter] = accounts.letters
    assert letter.attempts == 4
    assert isinstance(letter.outcome, Failed)
    assert "500" in str(letter.outcome.error), "a task fails by the error that brought the handler"
    [(task, last)] = accounts.given_up
    assert task is letter
    assert "503" in str(last)
    assert [each.json() for each in parties.at("/alerts")] == [
        {"text": "no letter reached ada@example.com"}
    ]
    assert len(parties.at("/events")) == 1, "the task beside it does not mind"
    said = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert [each.name for each in said] == ["backstay.tasks", "app"]
    assert {each.correlation_id for each in said} == {"r-1"}  # type: ignore[attr-defined]  # put there by extra=


@pytest.mark.parametrize("failures", [1, 2, 3])
@async_test
async def test_sending_again_ends_with_the_first_success(tmp_path: Path, failures: int) -> None:
    async with recording_server() as parties:
        parties.replies["/mail"] = in_turn(*[500] * failures, 200)
        accounts = Accounts(tmp_path, parties)
        async with running(make_app(accounts)) as client:
            await client.post("/register", json=ADA)
            await client.tasks.settle()

    assert len(parties.at("/mail")) == failures + 1
    assert accounts.pauses == [1, 2, 4][:failures]
    assert accounts.given_up == []
    assert parties.at("/alerts") == []
    [letter] = accounts.letters
    assert letter.outcome == Succeeded(None)


@async_test
async def test_a_letter_that_arrives_at_once_needs_no_handler(tmp_path: Path) -> None:
    async with recording_server() as parties:
        accounts = Accounts(tmp_path, parties)
        async with running(make_app(accounts)) as client:
            await client.post("/register", json=ADA)
            await client.tasks.settle()

    assert len(parties.at("/mail")) == 1
    assert accounts.pauses == []


@async_test
async def test_a_retry_rule_does_the_same_with_the_handler_called_after_it(tmp_path: Path) -> None:
    clock = FakeClock()
    rule = Retry(attempts=4, base_s=1, jitter=False)
    async with recording_server() as parties:
        parties.replies["/mail"] = in_turn(500)
        accounts = Accounts(tmp_path, parties)
        async with running(make_app(accounts, clock, rule)) as client:
            await client.post("/register", json=ADA)
            for sent, pause_s in enumerate([1, 2, 4], start=1):
                await clock.until_waiting()
                assert clock.waiting == [pause_s]
                assert len(parties.at("/mail")) == sent
                await clock.advance(pause_s)
            await client.tasks.settle()

    assert len(parties.at("/mail")) == 4
    [(task, _)] = accounts.given_up
    assert task.attempts == 4
    assert len(parties.at("/alerts")) == 1
