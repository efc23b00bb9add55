"""Integrations are told by what they have."""

from types import SimpleNamespace
from typing import Any

import pytest

from backstay.pattern.integrations import read_integrations

GOOD = SimpleNamespace(
    integration=SimpleNamespace(name="geo", docs={}), base_url="https://geo.example"
)


def test_what_looks_like_integrations_is_taken() -> None:
    assert read_integrations([GOOD]) == (GOOD,)
    assert read_integrations(None) == ()


@pytest.mark.parametrize(
    ("wrong", "missing"),
    [
        (object(), "no integration, no base_url"),
        (SimpleNamespace(integration=GOOD.integration), "no base_url"),
        (SimpleNamespace(integration=object(), base_url=""), "no integration.name"),
        ("geo", "no integration"),
    ],
)
def test_anything_else_is_not(wrong: Any, missing: str) -> None:
    with pytest.raises(TypeError, match=missing):
        read_integrations([GOOD, wrong])
