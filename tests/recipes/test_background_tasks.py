"""FastAPI's BackgroundTasks as its users write them, under uvicorn, with ``add_tasks`` and without.

A test that takes ``app_kind`` runs both ways: what it asserts is true of FastAPI alone and stays
true. The others say what ``add_tasks`` makes better.
"""

import asyncio
import csv
import logging
import queue
import shutil
import smtplib
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, UploadFile
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from starlette.background import BackgroundTask

from backstay import current_context
from backstay.tasks import Task, TaskConfig, Tasks, add_tasks
from backstay.testing import running
from tests.recipes.servers import (
    AnswerLog,
    Certificate,
    MailServer,
    in_turn,
    mail_server,
    make_certificate,
    recording_server,
    served,
    url_of_nobody,
)
from tests.support import PATIENCE_S, async_test

logger = logging.getLogger("recipes")

WITH, WITHOUT = "with add_tasks", "FastAPI alone"

both_ways = pytest.mark.parametrize("app_kind", [WITH, WITHOUT])


def make_app(app_kind: str, log: list[str] | None = None) -> FastAPI:
    app = FastAPI()
    if log is not None:
        app.add_middleware(AnswerLog, log=log)
    if app_kind == WITH:
        add_tasks(app)
    return app


# ---------------------------------------------------------------------- a notification, a file


def write_notification(file: Path, email: str, message: str = "") -> None:
    with file.open("a") as lines:
        lines.write(f"for {email}: {message}\n")


