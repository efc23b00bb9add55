"""Answers about items: bytes of JSON that went through the output schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Row
from starlette.responses import Response

from backstay.viewset.projection import value_of
from backstay.viewset.versions import etag_of, matches_weakly

if TYPE_CHECKING:
    from backstay.viewset.plan import Plan

__all__ = ["item_answer", "json_answer"]


def json_answer(
    content: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Bytes of JSON as a response."""
    return Response(content, status_code=status, headers=headers, media_type="application/json")


def item_answer(
    plan: Plan,
    item: Any,
    *,
    status: int = 200,
    location: str | None = None,
    if_none_match: str | None = None,
) -> Response:
    """One item.

    Args:
        plan: the view set's.
        item: a row with the columns of the output schema, an object, or whatever else the output
            schema can be made of.
        status: 201 for new items.
        location: where a new one is (RFC 9110 §10.2.2).
        if_none_match: the request's header; if it names this version, the answer is 304.
    """
    headers = {}
    if location is not None:
        headers["Location"] = location
    if plan.version is not None and (isinstance(item, (Row, plan.db_model))):
        tag = headers["ETag"] = etag_of(value_of(item, plan.version.key))
        if if_none_match is not None and matches_weakly(if_none_match, tag):
            return Response(status_code=304, headers=headers)
    projection = plan.projection
    dump = projection.dump_row if isinstance(item, Row) else projection.dump_object
    return json_answer(dump(item), status=status, headers=headers)
