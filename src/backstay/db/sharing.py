"""Whether what was sent beside a link is what stands there: shared rows are never changed by it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from backstay.db.drafts import Draft
from backstay.db.mapping import key_names
from backstay.db.refusals import SharedRow
from backstay.db.relations import relations_of, standing_of

__all__ = ["require_same", "same"]


def same(standing: Any, said: Any) -> bool:
    """Whether a value that was sent is the one that stands, whatever types the two ends use."""
    if isinstance(standing, Enum) != isinstance(said, Enum):
        if isinstance(standing, Enum):
            return said in {standing.value, standing.name}
        return standing in {said.value, said.name}
    if isinstance(standing, datetime) and isinstance(said, datetime):
        # Databases without time zones hand out the times that they were given without one.
        return _naive(standing) == _naive(said)
    if isinstance(standing, Decimal) and isinstance(said, float):
        said = Decimal(str(said))  # the number that was written, not the binary one next to it
    return bool(standing == said) or (
        type(standing) is not type(said) and str(standing) == str(said)
    )


def _naive(moment: datetime) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def require_same(draft: Draft, obj: Any) -> None:
    """Refuse a draft that says anything else of an object than what is.

    Raises:
        SharedRow: it names the field, and never what stands there.
    """
    mapper, relations = draft.mapper, relations_of(draft.mapper)
    for name, said in draft.values.items():
        if name in key_names(mapper) and said is None:
            continue
        comparable = name in mapper.column_attrs or name in mapper.composites
        if not comparable or not same(getattr(obj, name), said):
            raise SharedRow(
                "is not what it is, and is not changed by a link to it: change it by itself, or "
                "send only its key here",
                (*draft.loc, name),
            )
    for name in draft.related:
        _require_same_related(draft, name, standing_of(obj, relations[name]))


def _require_same_related(draft: Draft, name: str, standing: list[Any]) -> None:
    drafts = draft.behind(name)
    if len(drafts) != len(standing):
        raise SharedRow(
            "is not what it is; leave it out, or change it by itself", (*draft.loc, name)
        )
    for inner in drafts:
        found = _meant(inner, standing)
        standing.remove(found)
        require_same(inner, found)


def _meant(draft: Draft, standing: list[Any]) -> Any:
    if draft.obj is not None:
        found = [each for each in standing if each is draft.obj]
    elif parts := draft.sent_key():
        found = [
            each for each in standing if all(same(getattr(each, n), v) for n, v in parts.items())
        ]
    else:
        found = standing if len(standing) == 1 else []
    if not found:
        raise SharedRow("is not there behind what is linked to; leave it out", draft.loc)
    return found[0]