@both_ways
@async_test
async def test_a_notification_is_written_to_a_file(tmp_path: Path, app_kind: str) -> None:
    app = make_app(app_kind)
    file = tmp_path / "notifications.txt"

    @app.post("/notify/{email}")
    async def notify(email: str, background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(write_notification, file, email, message="your parcel is here")
        return "will be sent"

    async with served(app) as client:
        answer = await client.post("/notify/ada@example.com")

    assert answer.json() == "will be sent"
    assert file.read_text() == "for ada@example.com: your parcel is here\n"


# ---------------------------------------------------------------------- order and timing


@both_ways
@async_test
async def test_several_tasks_run_in_order_after_the_answer(app_kind: str) -> None:
    log: list[str] = []
    app = make_app(app_kind, log)
    client_has_answer = threading.Event()

    def slowly(number: int, *, name: str) -> None:
        log.append(f"{number} starts for {name}")
        assert client_has_answer.wait(PATIENCE_S)
        log.append(f"{number} ends")

    async def between() -> None:
        log.append("3 starts")
        await asyncio.sleep(0)
        log.append("3 ends")

    @app.post("/process/{name}")
    async def process(name: str, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(slowly, 1, name=name)
        background_tasks.add_task(slowly, number=2, name=name)
        background_tasks.add_task(between)
        background_tasks.add_task(log.append, "tidied up")
        log.append("endpoint returns")

    async with served(app) as client:
        assert (await client.post("/process/ada")).status_code == 200
        client_has_answer.set()

    assert log == [
        "endpoint returns",
        "answer out",
        "1 starts for ada",
        "1 ends",
        "2 starts for ada",
        "2 ends",
        "3 starts",
        "3 ends",
        "tidied up",
    ]


@both_ways
@async_test
async def test_tasks_run_after_a_stream_and_between_the_exits_of_dependencies(
    app_kind: str,
) -> None:
    log: list[str] = []
    app = make_app(app_kind, log)

    async def of_the_function() -> AsyncIterator[None]:
        yield
        log.append("function-scoped exit")

    def of_the_request() -> Iterator[None]:
        yield
        log.append("request-scoped exit")

    async def body() -> AsyncIterator[bytes]:
        log.append("body")
        yield b"a"
        yield b"b"

    @app.get(
        "/",
        dependencies=[
            Depends(of_the_request),
            Depends(of_the_function, scope="function"),
        ],
    )
    def endpoint(background_tasks: BackgroundTasks) -> StreamingResponse:
        background_tasks.add_task(log.append, "task")
        return StreamingResponse(body())

    async with served(app) as client:
        assert (await client.get("/")).text == "ab"

    assert log == ["function-scoped exit", "body", "answer out", "task", "request-scoped exit"]


@both_ways
@async_test
async def test_an_endpoint_that_refuses_runs_none_of_its_tasks(app_kind: str) -> None:
    log: list[str] = []
    app = make_app(app_kind)

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(log.append, "never")
        raise HTTPException(409)

    async with served(app) as client:
        assert (await client.get("/")).status_code == 409

    assert log == []


visitor: ContextVar[str] = ContextVar("visitor")


@both_ways
@async_test
async def test_what_the_endpoint_put_into_context_variables_is_visible_in_its_tasks(
    app_kind: str,
) -> None:
    app = make_app(app_kind)
    seen: list[str] = []

    def look() -> None:
        seen.append(visitor.get())

    async def look_too() -> None:
        seen.append(visitor.get())

    @app.get("/{name}")
    async def endpoint(name: str, background_tasks: BackgroundTasks) -> None:
        visitor.set(name)
        background_tasks.add_task(look)
        background_tasks.add_task(look_too)

    async with served(app) as client:
        await asyncio.gather(client.get("/ada"), client.get("/bob"))

    assert sorted(seen) == ["ada", "ada", "bob", "bob"]


# ---------------------------------------------------------------------- e-mail


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("the command openssl, which makes the mail server's certificate, is missing")
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def compose(server: MailServer, to: str, subject: str, body: str) -> MIMEMultipart:
    letter = MIMEMultipart()
    letter["From"], letter["To"], letter["Subject"] = server.login, to, subject
    letter.attach(MIMEText(body, "plain"))
    return letter


def send_email(server: MailServer, password: str, to: str, subject: str, body: str) -> None:
    with smtplib.SMTP(server.host, server.port, timeout=PATIENCE_S) as connection:
        connection.starttls(context=ssl.create_default_context(cafile=str(server.ca_file)))
        connection.login(server.login, password)
        connection.send_message(compose(server, to, subject, body))


def send_email_or_log(server: MailServer, password: str, to: str, subject: str, body: str) -> None:
    try:
        send_email(server, password, to, subject, body)
    except Exception as error:
        logger.error("no e-mail to %s: %s", to, type(error).__name__)
    else:
        logger.info("e-mail sent to %s", to)


LETTER = {"to": "ada@example.com", "subject": "On its way", "body": "Your parcel is here."}


@both_ways
@pytest.mark.parametrize("password", ["right", "wrong"])
@async_test
async def test_an_email_goes_out_over_starttls_with_a_login(
    certificate: Certificate, caplog: pytest.LogCaptureFixture, app_kind: str, password: str
) -> None:
    caplog.set_level(logging.INFO, logger="recipes")
    app = make_app(app_kind)
    with mail_server(certificate) as server:
        secret = server.password if password == "right" else "guessed"

        @app.post("/email")
        async def email(to: str, subject: str, body: str, background_tasks: BackgroundTasks) -> str:
            background_tasks.add_task(send_email_or_log, server, secret, to, subject, body)
            return "will be sent"

        async with served(app) as client:
            answer = await client.post("/email", params=LETTER)

    assert answer.json() == "will be sent"
    said = [each.getMessage() for each in caplog.records if each.name == "recipes"]
    if password == "wrong":
        assert server.letters == []
        assert server.refused_logins > 0
        assert said == ["no e-mail to ada@example.com: SMTPAuthenticationError"]
        return
    [letter] = server.letters
    assert (letter["From"], letter["To"]) == ("shop@example.com", "ada@example.com")
    assert letter["Subject"] == "On its way"
    _, part = letter.walk()
    assert part.get_payload(decode=True) == b"Your parcel is here."
    assert server.refused_logins == 0
    assert said == ["e-mail sent to ada@example.com"]


@async_test
async def test_an_email_that_nobody_caught_the_failure_of_reaches_on_error(
    certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[Task, Exception]] = []
    app = FastAPI()
    add_tasks(app, config=TaskConfig(on_error=lambda task, error: told.append((task, error))))
    with mail_server(certificate) as server:

        @app.post("/email")
        def email(background_tasks: BackgroundTasks) -> None:
            for password in ("guessed", server.password):
                background_tasks.add_task(send_email, server, password, **LETTER)

        async with served(app) as client:
            answer = await client.post("/email", headers={"X-Request-ID": "visit-2"})

    assert answer.status_code == 200
    [(task, error)] = told
    assert task.name == "send_email"
    assert task.args[1] == "guessed"
    assert task.kwargs == LETTER
    assert isinstance(error, smtplib.SMTPAuthenticationError)
    assert len(server.letters) == 1, "the one behind it was sent"
    [said] = [each for each in caplog.records if each.name == "backstay.tasks"]
    assert said.getMessage() == "the task 'send_email' failed"
    assert said.correlation_id == "visit-2"  # type: ignore[attr-defined]  # put there by extra=


# ---------------------------------------------------------------------- an uploaded table


@both_ways
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("sku,quantity\n1,2\n2,30\n", ["7: 32 pieces in 2 rows"]),
        ("sku,quantity\n1,2\n2,many\n", ["7: row 2 is wrong"]),
    ],
    ids=["good", "bad"],
)
@async_test
async def test_an_uploaded_csv_is_processed_and_its_temporary_file_removed(
    tmp_path: Path, app_kind: str, content: str, expected: list[str]
) -> None:
    app = make_app(app_kind)
    notices: list[str] = []

    def process_csv(path: Path, user: int) -> None:
        total = rows = 0
        try:
            with path.open(newline="") as lines:
                for row in csv.DictReader(lines):
                    total += int(row["quantity"])
                    rows += 1
        except ValueError:
            notices.append(f"{user}: row {rows + 1} is wrong")
        else:
            notices.append(f"{user}: {total} pieces in {rows} rows")
        finally:
            path.unlink()

    @app.post("/stock/{user}")
    async def upload(user: int, file: UploadFile, background_tasks: BackgroundTasks) -> str:
        path = tmp_path / f"upload-{user}.csv"
        path.write_bytes(await file.read())
        background_tasks.add_task(process_csv, path, user)
        return f"{file.filename} will be processed"

    async with served(app) as client:
        answer = await client.post("/stock/7", files={"file": ("stock.csv", content.encode())})

    assert answer.json() == "stock.csv will be processed"
    assert notices == expected
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- a database


