"""A value as it lies in a store: with its times, and with what its tags stood at."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Entry", "GENERATION_BYTES", "pack", "unpack"]

GENERATION_BYTES = 16
"""Of the mark that a tag carries; a new one each time that it is invalidated."""

# What it is, the version of the format, when it was made, how long it is good and how long it is
# better than nothing, and how many tags follow.
_HEAD = struct.Struct(">2sBdddH")
_LENGTH = struct.Struct(">H")
_MAGIC = b"bc"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One value.

    Attributes:
        value: the bytes that were made.
        stored_at: when, in seconds since the epoch.
        ttl_s: for how many seconds it is good.
        stale_s: for how many more it is better than nothing.
        generations: what each of its tags stood at before it was made.
    """

    value: bytes
    stored_at: float
    ttl_s: float
    stale_s: float
    generations: Mapping[str, bytes]


def pack(entry: Entry) -> bytes:
    """The entry as bytes."""
    pieces = [
        _HEAD.pack(
            _MAGIC,
            _VERSION,
            entry.stored_at,
            entry.ttl_s,
            entry.stale_s,
            len(entry.generations),
        )
    ]
    for tag, generation in entry.generations.items():
        name = tag.encode("utf-8", "surrogatepass")
        pieces += (_LENGTH.pack(len(name)), name, generation)
    pieces.append(entry.value)
    return b"".join(pieces)


def unpack(raw: bytes) -> Entry | None:
    """The entry that the bytes are; ``None`` if they are none of ours, or of another version."""
    try:
        magic, version, stored_at, ttl_s, stale_s, count = _HEAD.unpack_from(raw)
        if magic != _MAGIC or version != _VERSION:
            return None
        at = _HEAD.size
        generations = {}
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(raw, at)
            at += _LENGTH.size
            end = at + length + GENERATION_BYTES
            if end > len(raw):
                return None
            name = raw[at : at + length].decode("utf-8", "surrogatepass")
            generations[name] = raw[at + length : end]
            at = end
    except (struct.error, UnicodeDecodeError):
        return None
    return Entry(raw[at:], stored_at, ttl_s, stale_s, generations)
