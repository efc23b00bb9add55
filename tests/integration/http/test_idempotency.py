"""Keys are new ones, and inside a durable job the same in every attempt at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from pydantic import BaseModel

from backstay.integration.http.idempotency import IdempotencyKeys
from backstay.tasks import Retry, Snooze, add_tasks, task
from backstay.testing import running
from backstay.web import install
from tests.support import async_test


def test_outside_of_any_work_each_call_has_its_own() -> None:
    keys = IdempotencyKeys()
    made = {keys.next("Names.get", {"a": 1}) for _ in range(3)}
    assert len(made) == 3
    assert all(UUID(each) for each in made)


KEYS = IdempotencyKeys()
ASKED: list[list[str]] = []


@task(name="keys.charge", retry=Retry(attempts=2, base_s=0))
async def charge(number: int) -> None:
    ASKED.append(
        [
            KEYS.next("Bank.charge", {"order": number}),
            KEYS.next("Bank.charge", {"order": number}),
            KEYS.next("Bank.charge", {"order": number + 1}),
            KEYS.next("Bank.refund", {"order": number, "odd": object}),
        ]
    )
    if len(ASKED) == 1:
        raise OSError("once more")
    if len(ASKED) == 2:
        raise Snooze(0)


@async_test
async def test_a_job_that_is_run_again_asks_with_the_same_keys(tmp_path: Path) -> None:
    ASKED.clear()
    app = FastAPI()
    install(app, env_file=None)
    add_tasks(app, database=f"sqlite:///{tmp_path}/x.db")
    async with running(app) as client:
        await (await client.durable.enqueue(charge, 7)).wait()
    first, second, third = ASKED
    assert first == second == third
    assert len(set(first)) == 4


class Silent:
    """Shows its address, where it is shown."""


class Order(BaseModel):
    tags: set[int]
    note: str = ""


@dataclass
class Parcel:
    scan: Any


MADE: list[list[str]] = []


def stream() -> Iterator[bytes]:
    yield b"all of it"


@task(name="keys.odd", retry=Retry(attempts=2, base_s=0))
async def odd() -> None:
    # As another process would have it: sets in another order, objects at another place.
    turned = bool(MADE)
    numbers = {0, 8} if turned else {8, 0}
    file, generator, nested = BytesIO(b"all of it"), stream(), BytesIO(b"all of it")
    arguments: list[Any] = [
        {"tags": numbers},
        {"tags": frozenset(numbers), "in": ["a", numbers, (numbers,)]},
        {"new": Order(tags=numbers)},
        {"new": Order(tags=numbers, note="other")},
        {"scan": file, "stream": generator},
        {"parcel": Parcel(nested)},
        {"silent": Silent()},
        {"raw": b"\xff", "type": Silent, "far": float("inf"), "by": {(1, 2): Decimal("1.0")}},
    ]
    MADE.append([KEYS.next("Bank.charge", each) for each in arguments])
    left = (file.read(), b"".join(generator), nested.read())
    assert left == (b"all of it",) * 3
    if not turned:
        raise OSError("once more")


@async_test
async def test_what_differs_from_process_to_process_is_not_in_a_key_and_files_are_not_read(
    tmp_path: Path,
) -> None:
    MADE.clear()
    app = FastAPI()
    install(app, env_file=None)
    add_tasks(app, database=f"sqlite:///{tmp_path}/x.db")
    async with running(app) as client:
        await (await client.durable.enqueue(odd)).wait()
    first, second = MADE
    assert first == second
    assert len(set(first)) == 8