class Base(DeclarativeBase):
    """The tables of the activity log."""


class Activity(Base):
    __tablename__ = "activities"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(index=True)
    action: Mapped[str | None] = mapped_column(nullable=False)
    at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))


class Statistics(Base):
    __tablename__ = "statistics"

    user_id: Mapped[int] = mapped_column(primary_key=True)
    actions: Mapped[int]


@contextmanager
def database(path: Path) -> Iterator[sessionmaker[Session]]:
    engine = create_engine(f"sqlite:///{path}")
    try:
        Base.metadata.create_all(engine)
        yield sessionmaker(engine, autoflush=False)
    finally:
        engine.dispose()


def log_activity(sessions: sessionmaker[Session], user_id: int, action: str | None) -> None:
    session = sessions()
    try:
        session.add(Activity(user_id=user_id, action=action))
        session.commit()
    except Exception as error:
        session.rollback()
        logger.error("the activity was not logged: %s", type(error).__name__)
    finally:
        session.close()


def update_statistics(sessions: sessionmaker[Session], user_id: int) -> None:
    with sessions.begin() as session:
        count = select(func.count()).select_from(Activity).where(Activity.user_id == user_id)
        session.merge(Statistics(user_id=user_id, actions=session.scalar(count) or 0))


@both_ways
@async_test
async def test_an_activity_is_in_the_database_before_the_next_task_counts_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, app_kind: str
) -> None:
    app = make_app(app_kind)
    with database(tmp_path / "activity.db") as sessions:

        @app.post("/users/{user_id}/actions")
        async def act(
            user_id: int, background_tasks: BackgroundTasks, action: str | None = None
        ) -> None:
            background_tasks.add_task(log_activity, sessions, user_id, action)
            background_tasks.add_task(update_statistics, sessions, user_id)

        async with served(app) as client:
            for user_id, query in ((7, "?action=login"), (8, "?action=buy"), (9, "")):
                answer = await client.post(f"/users/{user_id}/actions{query}")
                assert answer.status_code == 200

        with sessions() as session:
            activities = session.execute(select(Activity.user_id, Activity.action)).all()
            assert sorted(map(tuple, activities)) == [(7, "login"), (8, "buy")]
            statistics = session.execute(select(Statistics.user_id, Statistics.actions)).all()
            assert sorted(map(tuple, statistics)) == [(7, 1), (8, 1), (9, 0)]
    said = [each.getMessage() for each in caplog.records if each.name == "recipes"]
    assert said == ["the activity was not logged: IntegrityError"]


