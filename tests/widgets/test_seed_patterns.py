"""The seven patterns people copy from the first page of the documentation, and the better ways."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import sqlite3
import tempfile
import traceback
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from fastapi import FastAPI
from pydantic import BaseModel

from backstay.db import add_database
from backstay.state import add_state
from backstay.tasks import add_tasks, task
from backstay.testing import RunningApp, running
from backstay.web import install
from backstay.widgets import BaseWidget, ValidationError, WidgetContext, WidgetMCPServer
from tests.support import async_test
from tests.widgets.wire import Wire


@asynccontextmanager
async def serving(
    *widgets: type[BaseWidget], **settings: Any
) -> AsyncIterator[tuple[RunningApp, Wire]]:
    """The widgets in a running app, and a client with a session."""
    app = FastAPI()
    install(app, settings=settings)
    add_tasks(app, database="memory://")
    add_state(app, "memory://")
    if "DATABASE" in settings:
        add_database(app, settings["DATABASE"])
    WidgetMCPServer("patterns", widgets=widgets).mount(app)
    async with running(app) as client:
        wire = Wire(client)
        await wire.hello()
        yield client, wire


async def data_of(wire: Wire, tool: str, **arguments: Any) -> Any:
    result = await wire.call(tool, **arguments)
    assert "isError" not in result, result
    return result["structuredContent"]


# ------------------------------------------------------------------ 1. several things at a time


class RouteInput(BaseModel):
    stop: str


class Departures(BaseWidget):
    identifier = "departures"
    title = "Departures"
    input_schema = RouteInput
    invoking = "Asking the operators…"
    invoked = "Departures are here"

    async def execute(self, inputs: RouteInput, ctx):  # type: ignore[no-untyped-def]  # as on the page
        together = asyncio.Barrier(3)
        tasks = [
            self.ask(together, inputs.stop, "bus"),
            self.ask(together, inputs.stop, "tram"),
            self.ask(together, inputs.stop, "ferry"),
        ]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return {
            "stop": inputs.stop,
            "operators": len([r for r in results if not isinstance(r, Exception)]),
            "lines": [r for r in results if isinstance(r, str)],
        }

    async def ask(self, together: asyncio.Barrier, stop: str, operator: str) -> str:
        await together.wait()  # nobody passes before all are there
        if operator == "ferry":
            raise ConnectionError("the ferry's server sinks")
        return f"{operator} at {stop}"


@async_test
async def test_concurrent_calls_run_together_and_one_failure_spoils_nothing() -> None:
    async with serving(Departures) as (_, wire):
        found = await data_of(wire, "departures", stop="Harbour")
    assert found == {
        "stop": "Harbour",
        "operators": 2,
        "lines": ["bus at Harbour", "tram at Harbour"],
    }


# ------------------------------------------------------------------ 2. state


class LessonInput(BaseModel):
    exercise: str


class Lessons(BaseWidget):
    identifier = "lessons"
    title = "Lessons"
    input_schema = LessonInput

    async def execute(self, inputs: LessonInput, ctx):  # type: ignore[no-untyped-def]  # as on the page
        progress = await ctx.state.get("progress", {})
        lessons = await ctx.state.get("lessons", 0)
        await ctx.state.set("lessons", lessons + 1)
        await ctx.state.set("latest", inputs.exercise)
        if lessons > 1:
            progress["advanced"] = True
            await ctx.state.set("progress", progress)
        return {"exercise": inputs.exercise, "lessons": lessons + 1, "progress": progress}


@async_test
async def test_state_remembers_from_call_to_call_of_one_conversation() -> None:
    async with serving(Lessons) as (client, wire):
        found = [await data_of(wire, "lessons", exercise=each) for each in "abc"]
        other = Wire(client)
        await other.hello()
        fresh = await data_of(other, "lessons", exercise="z")
    assert [each["lessons"] for each in found] == [1, 2, 3]
    assert [each["progress"] for each in found] == [{}, {}, {"advanced": True}]
    assert fresh == {"exercise": "z", "lessons": 1, "progress": {}}


class CountedLessons(BaseWidget):
    """The better way: one atomic step, so that calls at a time lose nothing."""

    identifier = "counted_lessons"
    title = "Lessons"
    input_schema = LessonInput

    async def execute(self, inputs: LessonInput, ctx: WidgetContext) -> dict[str, Any]:
        lessons = await ctx.state.incr("lessons")
        latest = await ctx.state.update("all", lambda seen: [*seen, inputs.exercise], default=[])
        return {"lessons": lessons, "all": latest}


@async_test
async def test_incr_and_update_lose_no_call_of_many_at_a_time() -> None:
    async with serving(CountedLessons) as (_, wire):
        names = [f"e{number}" for number in range(12)]
        found = await asyncio.gather(
            *(data_of(wire, "counted_lessons", exercise=each) for each in names)
        )
    assert sorted(each["lessons"] for each in found) == list(range(1, 13))
    assert sorted(max((each["all"] for each in found), key=len)) == sorted(names)


# ------------------------------------------------------------------ 3. a database


class BookInput(BaseModel):
    query_type: str
    since: date | None = None


class Library(BaseWidget):
    identifier = "library"
    title = "Library"
    input_schema = BookInput

    async def execute(self, inputs: BookInput, ctx):  # type: ignore[no-untyped-def]  # as on the page
        path = ctx.settings.get("LIBRARY_FILE")
        if not path:
            raise ValueError("LIBRARY_FILE not configured")
        connection = sqlite3.connect(path)
        try:
            if inputs.query_type == "lent":
                rows = connection.execute("SELECT title FROM books WHERE lent = ?", [True])
                data = [dict(zip(["title"], row, strict=True)) for row in rows]
            else:
                raise ValueError(f"Unknown query type: {inputs.query_type}")
            return {"query_type": inputs.query_type, "count": len(data), "data": data}
        finally:
            connection.close()


def write_books(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE books (title TEXT, lent BOOLEAN);"
        "INSERT INTO books VALUES ('Emma', 1), ('Ulysses', 0);"
    )
    connection.close()


@async_test
async def test_a_database_is_found_through_the_settings(tmp_path: Path) -> None:
    write_books(tmp_path / "books.db")
    async with serving(Library, LIBRARY_FILE=str(tmp_path / "books.db")) as (_, wire):
        found = await data_of(wire, "library", query_type="lent")
    assert found == {"query_type": "lent", "count": 1, "data": [{"title": "Emma"}]}


@pytest.mark.parametrize("query_type", ["lent", "burnt"])
@async_test
async def test_what_a_widget_raises_for_its_owner_stays_with_its_owner(query_type: str) -> None:
    settings = {} if query_type == "lent" else {"LIBRARY_FILE": ":memory:"}
    async with serving(Library, **settings) as (_, wire):
        result = await wire.call("library", query_type=query_type)
    assert result["isError"] is True
    assert result["structuredContent"]["error"] == "internal_error"
    assert "LIBRARY_FILE" not in json.dumps(result)
    assert "Unknown query" not in json.dumps(result)


class Lending(BaseWidget):
    """The better way: the app's own database, committed with the call or not at all."""

    identifier = "lending"
    title = "Lending"
    input_schema = BookInput

    async def execute(self, inputs: BookInput, ctx: WidgetContext) -> dict[str, Any]:
        await ctx.db.session.execute(sqlalchemy.text("UPDATE books SET lent = 1"))
        if inputs.query_type == "fail":
            raise ValueError("after the update")
        rows = await ctx.db.session.execute(sqlalchemy.text("SELECT count(*) FROM books"))
        return {"books": rows.scalar_one()}


