"""Options that make no sense are refused where they are written."""

from datetime import timedelta
from typing import Any

import pytest

from backstay.errors import BadIntegration
from backstay.integration.stability.options import read_count, read_fraction, read_seconds


@pytest.mark.parametrize("value", [1.5, timedelta(seconds=1.5)])
def test_seconds_are_a_number_or_a_timedelta(value: Any) -> None:
    assert read_seconds(value, "x") == 1.5


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1", True, timedelta(0)])
def test_seconds_are_finite_and_more_than_nothing(value: Any) -> None:
    with pytest.raises(BadIntegration, match="Timeout"):
        read_seconds(value, "Timeout(seconds=)")


def test_seconds_may_be_none_at_all_where_that_makes_sense() -> None:
    assert read_seconds(0, "x", zero=True) == 0


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1"])
def test_counts_are_whole_numbers_that_count_something(value: Any) -> None:
    with pytest.raises(BadIntegration):
        read_count(value, "x")


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), True, "0"])
def test_fractions_are_from_nothing_to_all(value: Any) -> None:
    with pytest.raises(BadIntegration):
        read_fraction(value, "x")
