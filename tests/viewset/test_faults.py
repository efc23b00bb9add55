"""What a database's errors are about, and what the client is told of them."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError

from backstay.db import Database
from backstay.errors import DatabaseUnavailable, ItemConflict, ItemInvalid, VersionMismatch
from backstay.viewset.faults import UNWRAPPED, Fault, fault_of
from tests.support import async_test
from tests.viewset.stage import (
    Base,
    CustomerRow,
    LineRow,
    OrderRow,
    ThingRow,
    needs_postgres,
    url_of,
)

DRIVERS = [
    "sqlite",
    pytest.param("postgresql+asyncpg", marks=needs_postgres),
    pytest.param("postgresql+psycopg", marks=needs_postgres),
]
CASES: dict[str, tuple[Any, dict[str, Any], type[Any], str, Fault]] = {
    "taken": (
        insert(ThingRow),
        {"id": 2, "name": "cup"},
        ThingRow,
        "POST",
        Fault("taken", ("name",)),
    ),
    "taken key": (
        insert(ThingRow),
        {"id": 1, "name": "x"},
        ThingRow,
        "POST",
        Fault("taken", ("id",)),
    ),
    "empty": (insert(ThingRow), {"name": None}, ThingRow, "POST", Fault("empty", ("name",))),
    "used": (delete(CustomerRow), {}, CustomerRow, "DELETE", Fault("used", ())),
    "unstorable number": (
        insert(ThingRow),
        {"name": "big", "price": 2**70},
        ThingRow,
        "POST",
        Fault("value"),
    ),
    "unstorable text": (insert(ThingRow), {"name": "\ud800"}, ThingRow, "POST", Fault("value")),
}


async def provoke(driver: str, tmp_path: Path, statement: Any, values: dict[str, Any]) -> Any:
    with url_of(driver.partition("+")[0], tmp_path) as url:
        database = Database(url.replace("postgresql:", f"{driver}:"))
        try:
            async with database.async_engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
                await connection.execute(insert(ThingRow).values(id=1, name="cup"))
                await connection.execute(insert(CustomerRow).values(id=1, email="a"))
                await connection.execute(insert(OrderRow).values(id=1, customer_id=1))
            with pytest.raises((SQLAlchemyError, *UNWRAPPED)) as caught:
                await database.write(statement, values or None)
            return caught.value
        finally:
            await database.close()


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("case", CASES)
@async_test
async def test_each_kind_is_known_with_each_driver(driver: str, case: str, tmp_path: Path) -> None:
    statement, values, model, method, expected = CASES[case]
    error = await provoke(driver, tmp_path, statement, values)
    fault = fault_of(error, method=method, db_model=model)
    assert fault is not None
    assert fault.kind == expected.kind
    if case != "used":  # SQLite does not say by what
        assert fault.names == expected.names


@pytest.mark.parametrize("driver", DRIVERS)
@async_test
async def test_a_reference_to_nothing_is_the_clients_fault(driver: str, tmp_path: Path) -> None:
    new = {"order_id": 99, "sku": "x", "quantity": 1}
    error = await provoke(driver, tmp_path, insert(LineRow), new)
    fault = fault_of(error, db_model=LineRow)
    assert fault is not None
    assert fault.kind == "missing"
    assert fault.names == (() if driver == "sqlite" else ("order_id",))


@pytest.mark.parametrize("driver", DRIVERS)
@async_test
async def test_what_is_wrong_with_the_program_is_nobody_elses_fault(
    driver: str, tmp_path: Path
) -> None:
    error = await provoke(driver, tmp_path, text("SELECT * FROM nowhere"), {})
    assert fault_of(error) is None


def test_what_passes_by_itself_is_a_503() -> None:
    fault = fault_of(PoolTimeout("QueuePool limit of size 5 overflow 10 reached"))
    assert fault == Fault("busy")
    answer = fault.as_answer({})
    assert isinstance(answer, DatabaseUnavailable)
    assert answer.retry_after_s


def test_a_row_that_somebody_else_has_changed_is_another_version() -> None:
    fault = fault_of(StaleDataError("UPDATE statement on table expected to update 1 row(s)"))
    assert fault is not None
    assert isinstance(fault.as_answer({}), VersionMismatch)


def test_a_field_is_told_by_the_name_that_clients_know() -> None:
    answer = Fault("taken", ("email",)).as_answer({"email": "eMail"})
    assert isinstance(answer, ItemConflict)
    assert answer.public_detail == "eMail: there is one with this value already."
    assert answer.public_members["errors"][0]["loc"] == ["body", "eMail"]


def test_a_column_that_clients_do_not_know_is_not_told() -> None:
    answer = Fault("empty", ("password_hash",)).as_answer({"email": "email"})
    assert isinstance(answer, ItemInvalid)
    assert "password" not in answer.public_detail + str(answer.public_members)


def test_other_errors_are_none_of_ours() -> None:
    assert fault_of(ValueError("x")) is None
