"""What was found in the store when somebody looked, and what may be concluded from it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from backstay.cache.entry import Entry, unpack
from backstay.cache.outcome import Outcome

__all__ = ["Reading"]


@dataclass(slots=True)
class Reading:
    """A look at one key and at its tags.

    Attributes:
        key: the key.
        tags: those that whoever asks gives the value.
        hinted: more tags, which the value may turn out to have.
        began_at: when it began, in seconds since the epoch.
        ticket: where it comes in the order of looks and of values begun, in this process.
        reached: whether the store answered.
        entry: what stands there, good or not.
        generations: what the tags stand at, ``None`` for those without a mark; also the tags that
            the entry has besides.
    """

    key: str
    tags: Sequence[str]
    began_at: float
    ticket: int = 0
    hinted: Sequence[str] = ()
    reached: bool = False
    entry: Entry | None = None
    generations: dict[str, bytes | None] = field(default_factory=dict)

    def take(self, values: Sequence[bytes | None]) -> list[str]:
        """What the store gave: for the key, then for each tag. The tags to be looked up besides."""
        self.reached = True
        raw = values[0]
        self.generations.update(zip((*self.tags, *self.hinted), values[1:], strict=True))
        if raw is None:
            return []
        self.entry = entry = unpack(raw)
        if entry is None:
            return []
        return [tag for tag in entry.generations if tag not in self.generations]

    @property
    def unmarked(self) -> list[str]:
        """The tags that have no mark."""
        return [tag for tag, generation in self.generations.items() if generation is None]

    def touches(self, tags: Container[str]) -> bool:
        """Whether it is about one of these."""
        theirs = () if self.entry is None else self.entry.generations
        return any(tag in tags for tag in (*self.tags, *theirs))

    @property
    def valid_entry(self) -> Entry | None:
        """The entry, if none of its tags was invalidated since it was made."""
        entry = self.entry
        if entry is None:
            return None
        theirs = entry.generations
        for tag in self.tags:
            if tag not in theirs:  # made before its tags were what they are now
                return None
        for tag, generation in theirs.items():
            if self.generations.get(tag) != generation:
                return None
        return entry

    def outcome(self, now: float) -> Outcome | None:
        """``HIT`` or ``STALE``; ``None`` if there is nothing to answer with."""
        entry = self.valid_entry
        if entry is None:
            return None
        # A clock that was ahead, somebody else's or ours, must not make a value live longer.
        age_s = max(0.0, now - entry.stored_at)
        left_s = entry.ttl_s - age_s
        if left_s > 0:
            return Outcome(entry.value, "HIT", age_s, left_s)
        if left_s > -entry.stale_s:
            return Outcome(entry.value, "STALE", age_s, left_s)
        return None
