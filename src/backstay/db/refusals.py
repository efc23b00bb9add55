"""What the ORM refuses, and why."""

from __future__ import annotations

from backstay.errors import DataError

__all__ = [
    "BadNested",
    "ChangedMeanwhile",
    "ForeignChild",
    "NestedError",
    "SeveralRows",
    "SharedRow",
    "UnknownRelated",
]


class SeveralRows(DataError):
    """A query that was to find one row found several."""


class ChangedMeanwhile(DataError):
    """A row that was to be changed has been deleted or changed by somebody else; nothing was written."""

    status = 409
    title = "Conflict"
    public_detail = "This was changed by somebody else at the same time. Read it again and retry."


class NestedError(DataError, ValueError):
    """Nested data that cannot be written as it is; nothing was.

    Args:
        message: what is wrong, and what would do. The client may hear it.
        loc: where in the data: names of fields, and positions in lists.
        hint: more, for whoever writes the program only.
    """

    status = 422
    title = "Unprocessable Content"

    def __init__(self, message: str, loc: tuple[str | int, ...] = (), *, hint: str = "") -> None:
        where = ".".join(map(str, loc))
        self.public_detail = f"{where}: {message}" if where else message
        super().__init__(f"{self.public_detail}. {hint}" if hint else self.public_detail)
        self.message = message
        self.loc = loc


class BadNested(NestedError):
    """A field that is not there, a value of the wrong shape, or what the declaration forbids."""


class ForeignChild(NestedError):
    """A child was named that this parent does not have."""

    status = 409
    title = "Conflict"


class UnknownRelated(NestedError):
    """A row was to be linked to that is not there."""


class SharedRow(NestedError):
    """A row that is only linked to, and may be others' too, was to be changed through the link."""
