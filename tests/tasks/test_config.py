"""The options of a task."""

import math
from typing import Any

import pytest

from backstay.tasks import Retry, TaskConfig


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": 3}, TypeError),
        ({"shield": "yes"}, TypeError),
        ({"wait": 1}, TypeError),
        ({"on_error": "report"}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"timeout": math.nan}, ValueError),
        ({"timeout": "5"}, ValueError),
        ({"timeout": True}, ValueError),
        ({"retry": 3}, TypeError),
        ({"when": "sometimes"}, ValueError),
        ({"limit": 0}, ValueError),
        ({"limit": 1.5}, ValueError),
    ],
)
def test_nonsense_is_refused_with_option_and_value(
    options: dict[str, Any], error: type[Exception]
) -> None:
    [(option, value)] = options.items()
    with pytest.raises(error, match=f"{option}=") as raised:
        TaskConfig(**options)
    assert repr(value) in str(raised.value)


def test_a_limit_key_needs_a_limit_and_a_hash() -> None:
    with pytest.raises(ValueError, match="needs a limit="):
        TaskConfig(limit_key="tenant")
    with pytest.raises(TypeError, match="hashable"):
        TaskConfig(limit=1, limit_key=["tenant"])


def test_what_is_said_wins_over_the_defaults_and_the_rest_stays() -> None:
    defaults = TaskConfig(timeout=5, shield=True, retry=Retry(attempts=2))
    config = TaskConfig(timeout=1, shield=False).over(defaults)
    assert (config.timeout, config.shield, config.retry) == (1, False, Retry(attempts=2))
    assert TaskConfig().over(defaults) is defaults


def test_plain_means_that_one_call_is_all_there_is() -> None:
    assert TaskConfig(name="x", shield=True, limit=3).plain
    assert not TaskConfig(timeout=1).plain
    assert not TaskConfig(retry=Retry()).plain
    assert not TaskConfig().over(TaskConfig(timeout=1)).plain
