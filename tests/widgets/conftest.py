"""State of these tests is in memory, where nobody has said otherwise: never a file of the checkout."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def state_in_memory() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKSTAY_STATE", "memory://")
        yield