@pytest.mark.parametrize(("query_type", "lent"), [("all", 2), ("fail", 1)])
@async_test
async def test_what_goes_through_ctx_db_is_committed_with_the_call_or_not_at_all(
    tmp_path: Path, query_type: str, lent: int
) -> None:
    path = tmp_path / "books.db"
    write_books(path)
    async with serving(Lending, DATABASE=f"sqlite:///{path}") as (_, wire):
        result = await wire.call("lending", query_type=query_type)
        # Already now: the answer leaves after the commit.
        connection = sqlite3.connect(path)
        (found,) = connection.execute("SELECT sum(lent) FROM books").fetchone()
        connection.close()
    assert result.get("isError", False) is (query_type == "fail")
    assert found == lent


# ------------------------------------------------------------------ 4. files


class SheetInput(BaseModel):
    file_name: str
    file_extension: str
    file_size: int
    file_content: bytes


class Sheets(BaseWidget):
    identifier = "sheets"
    title = "Sheets"
    input_schema = SheetInput

    async def execute(self, inputs: SheetInput, ctx):  # type: ignore[no-untyped-def]  # as on the page
        if inputs.file_size > 1024:
            raise ValueError("File too large")
        with tempfile.NamedTemporaryFile(delete=False, suffix=inputs.file_extension) as tmp_file:
            tmp_file.write(inputs.file_content)
            tmp_path = tmp_file.name
        try:
            if inputs.file_extension == ".csv":
                result = await self.process_csv(tmp_path)
            else:
                raise ValueError(f"Unsupported file type: {inputs.file_extension}")
            return {"file_name": inputs.file_name, "path": tmp_path, "processing_result": result}
        finally:
            os.unlink(tmp_path)

    async def process_csv(self, file_path: str) -> list[str]:
        return Path(file_path).read_bytes().decode().split(",")


