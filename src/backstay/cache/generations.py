"""What tags stand at: marks that are never the same twice.

Whoever invalidates a tag gives it a new mark, made of the time and of chance. A value carries the
marks that its tags had before it was made, and is good for as long as they all still have them.
A mark that got lost (evicted, expired) is not replaced by anything a value could carry, so nothing
that was invalidated ever comes back.
"""

from __future__ import annotations

import struct

from backstay.cache.entry import GENERATION_BYTES
from backstay.clock import Clock

__all__ = ["GENERATION_TTL_S", "bumped_since", "first_generation", "new_generation"]

GENERATION_TTL_S = 30 * 86_400.0
"""How long a mark is kept. Values of a tag whose mark is lost are made anew, and that is all."""

# The clocks of several machines differ by less, if anybody looks after them.
_SKEW_S = 0.25

_TIME = struct.Struct(">Q")
_CHANCE_DIGITS = 2 * (GENERATION_BYTES - _TIME.size)


def new_generation(clock: Clock) -> bytes:
    """The mark of a tag that is invalidated now."""
    return _TIME.pack(max(0, int(clock.now().timestamp() * 1e6))) + _chance(clock)


def first_generation(clock: Clock) -> bytes:
    """The mark of a tag that has none: nobody has invalidated it, as far as anybody knows."""
    return _TIME.pack(0) + _chance(clock)


def bumped_since(generation: bytes, moment: float, *, one_clock: bool = False) -> bool:
    """Whether a tag may have been invalidated after ``moment``.

    Args:
        generation: what it stands at.
        moment: in seconds since the epoch.
        one_clock: whether the two times are of one clock; else other machines' may be behind.
    """
    if len(generation) != GENERATION_BYTES:
        return True
    (microseconds,) = _TIME.unpack_from(generation)
    return bool(microseconds / 1e6 > (moment if one_clock else moment - _SKEW_S))


def _chance(clock: Clock) -> bytes:
    return bytes.fromhex(clock.new_id()[-_CHANCE_DIGITS:])
