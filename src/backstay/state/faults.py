"""What the ledger's seams say of databases, as the state says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from backstay.errors import (
    BackstayError,
    BadJob,
    BadState,
    LedgerMismatch,
    LedgerUnavailable,
    StateError,
    StateMismatch,
    StateUnavailable,
)

__all__ = ["as_state_errors"]


@contextmanager
def as_state_errors(
    words: Mapping[str, str], *, raw: type[Exception] | tuple[type[Exception], ...], where: str
) -> Iterator[None]:
    """Have errors of the ledger's connections, and the driver's own, raised as the state's.

    Args:
        words: what to say instead of what: a message about the ledger is none about the state.
        raw: the driver's errors that come as they are.
        where: the database, for messages.
    """
    try:
        yield
    except StateError:
        raise
    except BackstayError as error:
        message = str(error)
        for theirs, ours in words.items():
            message = message.replace(theirs, ours)
        raise _KINDS.get(type(error), StateError)(message) from error
    except raw as error:
        raise StateUnavailable(
            f"{where} did not do it: {type(error).__name__}: {error}; nothing was changed"
        ) from error


_KINDS: dict[type[BackstayError], type[StateError]] = {
    BadJob: BadState,
    LedgerMismatch: StateMismatch,
    LedgerUnavailable: StateUnavailable,
}