# ---------------------------------------------------------------------- other services


async def fetch(url: str, user: int, found: list[str]) -> None:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            content = await answer.json()
        found.append(f"{len(content)} items for {user}")
    except aiohttp.ClientError as error:
        logger.error("nothing fetched for %d: %s", user, type(error).__name__)


async def send_webhook(url: str, content: dict[str, Any]) -> None:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=content) as answer,
        ):
            if answer.status != 200:
                logger.error("the webhook said %d", answer.status)
    except aiohttp.ClientError as error:
        logger.error("the webhook failed: %s", type(error).__name__)


@both_ways
@pytest.mark.parametrize("trouble", ["none", "no data", "webhook refuses", "webhook is away"])
@async_test
async def test_data_is_fetched_and_then_a_webhook_called(
    caplog: pytest.LogCaptureFixture, app_kind: str, trouble: str
) -> None:
    app = make_app(app_kind)
    found: list[str] = []

    @app.post("/fetch/{user}")
    async def fetch_for(
        user: int, data_url: str, webhook_url: str, background_tasks: BackgroundTasks
    ) -> None:
        background_tasks.add_task(fetch, data_url, user, found)
        background_tasks.add_task(send_webhook, webhook_url, {"user": user, "what": "fetched"})

    async with recording_server() as parties:
        parties.replies["/data"] = lambda arrival: (200, ["a", "b", "c"])
        if trouble == "webhook refuses":
            parties.replies["/webhook"] = in_turn(410)
        with url_of_nobody() as nowhere:
            data = nowhere if trouble == "no data" else parties.url
            webhook = nowhere if trouble == "webhook is away" else parties.url
            async with served(app) as client:
                answer = await client.post(
                    "/fetch/7",
                    params={"data_url": f"{data}/data", "webhook_url": f"{webhook}/webhook"},
                )

    assert answer.status_code == 200
    assert found == ([] if trouble == "no data" else ["3 items for 7"])
    calls = [(each.method, each.path) for each in parties.arrivals]
    expected = [("GET", "/data"), ("POST", "/webhook")]
    if trouble in ("no data", "webhook is away"):
        expected.pop(0 if trouble == "no data" else 1)
    assert calls == expected
    if parties.at("/webhook"):
        assert parties.at("/webhook")[0].json() == {"user": 7, "what": "fetched"}
    assert [each.getMessage() for each in caplog.records if each.name == "recipes"] == {
        "none": [],
        "no data": ["nothing fetched for 7: ClientConnectorError"],
        "webhook refuses": ["the webhook said 410"],
        "webhook is away": ["the webhook failed: ClientConnectorError"],
    }[trouble]


