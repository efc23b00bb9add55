"""The rule for trying again."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.tasks import Retry

chances = st.floats(0, 1, exclude_max=True)
failures = st.integers(1, 10_000)
seconds = st.floats(0, 1e6)


@given(
    backoff=st.sampled_from(["exponential", "linear", "constant"]),
    base_s=seconds,
    max_s=seconds,
    made=failures,
    chance=chances,
)
def test_a_pause_is_finite_and_between_half_the_rule_and_its_maximum(
    backoff: Any, base_s: float, max_s: float, made: int, chance: float
) -> None:
    plain = Retry(backoff=backoff, base_s=base_s, max_s=max_s, jitter=False)
    jittered = Retry(backoff=backoff, base_s=base_s, max_s=max_s, jitter=True)
    whole = plain.pause_s(made, chance)
    assert 0 <= whole <= max_s
    assert whole / 2 <= jittered.pause_s(made, chance) <= whole


@given(base_s=st.floats(0.01, 100), made=st.integers(1, 20))
def test_exponential_doubles_linear_adds_constant_stays(base_s: float, made: int) -> None:
    def pause_s(backoff: Any, failures: int) -> float:
        return Retry(backoff=backoff, base_s=base_s, max_s=1e9, jitter=False).pause_s(failures, 0)

    assert pause_s("exponential", made + 1) == 2 * pause_s("exponential", made)
    assert math.isclose(pause_s("linear", made + 1) - pause_s("linear", made), base_s, rel_tol=1e-6)
    assert pause_s("constant", made) == base_s


def test_a_backoff_of_ones_own_is_asked_and_bounded() -> None:
    retry = Retry(backoff=lambda made: made * 100.0, max_s=250, jitter=False)
    assert [retry.pause_s(made, 0) for made in (1, 2, 3)] == [100, 200, 250]
    assert Retry(backoff=lambda made: -5.0).pause_s(1, 0.9) == 0


@given(attempts=st.integers(1, 50), made=st.integers(1, 100))
def test_attempts_counts_runs_the_first_included(attempts: int, made: int) -> None:
    assert Retry(attempts=attempts).wants(ValueError(), made) is (made < attempts)


def test_on_is_types_or_a_question() -> None:
    assert Retry(on=ConnectionError).wants(ConnectionResetError(), 1)
    assert not Retry(on=ConnectionError).wants(ValueError(), 1)
    assert Retry(on=(KeyError, ValueError)).wants(ValueError(), 1)
    assert Retry(on=lambda error: "busy" in str(error)).wants(OSError("busy"), 1)
    assert not Retry(on=lambda error: "busy" in str(error)).wants(OSError("gone"), 1)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"attempts": 0}, ValueError),
        ({"attempts": True}, ValueError),
        ({"attempts": 2.5}, ValueError),
        ({"base_s": -1}, ValueError),
        ({"base_s": math.nan}, ValueError),
        ({"max_s": math.inf}, ValueError),
        ({"backoff": "cubic"}, TypeError),
        ({"on": "ValueError"}, TypeError),
        ({"on": KeyboardInterrupt}, TypeError),
        ({"on": (ValueError, 3)}, TypeError),
    ],
)
def test_nonsense_is_refused_with_the_value_found(
    options: dict[str, Any], error: type[Exception]
) -> None:
    [value] = options.values()
    with pytest.raises(error, match=r"Retry\(.*got ") as raised:
        Retry(**options)
    assert repr(value) in str(raised.value)
