"""Memory is the plainest store: what it must keep is proved with the others, in ``test_port``."""

import pytest

from backstay.clock import SystemClock
from backstay.integration.stability.shared.memory_store import MemoryStore, microseconds
from backstay.integration.stability.shared.port import ANY_EPOCH
from tests.support import async_test


@async_test
async def test_without_a_clock_it_goes_by_the_machine() -> None:
    before = microseconds(SystemClock().now().timestamp())
    found = await MemoryStore().trip(bytes(16), epoch=ANY_EPOCH, reset_s=1)
    assert before <= found.epoch <= microseconds(SystemClock().now().timestamp())


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, 0), (0.1 + 0.2, 300_000), (1e-7, 0), (86_400.5, 86_400_500_000)]
)
def test_seconds_are_whole_microseconds(seconds: float, expected: int) -> None:
    assert microseconds(seconds) == expected
