"""From what has happened to the row that is written: masked, and cut to size."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

from backstay.events.collector import Seen
from backstay.events.event import microseconds_of, new_event_id
from backstay.events.masking import Masking

__all__ = ["MAX_FACTS_BYTES", "event_row", "event_rows", "facts_json", "minute_rows"]

logger = logging.getLogger("backstay.events")

MAX_FACTS_BYTES = 4_096
_MAX_ERROR = 1_000
_MAX_NAME = 200
_MAX_WORD = 32
_CUT = "…"


def event_rows(seen: Iterable[Seen], masking: Masking) -> list[dict[str, Any]]:
    """Rows of the table of events. Takes some ten microseconds each; call it in a thread.

    One that cannot be made is left out, and logged: it should cost no other.
    """
    rows = []
    for each in seen:
        try:
            rows.append(event_row(each, masking))
        except Exception:
            logger.exception("an event of kind %r cannot be written, and is dropped", each.kind)
    return rows


def event_row(seen: Seen, masking: Masking) -> dict[str, Any]:
    """One row."""
    error = None
    if seen.error is not None:
        kind, message = seen.error
        # The name of a type is no secret, and often sounds like one: ``TokenExpired: ...``.
        said = masking.text(message, most=_MAX_ERROR)
        error = f"{kind}: {said}" if said else kind
    correlation = seen.correlation_id
    started_at = seen.started_at.astimezone(UTC)
    return {
        "id": new_event_id(started_at, seen.number),
        "kind": str(seen.kind),
        "name": masking.text(seen.name, most=_MAX_NAME),
        # Clients choose it, and might choose a secret.
        "correlation_id": None if correlation is None else masking.text(correlation, most=128),
        "started_us": microseconds_of(started_at),
        "duration_us": max(0, int(seen.duration_s * 1_000_000)),
        "outcome": masking.text(seen.outcome, most=_MAX_WORD),
        "status": seen.status if seen.status is None or 0 <= seen.status <= 999 else None,
        "error": error,
        "facts": facts_json(seen.facts, masking),
    }


def minute_rows(sums: Iterable[Mapping[str, Any]], masking: Masking) -> list[dict[str, Any]]:
    """Rows to add to the table of minutes; their names are masked as those of events."""
    return [{**each, "name": masking.text(each["name"], most=_MAX_NAME)} for each in sums]


def facts_json(facts: Mapping[str, Any], masking: Masking) -> str:
    """Facts without secrets, as JSON of ``MAX_FACTS_BYTES`` in UTF-8 at most.

    What does not fit is written as an ellipsis, or not at all.
    """
    try:
        masked = masking.facts(facts)
    except Exception as error:  # somebody's own mapping, or one that is being changed
        masked = {_CUT: f"the facts could not be read: {type(error).__qualname__}"}
    text = _dumps(masked)
    if len(text.encode()) <= MAX_FACTS_BYTES:
        return text
    left = MAX_FACTS_BYTES - len(_dumps({_CUT: len(masked)}).encode())
    chosen: dict[str, Any] = {}
    sizes = {key: _size(key, value) for key, value in masked.items()}
    for key in sorted(sizes, key=sizes.__getitem__):  # the small ones say most for their room
        for candidate, size in ((masked[key], sizes[key]), (_CUT, _size(key, _CUT))):
            if size <= left:
                chosen[key] = candidate
                left -= size
                break
    kept = {key: chosen[key] for key in masked if key in chosen}
    if len(kept) < len(masked):
        kept[_CUT] = len(masked) - len(kept)
    return _dumps(kept)


def _size(key: str, value: Any) -> int:
    return len(_dumps({key: value}).encode()) + 2  # the braces are as long as what is between


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