# ---------------------------------------------------------------------- the safe wrapper


def run_safely(jobs: dict[str, Any], name: str, *args: Any, **kwargs: Any) -> None:
    """A job by its name; what it raises goes no further than the log."""
    logger.info("%s starts", name)
    try:
        jobs[name](*args, **kwargs)
    except KeyError:
        logger.error("%s is no job", name)
    except Exception as error:
        logger.error("%s failed: %s", name, error)
    else:
        logger.info("%s is done", name)


@both_ways
@async_test
async def test_a_wrapper_runs_jobs_by_name_and_logs_what_they_raise(
    caplog: pytest.LogCaptureFixture, app_kind: str
) -> None:
    caplog.set_level(logging.INFO, logger="recipes")
    app = make_app(app_kind)
    done: list[str] = []

    def notify(user: int, message: str) -> None:
        if not user:
            raise ValueError("nobody to notify")
        done.append(f"notified {user}: {message}")

    def crunch(*, data: int) -> None:
        done.append(f"crunched {data}")

    jobs = {"notify": notify, "crunch": crunch, "tidy": lambda: done.append("tidied")}

    @app.post("/safe/{user}")
    async def safe(user: int, message: str, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(run_safely, jobs, "notify", user, message)
        background_tasks.add_task(run_safely, jobs, "crunch", data=3)
        background_tasks.add_task(run_safely, jobs, "dance")
        background_tasks.add_task(run_safely, jobs, "tidy")

    for user in (7, 0):
        async with served(app) as client:
            assert (await client.post(f"/safe/{user}?message=hello")).status_code == 200

    assert done == ["notified 7: hello", "crunched 3", "tidied", "crunched 3", "tidied"]
    said = [each.getMessage() for each in caplog.records if each.name == "recipes"]
    rest = ["crunch starts", "crunch is done", "dance starts", "dance is no job"]
    rest += ["tidy starts", "tidy is done"]
    assert said == [
        *("notify starts", "notify is done", *rest),
        *("notify starts", "notify failed: nobody to notify", *rest),
    ]


# ---------------------------------------------------------------------- progress


class Steps:
    """Lets a job in a thread take one step at a time; ``fail`` makes a step go wrong."""

    def __init__(self) -> None:
        self._allowed: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def allow(self, count: int = 1) -> None:
        for _ in range(count):
            self._allowed.put(True)

    def fail(self) -> None:
        self._allowed.put(False)

    def take(self) -> None:
        if not self._allowed.get(timeout=PATIENCE_S):
            raise RuntimeError("a wheel came off")


async def poll(client: httpx.AsyncClient, path: str, **wanted: object) -> dict[str, Any]:
    """Ask until the answer says what is wanted; the test's own time limit ends it otherwise."""
    while True:
        answer: dict[str, Any] = (await client.get(path)).json()
        if answer.items() >= wanted.items():
            return answer


@both_ways
@async_test
async def test_progress_in_a_dict_can_be_polled_over_http(app_kind: str) -> None:
    app = make_app(app_kind)
    steps = Steps()
    jobs: dict[str, dict[str, Any]] = {}

    def work(job: str, items: int) -> None:
        mine = jobs[job] = {"status": "running", "done": 0, "total": items}
        try:
            for number in range(items):
                steps.take()
                mine.update(done=number + 1, message=f"item {number + 1} of {items}")
        except Exception as error:
            mine.update(status="failed", message=str(error))
        else:
            mine.update(status="completed", message="all done")

    @app.post("/jobs/{job}")
    async def start(job: str, items: int, background_tasks: BackgroundTasks) -> dict[str, str]:
        if job in jobs:
            return {"error": "there is such a job"}
        background_tasks.add_task(work, job, items)
        return {"look": f"/jobs/{job}"}

    @app.get("/jobs/{job}")
    async def look(job: str) -> dict[str, Any]:
        return jobs.get(job, {"error": "no such job"})

    async with served(app) as client:
        assert (await client.get("/jobs/a")).json() == {"error": "no such job"}
        path = (await client.post("/jobs/a?items=3")).json()["look"]
        assert await poll(client, path, status="running") == {
            "status": "running",
            "done": 0,
            "total": 3,
        }
        assert (await client.post("/jobs/a?items=3")).json() == {"error": "there is such a job"}
        steps.allow()
        assert (await poll(client, path, done=1))["message"] == "item 1 of 3"
        steps.allow(2)
        finished = await poll(client, path, status="completed")
        assert finished == {"status": "completed", "done": 3, "total": 3, "message": "all done"}

        await client.post("/jobs/b?items=2")
        steps.allow()
        steps.fail()
        failed = await poll(client, "/jobs/b", status="failed")
        assert (failed["done"], failed["message"]) == (1, "a wheel came off")


@async_test
async def test_progress_that_a_task_reports_needs_no_dict_of_ones_own() -> None:
    app = make_app(WITH)
    steps = Steps()
    jobs: dict[str, Task] = {}

    def work(items: int) -> int:
        ctx = current_context()
        for number in range(items):
            steps.take()
            ctx.progress(number + 1, items, f"item {number + 1} of {items}")
        return items

    @app.post("/jobs/{job}")
    async def start(job: str, items: int, tasks: Tasks) -> None:
        jobs[job] = tasks.schedule(work, items)

    @app.get("/jobs/{job}")
    async def look(job: str) -> dict[str, Any]:
        task = jobs[job]
        at = task.progress
        return {
            "fraction": at and at.fraction,
            "message": at and at.message,
            "outcome": task.outcome and type(task.outcome).__name__,
        }

    async with served(app) as client:
        await client.post("/jobs/a?items=2")
        first = await poll(client, "/jobs/a")
        assert first == {"fraction": None, "message": None, "outcome": None}
        steps.allow()
        halfway = await poll(client, "/jobs/a", fraction=0.5)
        assert (halfway["message"], halfway["outcome"]) == ("item 1 of 2", None)
        steps.allow()
        assert await poll(client, "/jobs/a", outcome="Succeeded") == {
            "fraction": 1.0,
            "message": "item 2 of 2",
            "outcome": "Succeeded",
        }

        await client.post("/jobs/b?items=2")
        steps.allow()
        steps.fail()
        failed = await poll(client, "/jobs/b", outcome="Failed")
        assert failed["fraction"] == 0.5


# ---------------------------------------------------------------------- dependencies


class Letters:
    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, to: str, body: str) -> None:
        self.sent.append(f"{to}: {body}")


