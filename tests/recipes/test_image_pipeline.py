"""An uploaded picture: made smaller, delivered, recorded, and no file left behind."""

import asyncio
import io
import json
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiofiles
import httpx
import pytest
from fastapi import FastAPI, UploadFile
from PIL import Image, UnidentifiedImageError

from backstay import current_context
from backstay.tasks import Succeeded, Task, Tasks, add_tasks
from backstay.testing import running
from tests.recipes.servers import (
    Arrival,
    RecordingServer,
    http_client,
    recording_server,
    served,
)
from tests.recipes.store import Store
from tests.support import async_test

SCHEMA = """
create table pictures (
    id integer primary key, owner integer,
    original text, optimized text, thumb text, facts text
);
"""

VERSIONS = ("original", "optimized", "thumb")


def optimize(source: Path, target: Path) -> None:
    with Image.open(source) as picture:
        picture.save(target, optimize=True, quality=60)


def shrink(source: Path, target: Path, size: tuple[int, int] = (300, 300)) -> None:
    with Image.open(source) as picture:
        picture.thumbnail(size)
        picture.save(target, optimize=True, quality=85)


class Gallery:
    """What the gallery's tasks do, and what they need for it.

    Attributes:
        workshop: where files lie while they are worked on.
        given: the tasks, one an upload.
        errors: what the error handler was told.
    """

    def __init__(self, folder: Path, parties: RecordingServer) -> None:
        self.store = Store(folder / "gallery.db", SCHEMA)
        self.workshop = folder / "workshop"
        self.workshop.mkdir()
        self.parties_url = parties.url
        self.given: list[Task] = []
        self.errors: list[Exception] = []

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        async with http_client(self.parties_url) as self.http:
            yield

    def files_of(self, upload: Path) -> dict[str, Path]:
        """Where each version of an upload lies."""
        return {
            version: upload
            if version == "original"
            else upload.with_stem(f"{upload.stem}-{version}")
            for version in VERSIONS
        }

    def clean_up(self, upload: Path) -> None:
        for path in self.files_of(upload).values():
            path.unlink(missing_ok=True)

    async def deliver(self, path: Path, place: str) -> str:
        async with aiofiles.open(path, "rb") as file:
            content = await file.read()
        answer = await self.http.put(
            f"/cdn/{place}", content=content, headers={"Authorization": "Bearer cdn-key"}
        )
        answer.raise_for_status()
        return str(answer.json()["url"])

    async def process(self, owner: int, upload: Path, name: str) -> int:
        files = self.files_of(upload)
        await asyncio.to_thread(optimize, upload, files["optimized"])
        await asyncio.to_thread(shrink, upload, files["thumb"])
        async with asyncio.TaskGroup() as group:
            deliveries = {
                version: group.create_task(self.deliver(path, f"{owner}/{version}/{name}"))
                for version, path in files.items()
            }
        urls = [deliveries[version].result() for version in VERSIONS]
        picture_id = await asyncio.to_thread(
            self.store.run,
            "insert into pictures (owner, original, optimized, thumb, facts)"
            " values (?, ?, ?, ?, ?)",
            *(owner, *urls, json.dumps({"name": name})),
        )
        self.clean_up(upload)
        await self.http.post("/events", json={"event": "picture added", "picture": picture_id})
        return picture_id

    async def discard(self, task: Task, error: Exception) -> None:
        self.errors.append(error)
        _, upload, name = task.args
        self.clean_up(upload)
        current_context().logger.error("the picture %r was not processed: %r", name, error)


def make_app(gallery: Gallery) -> FastAPI:
    app = FastAPI(lifespan=gallery.lifespan)
    add_tasks(app)

    @app.post("/pictures", status_code=202)
    async def upload(file: UploadFile, owner: int, tasks: Tasks) -> dict[str, str]:
        # What the client calls its file names no path here: two may say the same, or "../x".
        name = Path(file.filename or "picture").name
        path = gallery.workshop / f"{uuid.uuid4().hex}{Path(name).suffix}"
        async with aiofiles.open(path, "wb") as copy:
            while part := await file.read(64 * 1024):
                await copy.write(part)
        given = tasks.task(name=f"picture_{owner}_{name}", on_error=gallery.discard).schedule(
            gallery.process, owner, path, name
        )
        gallery.given.append(given)
        return {"status": "processing", "name": name}

    return app


def a_picture(width: int, height: int, kind: str = "JPEG") -> bytes:
    """Noise, which no format can make small for free."""
    picture = Image.effect_noise((width, height), 60).convert("RGB")
    file = io.BytesIO()
    picture.save(file, kind, quality=95)
    return file.getvalue()