@async_test
async def test_a_file_arrives_decoded_and_its_copy_is_gone_afterwards() -> None:
    async with serving(Sheets) as (_, wire):
        found = await data_of(
            wire,
            "sheets",
            file_name="a.csv",
            file_extension=".csv",
            file_size=6,
            file_content="YSzDvCxj",  # "a,ü,c"
        )
    assert found["processing_result"] == ["a", "ü", "c"]
    assert found["path"].endswith(".csv")
    assert not Path(found["path"]).exists()


@async_test
async def test_the_schema_tells_clients_that_a_file_is_base64() -> None:
    async with serving(Sheets) as (_, wire):
        (tool,) = (await wire.ask("tools/list"))["result"]["tools"]
    content = tool["inputSchema"]["properties"]["file_content"]
    assert (content["type"], content["contentEncoding"]) == ("string", "base64")


# ------------------------------------------------------------------ 5. caching


class SearchInput(BaseModel):
    words: dict[str, int]
    pages: int = 1


class CachedSearch(BaseWidget):
    identifier = "cached_search"
    title = "Search"
    input_schema = SearchInput

    async def execute(self, inputs: SearchInput, ctx):  # type: ignore[no-untyped-def]  # as on the page
        cache_key = self.generate_cache_key(inputs)
        cached_result = await ctx.state.get(f"cache:{cache_key}")
        if cached_result:
            ctx.logger.info(f"Cache hit for key: {cache_key}")
            return {**cached_result, "cached": True, "cache_key": cache_key}
        result = await self.expensive_operation(inputs)
        await ctx.state.set(f"cache:{cache_key}", result, ttl=3600)
        return {**result, "cached": False, "cache_key": cache_key}

    def generate_cache_key(self, inputs: Any) -> str:
        data = inputs.dict(sort_keys=True)
        data_str = json.dumps(data, sort_keys=True)
        return hashlib.md5(data_str.encode()).hexdigest()

    async def expensive_operation(self, inputs: Any) -> dict[str, Any]:
        return {"result": uuid.uuid4().hex}