class Journal:
    def __init__(self) -> None:
        self.lines: list[str] = []

    async def note(self, line: str) -> None:
        self.lines.append(line)


@both_ways
@async_test
async def test_dependencies_can_be_handed_to_tasks_and_add_tasks_of_their_own(
    app_kind: str,
) -> None:
    app = make_app(app_kind)
    letters, journal = Letters(), Journal()

    def tell(user: int, action: str, letters: Letters, journal: Journal) -> None:
        journal.lines.append(f"{user} did {action}")
        letters.send(f"user{user}@example.com", f"you did {action}")

    async def audited(
        background_tasks: BackgroundTasks, journal: Annotated[Journal, Depends(lambda: journal)]
    ) -> int:
        background_tasks.add_task(journal.note, "somebody did something")
        return id(background_tasks)

    @app.post("/actions/{user}")
    def act(
        user: int,
        action: str,
        background_tasks: BackgroundTasks,
        theirs: Annotated[int, Depends(audited)],
        letters: Annotated[Letters, Depends(lambda: letters)],
        journal: Annotated[Journal, Depends(lambda: journal)],
    ) -> bool:
        background_tasks.add_task(tell, user, action, letters, journal)
        return theirs == id(background_tasks)

    async with served(app) as client:
        assert (await client.post("/actions/7?action=login")).json() is True

    assert journal.lines == ["somebody did something", "7 did login"]
    assert letters.sent == ["user7@example.com: you did login"]


