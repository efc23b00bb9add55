"""What could not be done to a store that was out of reach, and has to be made up for.

A tag that could not be invalidated, a key that could not be deleted: until that is done, this
process trusts nothing that stands under them. Other processes cannot know, and go on until the
store is told, or until the values' time is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["Debts"]

_MOST = 10_000


class Debts:
    """Names in a store that are not trusted, each with the number of the wish that is unfulfilled.

    Attributes:
        everything: that number for the whole namespace; ``None``: it is trusted. Set as well if
            there are too many names: it is simpler then to take everything away.
    """

    __slots__ = ("_entries", "_next", "_tags", "everything")

    def __init__(self) -> None:
        self._tags: dict[str, int] = {}
        self._entries: dict[str, int] = {}
        self._next = 0
        self.everything: int | None = None

    def __bool__(self) -> bool:
        return bool(self._tags or self._entries or self.everything is not None)

    @property
    def tags(self) -> Mapping[str, int]:
        """The names of tags to be given a new mark."""
        return self._tags

    @property
    def entries(self) -> Mapping[str, int]:
        """The names of entries to be deleted."""
        return self._entries

    def owe(self, *, tags: Iterable[str] = (), entries: Iterable[str] = ()) -> int:
        """Trust these no more. The number of the wish, for ``settled``."""
        self._next += 1
        for tag in tags:
            self._tags[tag] = self._next
        for entry in entries:
            self._entries[entry] = self._next
        if len(self._tags) + len(self._entries) > _MOST:
            self._tags.clear()
            self._entries.clear()
            self.everything = self._next
        return self._next

    def owe_everything(self) -> int:
        """Trust nothing any more. The number of the wish."""
        self._next += 1
        self.everything = self._next
        return self._next

    def settled(self, until: int, *, tags: Iterable[str] = (), entries: Iterable[str] = ()) -> None:
        """It was done to these; wishes that came after ``until`` are still to be fulfilled."""
        for tag in tags:
            if self._tags.get(tag, until + 1) <= until:
                del self._tags[tag]
        for entry in entries:
            if self._entries.get(entry, until + 1) <= until:
                del self._entries[entry]

    def settled_everything(self, until: int) -> None:
        """Everything was taken away: entries, and the marks of tags with them."""
        if self.everything is not None and self.everything <= until:
            self.everything = None
        self.settled(until, tags=list(self._tags), entries=list(self._entries))

    def includes(self, entry: str, tags: Iterable[str]) -> bool:
        """Whether one of these is not trusted."""
        if self.everything is not None or entry in self._entries:
            return True
        return bool(self._tags) and any(tag in self._tags for tag in tags)