class KeyedSearch(CachedSearch):
    """The better way: a key that the toolkit makes, whatever the inputs hold."""

    identifier = "keyed_search"

    async def execute(self, inputs: SearchInput, ctx: WidgetContext) -> dict[str, Any]:
        key = ctx.cache_key(inputs)
        found = await ctx.state.get(key)
        if found is not None:
            return {**found, "cached": True, "cache_key": key}
        result = await self.expensive_operation(inputs)
        await ctx.state.set(key, result, ttl=3600)
        return {**result, "cached": False, "cache_key": key}


@pytest.mark.parametrize("tool", ["cached_search", "keyed_search"])
@async_test
async def test_equal_inputs_hit_the_cache_in_whatever_order_their_keys_come(tool: str) -> None:
    async with serving(CachedSearch, KeyedSearch) as (_, wire):
        first = await data_of(wire, tool, words={"sea": 1, "salt": 2})
        again = await data_of(wire, tool, pages=1, words={"salt": 2, "sea": 1})
        other = await data_of(wire, tool, words={"sea": 1}, pages=2)
    assert [first["cached"], again["cached"], other["cached"]] == [False, True, False]
    assert again["result"] == first["result"] != other["result"]
    assert again["cache_key"] == first["cache_key"] != other["cache_key"]


# ------------------------------------------------------------------ 6. errors and logs


class PaymentInput(BaseModel):
    amount: float
    way: str = "fine"


class Payment(BaseWidget):
    identifier = "payment"
    title = "Payment"
    input_schema = PaymentInput

    async def execute(self, inputs: PaymentInput, ctx):  # type: ignore[no-untyped-def]  # as on the page
        ctx.logger.info(f"Starting execution with inputs: {inputs.dict()}")
        try:
            self.validate_inputs(inputs)
            result = await self.main_logic(inputs, ctx)
            ctx.logger.info("Execution completed successfully")
            return result
        except ValidationError as e:
            ctx.logger.warning(f"Validation error: {e}")
            return {
                "error": "validation_error",
                "message": str(e),
                "field": getattr(e, "field", None),
            }
        except TimeoutError as e:
            ctx.logger.error(f"Timeout error: {e}")
            return {"error": "timeout_error", "fallback": {"status": "fallback"}}
        except Exception as e:
            ctx.logger.exception(f"Unexpected error: {e}")
            ctx.logger.error(f"Traceback: {traceback.format_exc()}")
            return {"error": "internal_error", "error_id": ctx.logger.get_correlation_id()}

    def validate_inputs(self, inputs: PaymentInput) -> None:
        if inputs.amount < 0:
            raise ValidationError("Amount cannot be negative")

    async def main_logic(self, inputs: PaymentInput, ctx: WidgetContext) -> dict[str, Any]:
        if inputs.way == "slow":
            raise TimeoutError("the bank sleeps")
        if inputs.way == "bad":
            raise KeyError("the bank's answer")
        return {"paid": inputs.amount}


@pytest.mark.parametrize(
    ("arguments", "expected", "level"),
    [
        ({"amount": 3}, {"paid": 3.0}, "INFO"),
        (
            {"amount": -1},
            {
                "error": "validation_error",
                "message": "Amount cannot be negative",
                "field": None,
            },
            "WARNING",
        ),
        (
            {"amount": 3, "way": "slow"},
            {"error": "timeout_error", "fallback": {"status": "fallback"}},
            "ERROR",
        ),
    ],
)
@async_test
async def test_handlers_of_a_widgets_own_say_what_they_say(
    caplog: pytest.LogCaptureFixture,
    arguments: dict[str, Any],
    expected: dict[str, Any],
    level: str,
) -> None:
    caplog.set_level(logging.INFO, logger="app")
    async with serving(Payment) as (_, wire):
        assert await data_of(wire, "payment", **arguments) == expected
    assert level in {record.levelname for record in caplog.records if record.name == "app"}