# ---------------------------------------------------------------------- instances of one's own


@both_ways
@pytest.mark.parametrize("streamed", [False, True], ids=["json", "stream"])
@async_test
async def test_an_instance_made_of_a_list_runs_as_the_background_of_a_response(
    app_kind: str, streamed: bool
) -> None:
    log: list[str] = []
    app = make_app(app_kind, log)

    async def note(line: str, *, times: int) -> None:
        log.extend([line] * times)

    @app.get("/")
    async def endpoint() -> Response:
        tasks = BackgroundTasks(
            tasks=[BackgroundTask(log.append, "first"), BackgroundTask(note, "second", times=2)]
        )
        tasks.add_task(log.append, "third")
        if streamed:
            return StreamingResponse(iter(["{", "}"]), background=tasks)
        return JSONResponse({}, background=tasks)

    async with served(app) as client:
        assert (await client.get("/")).json() == {}

    assert log == ["answer out", "first", "second", "second", "third"]


@both_ways
@async_test
async def test_an_instance_without_a_list_is_empty_and_no_two_share_theirs(app_kind: str) -> None:
    make_app(app_kind)
    one, other = BackgroundTasks(), BackgroundTasks()
    one.add_task(print, 1, end="")

    assert other.tasks == []
    [task] = one.tasks
    assert (task.func, task.args, task.kwargs) == (print, (1,), {"end": ""})


# ---------------------------------------------------------------------- what becomes better


@both_ways
@async_test
async def test_one_failing_task_drops_those_behind_it_no_more(
    caplog: pytest.LogCaptureFixture, app_kind: str
) -> None:
    log: list[str] = []
    app = make_app(app_kind)

    async def fail() -> None:
        raise ValueError("an address is missing")

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(log.append, "before")
        background_tasks.add_task(fail)
        background_tasks.add_task(log.append, "behind")

    async with served(app) as client:
        assert (await client.get("/")).status_code == 200

    said = [each.name for each in caplog.records if each.levelno == logging.ERROR]
    if app_kind == WITH:
        assert (log, said) == (["before", "behind"], ["backstay.tasks"])
    else:
        assert (log, said) == (["before"], ["uvicorn.error"])


@both_ways
@async_test
async def test_injected_tasks_are_lost_no_more_to_a_response_with_a_background_of_its_own(
    app_kind: str,
) -> None:
    log: list[str] = []
    app = make_app(app_kind, log)

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> JSONResponse:
        background_tasks.add_task(log.append, "injected")
        own = BackgroundTasks(tasks=[BackgroundTask(log.append, "the response's")])
        return JSONResponse({}, background=own)

    async with served(app) as client:
        assert (await client.get("/")).status_code == 200

    kept = ["injected"] if app_kind == WITH else []
    assert log == ["answer out", "the response's", *kept]


@async_test
async def test_both_kinds_of_task_can_be_used_in_one_endpoint_and_in_each_other() -> None:
    log: list[str] = []
    app = make_app(WITH)

    def theirs() -> None:
        log.append("theirs")
        current_context().tasks.schedule(log.append, "ours, from theirs")

    async def ours() -> None:
        log.append("ours")
        await BackgroundTasks(tasks=[BackgroundTask(log.append, "theirs, from ours")])()

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks, tasks: Tasks) -> None:
        background_tasks.add_task(theirs)
        tasks.after_response.schedule(ours)

    async with running(app) as client:
        await client.get("/")
        await client.tasks.settle()

    assert sorted(log) == ["ours", "ours, from theirs", "theirs", "theirs, from ours"]
