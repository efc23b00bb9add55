"""Every store keeps every promise of the port."""

import pytest

from backstay.errors import BadIntegration
from backstay.integration.stability.shared.port import Pace
from tests.integration.stability.shared.shared_stores import (
    OnMemory,
    OnPostgres,
    OnPostgresByPsycopg,
    OnRedis,
    OnSqlite,
)


class TestMemory(OnMemory):
    """In memory."""


class TestSqlite(OnSqlite):
    """In a SQLite file."""


class TestPostgres(OnPostgres):
    """In PostgreSQL, by asyncpg."""


class TestPostgresByPsycopg(OnPostgresByPsycopg):
    """The same by psycopg."""


class TestRedis(OnRedis):
    """In Redis."""


@pytest.mark.parametrize("rate", [0.001, 1 / 3, 3, 7, 1000, 7000, 333_333, 1e6, 1e9])
def test_a_pace_is_never_faster_than_was_said(rate: float) -> None:
    assert 1_000_000 / Pace(rate, 1).each_us <= rate
    assert Pace(rate, 5).slack_us == 4 * Pace(rate, 5).each_us


def test_a_pace_that_no_store_could_count_is_refused() -> None:
    with pytest.raises(BadIntegration, match="35 years"):
        Pace(1e-9, 2)