@async_test
async def test_an_error_id_is_the_correlation_id_of_the_log_lines_and_of_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="app")
    async with serving(Payment) as (_, wire):
        answer = await wire.post(
            "tools/call",
            {"name": "payment", "arguments": {"amount": 3, "way": "bad"}},
            headers={"x-request-id": "from-the-proxy-1"},
        )
    found = answer.json()["result"]["structuredContent"]
    assert found == {"error": "internal_error", "error_id": "from-the-proxy-1"}
    assert answer.headers["x-request-id"] == "from-the-proxy-1"
    lines = [record for record in caplog.records if record.name == "app"]
    assert len(lines) == 3
    assert {record.correlation_id for record in lines} == {"from-the-proxy-1"}  # type: ignore[attr-defined]  # the logger adds it


class PlainPayment(Payment):
    """The better way: let errors pass; the model hears what is for it, the log has the rest."""

    identifier = "plain_payment"

    async def execute(self, inputs: PaymentInput, ctx: WidgetContext) -> dict[str, Any]:
        if inputs.amount < 0:
            raise ValidationError("Amount cannot be negative", field="amount")
        return await self.main_logic(inputs, ctx)


@async_test
async def test_an_uncaught_validation_error_reaches_the_model_with_its_field() -> None:
    async with serving(PlainPayment) as (_, wire):
        result = await wire.call("plain_payment", amount=-1)
    assert result["isError"] is True
    assert result["structuredContent"] == {
        "error": "validation_error",
        "message": "Amount cannot be negative",
        "field": "amount",
    }


@async_test
async def test_an_uncaught_error_gives_the_model_an_id_and_the_log_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(PlainPayment) as (_, wire):
        result = await wire.call("plain_payment", amount=1, way="bad")
    error_id = result["structuredContent"]["error_id"]
    assert "bank" not in json.dumps(result)
    (line,) = [record for record in caplog.records if record.exc_info]
    assert line.correlation_id == error_id  # type: ignore[attr-defined]  # added by the call
    assert "the bank's answer" in caplog.text


# ------------------------------------------------------------------ 7. work that outlives the call


class PrintInput(BaseModel):
    pages: int


class PrintWidget(BaseWidget):
    identifier = "print"
    title = "Print"
    input_schema = PrintInput

    def __init__(self, answered: asyncio.Event, done: asyncio.Event) -> None:
        self.answered, self.done = answered, done
        self.kept: set[asyncio.Task[None]] = set()

    async def execute(self, inputs: PrintInput, ctx):  # type: ignore[no-untyped-def]  # as on the page
        task_id = self.generate_task_id()
        started = asyncio.create_task(self.run_background_task(task_id, inputs, ctx))
        self.kept.add(started)
        return {"task_id": task_id, "status": "started"}

    async def run_background_task(self, task_id: str, inputs: PrintInput, ctx: Any) -> None:
        try:
            await self.answered.wait()
            ctx.logger.info(f"Background task {task_id} started")
            for i in range(inputs.pages):
                if i == 3:
                    raise RuntimeError("no paper")
                ctx.logger.info(f"Background task {task_id} progress: {i}/{inputs.pages}")
            await ctx.state.set(f"task:{task_id}", {"status": "completed"})
        except Exception as e:
            ctx.logger.exception(f"Background task {task_id} failed: {e}")
            await ctx.state.set(f"task:{task_id}", {"status": "failed", "error": str(e)})
        finally:
            self.done.set()

    def generate_task_id(self) -> str:
        return str(uuid.uuid4())


class PrintStatusInput(BaseModel):
    task_id: str


