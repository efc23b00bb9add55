"""What is put into the cache, and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Fill", "Outcome", "Status"]

Status: TypeAlias = Literal["HIT", "MISS", "STALE", "BYPASS"]


@dataclass(frozen=True, slots=True)
class Fill:
    """What a producer made, to be kept.

    Attributes:
        value: the bytes.
        ttl_s: seconds to live; ``None``: what ``get_or_fill`` was told.
        tags: by which it can be invalidated, besides those that ``get_or_fill`` was given. Those
            are the better ones: it is known what they stood at before the value was made. With
            these, a value is not kept if one of them was invalidated shortly before or while it
            was made (unless the key had the same ones before).
    """

    value: bytes
    ttl_s: float | None = None
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of asking the cache.

    Attributes:
        value: the bytes. ``None`` only from ``get_or_fill``, and only if this caller's own
            producer ran and returned ``None``: whatever it made is the caller's alone.
        status: ``"HIT"``: it was there, or somebody else who had begun was making it; ``"MISS"``:
            this caller's producer made it; ``"STALE"``: it was there, a little too old, and is
            being made anew; ``"BYPASS"``: this caller's producer ran, and what it made was not
            kept, because the store is out of reach or the producer returned ``None``.
        age_s: seconds since it was made.
        left_s: seconds until it is too old; negative if it is stale.
    """

    value: bytes | None
    status: Status
    age_s: float
    left_s: float
