"""Events as people read them; ``test_events`` shows whole pages."""

import pytest

from backstay.cli.event_page import took


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [
        (None, "-"),
        (0, "0.0 ms"),
        (0.44, "0.4 ms"),
        (12.3, "12 ms"),
        (999.4, "999 ms"),
        (3_210, "3.2 s"),
        (240_000, "4 min"),
        (360_000_000, "6,000 min"),
    ],
)
def test_durations_are_short_to_read(milliseconds: float | None, said: str) -> None:
    assert took(milliseconds) == said