@pytest.mark.parametrize(
    ("pages", "expected"),
    [(2, {"status": "completed"}), (5, {"status": "failed", "error": "no paper"})],
)
@async_test
async def test_a_plain_task_goes_on_with_ctx_after_the_answer(
    caplog: pytest.LogCaptureFixture, pages: int, expected: dict[str, Any]
) -> None:
    caplog.set_level(logging.INFO, logger="app")
    answered, done = asyncio.Event(), asyncio.Event()
    app = FastAPI()
    add_tasks(app, database="memory://")
    add_state(app, "memory://")
    ids: list[WidgetContext] = []

    class Spying(PrintWidget):
        async def execute(self, inputs: PrintInput, ctx: WidgetContext) -> Any:
            ids.append(ctx)
            return await super().execute(inputs, ctx)

    widget = Spying(answered, done)
    WidgetMCPServer("print", widgets=[widget]).mount(app)
    async with running(app) as client:
        wire = Wire(client)
        await wire.hello()
        found = await data_of(wire, "print", pages=pages)
        assert found["status"] == "started"
        (ctx,) = ids
        assert ctx.moment.name == "CLOSED"
        answered.set()
        await done.wait()
        assert await ctx.state.get(f"task:{found['task_id']}") == expected
    lines = [record for record in caplog.records if record.name == "app"]
    assert len(lines) >= 3
    assert {record.correlation_id for record in lines} == {ctx.correlation_id}  # type: ignore[attr-defined]  # the logger adds it


class BetterPrint(BaseWidget):
    """The better way: the app knows of the work, waits for it when it stops, and logs it."""

    identifier = "better_print"
    title = "Print"
    input_schema = PrintInput

    async def execute(self, inputs: PrintInput, ctx: WidgetContext) -> dict[str, Any]:
        ctx.tasks.schedule(self.print_all, inputs.pages, ctx)
        return {"printed_before": await ctx.state.get("printed")}

    async def print_all(self, pages: int, ctx: WidgetContext) -> None:
        await ctx.state.set("printed", pages)


class Printed(BaseWidget):
    identifier = "printed"
    title = "Printed"

    async def execute(self, inputs: BaseModel, ctx: WidgetContext) -> dict[str, Any]:
        return {"printed": await ctx.state.scope("printer").get("pages", 0)}


PRINTED: list[tuple[int, str]] = []


@task(name="seed_patterns.print")
async def print_durably(pages: int) -> None:
    from backstay import current_context

    ctx = current_context()
    PRINTED.append((pages, ctx.correlation_id))
    await ctx.state.scope("printer").set("pages", pages)


class DurablePrint(BaseWidget):
    """The best way for what must not be lost: written with the call, run by any worker."""

    identifier = "durable_print"
    title = "Print"
    input_schema = PrintInput

    async def execute(self, inputs: PrintInput, ctx: WidgetContext) -> dict[str, Any]:
        job = ctx.tasks.durable.schedule(print_durably, inputs.pages)
        if inputs.pages > 100:
            raise ValidationError("at most 100 pages", field="pages")
        return {"scheduled": job.id is not None}


@async_test
async def test_scheduled_work_goes_on_with_ctx_after_the_answer() -> None:
    async with serving(BetterPrint) as (client, wire):
        first = await data_of(wire, "better_print", pages=7)
        await client.tasks.settle()
        second = await data_of(wire, "better_print", pages=8)
    assert (first, second) == ({"printed_before": None}, {"printed_before": 7})


@async_test
async def test_durable_work_is_done_once_and_carries_the_calls_id() -> None:
    PRINTED.clear()
    async with serving(DurablePrint, Printed) as (client, wire):
        await wire.post(
            "tools/call",
            {"name": "durable_print", "arguments": {"pages": 9}},
            headers={"x-request-id": "print-nine"},
        )
        await client.drain()
        assert await data_of(wire, "printed") == {"printed": 9}
    assert PRINTED == [(9, "print-nine")]


@async_test
async def test_durable_work_of_a_call_that_failed_is_never_written() -> None:
    PRINTED.clear()
    async with serving(DurablePrint) as (client, wire):
        result = await wire.call("durable_print", pages=101)
        assert result["isError"] is True
        await client.drain()
    assert PRINTED == []