def cdn(arrival: Arrival) -> tuple[int, object]:
    return 201, {"url": arrival.path.replace("/cdn/", "https://cdn.example.com/")}


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", "jpg"), ("PNG", "png")])
@async_test
async def test_every_version_is_delivered_recorded_and_gone_from_the_disk(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    content = a_picture(640, 400, kind)
    name = f"holiday.{suffix}"
    async with recording_server() as parties:
        parties.replies["/cdn/"] = cdn
        gallery = Gallery(tmp_path, parties)
        async with running(make_app(gallery)) as client:
            answer = await client.post(
                "/pictures", params={"owner": 7}, files={"file": (name, content)}
            )
            await client.tasks.settle()

    assert answer.json() == {"status": "processing", "name": name}
    delivered = {each.path: each for each in parties.arrivals if each.method == "PUT"}
    assert sorted(delivered) == [f"/cdn/7/{version}/{name}" for version in sorted(VERSIONS)]
    assert {each.headers["Authorization"] for each in delivered.values()} == {"Bearer cdn-key"}
    assert delivered[f"/cdn/7/original/{name}"].body == content
    thumb = opened(delivered[f"/cdn/7/thumb/{name}"].body)
    assert (thumb.format, thumb.size) == (kind, (300, 188))
    optimized = delivered[f"/cdn/7/optimized/{name}"].body
    assert (opened(optimized).format, opened(optimized).size) == (kind, (640, 400))
    if kind == "JPEG":
        assert len(optimized) < len(content)
    [(owner, *urls, facts)] = gallery.store.rows(
        "select owner, original, optimized, thumb, facts from pictures"
    )
    assert owner == 7
    assert urls == [f"https://cdn.example.com/7/{version}/{name}" for version in VERSIONS]
    assert json.loads(facts) == {"name": name}
    assert parties.at("/events")[0].json() == {"event": "picture added", "picture": 1}
    [task] = gallery.given
    assert (task.name, task.outcome) == (f"picture_7_{name}", Succeeded(1))
    assert list(gallery.workshop.iterdir()) == []


@async_test
async def test_the_client_is_answered_while_the_picture_is_on_its_way(tmp_path: Path) -> None:
    async with recording_server() as parties:
        cdn_answers = parties.hold("/cdn/7/original/a.jpg", {"url": "late"})
        parties.replies["/cdn/"] = cdn
        gallery = Gallery(tmp_path, parties)
        async with served(make_app(gallery)) as client:
            answer = await client.post(
                "/pictures",
                params={"owner": 7},
                files={"file": ("a.jpg", a_picture(64, 64))},
            )
            assert answer.status_code == 202
            await parties.arrived("/cdn/7/original/a.jpg")
            [task] = gallery.given
            assert task.outcome is None
            assert len(list(gallery.workshop.iterdir())) == 3
            cdn_answers.set()

    assert task.outcome == Succeeded(1)
    assert gallery.store.rows("select original from pictures") == [("late",)]
    assert list(gallery.workshop.iterdir()) == []


@async_test
async def test_a_delivery_that_fails_stops_the_others_and_leaves_no_file_and_no_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with recording_server() as parties:
        never = parties.hold("/cdn/7/original/a.jpg")
        parties.replies["/cdn/7/thumb"] = lambda arrival: (507, {})
        parties.replies["/cdn/"] = cdn
        gallery = Gallery(tmp_path, parties)
        async with running(make_app(gallery)) as client:
            answer = await client.post(
                "/pictures",
                params={"owner": 7},
                files={"file": ("a.jpg", a_picture(64, 64))},
            )
            await client.tasks.settle()
        never.set()

    assert answer.status_code == 202
    [error] = gallery.errors
    assert isinstance(error, ExceptionGroup)
    [cause] = error.exceptions
    assert isinstance(cause, httpx.HTTPStatusError)
    assert cause.response.status_code == 507
    assert list(gallery.workshop.iterdir()) == []
    assert gallery.store.rows("select * from pictures") == []
    assert parties.at("/events") == []
    said = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert [each.name for each in said] == ["backstay.tasks", "app"]


@async_test
async def test_what_is_no_picture_is_discarded_and_the_next_one_processed(tmp_path: Path) -> None:
    async with recording_server() as parties:
        parties.replies["/cdn/"] = cdn
        gallery = Gallery(tmp_path, parties)
        async with running(make_app(gallery)) as client:
            for name, content in (("../a.jpg", b"hello"), ("b.jpg", a_picture(64, 64))):
                answer = await client.post(
                    "/pictures", params={"owner": 7}, files={"file": (name, content)}
                )
                assert answer.status_code == 202
            await client.tasks.settle()

    [error] = gallery.errors
    assert isinstance(error, UnidentifiedImageError)
    assert [task.name for task in gallery.given] == ["picture_7_a.jpg", "picture_7_b.jpg"]
    assert [json.loads(facts) for (facts,) in gallery.store.rows("select facts from pictures")] == [
        {"name": "b.jpg"}
    ]
    assert list(gallery.workshop.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery.db", "workshop"]
