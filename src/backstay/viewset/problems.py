"""What a client hears when a request cannot be: problem details (RFC 9457) for view sets' routes.

Errors travel as exceptions all the way, so that whatever transaction they pass is rolled back. What
becomes of them in the end is said by the app's handler for ``BackstayError``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar, Final

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from backstay.errors import ItemInvalid
from backstay.viewset.faults import UNWRAPPED, fault_of
from backstay.viewset.projection import Unfit
from backstay.web.exchange import Exchange
from backstay.web.problem_schema import FieldError, schema_of
from backstay.web.problem_schema import Problem as AnyProblem
from backstay.web.problem_titles import phrase_of

__all__ = ["PROBLEM_RESPONSES", "Problem", "ProblemRoute", "explained"]

_WRITING: Final = frozenset({"DELETE", "PATCH", "POST", "PUT"})
_UNREADABLE: Final = "There was an error parsing the body"
"""What FastAPI says, with 400, of bytes that are no text, of numbers without an end, and of JSON too
deep to be read. Other JSON that is none is answered with 422, and so is this.
"""

_MANY: Final = 5
"""Errors that are told in the sentence; the list has all of them."""


class Problem(AnyProblem):
    """Problem details (RFC 9457) of which some say what is wrong with which part of a request."""

    errors: list[FieldError] | None = Field(None, description="What is wrong with which part.")


def _documented(status: int, description: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": description,
        "content": {
            "application/problem+json": {
                "schema": schema_of(Problem),
                "example": {
                    "type": "about:blank",
                    "title": phrase_of(status),
                    "status": status,
                    "detail": description,
                },
            }
        },
    }
    if status == 503:
        found["headers"] = {
            "Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}
        }
    return found


PROBLEM_RESPONSES: Mapping[int, dict[str, Any]] = {
    403: _documented(403, "You may not do that with this item."),
    404: _documented(404, "There is no such item."),
    409: _documented(409, "It contradicts another item."),
    412: _documented(412, "It is not the version that If-Match names."),
    422: _documented(422, "Something in the request will not do."),
    428: _documented(428, "Say which version you change, by If-Match."),
    503: _documented(503, "The database is busy or out of reach."),
}
"""For ``responses=`` of a route."""


class ProblemRoute(APIRoute):
    """A route whose invalid requests and database errors are answered as problem details.

    Attributes:
        db_model: the mapped class it is about, if it is about one.
        fields: the names that clients know its attributes by.
    """

    db_model: ClassVar[type[Any] | None] = None
    fields: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def about(cls, db_model: type[Any], fields: Mapping[str, str]) -> type[ProblemRoute]:
        """The class for routes about a mapped class."""
        return type(cls.__name__, (cls,), {"db_model": db_model, "fields": fields})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, which says in another form what is wrong with a request."""
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                raise explained(error.errors()) from error
            except HTTPException as error:
                if (error.status_code, error.detail) != (400, _UNREADABLE):
                    raise
                unreadable = {"loc": ["body"], "msg": "JSON decode error", "type": "json_invalid"}
                raise explained([unreadable]) from error
            except Unfit as error:
                if not _can_be_undone(request.scope):
                    raise
                # The parts that were sent are each right, and do not fit those that were there.
                errors = [{**each, "loc": ("body", *each["loc"])} for each in error.errors]
                raise explained(errors) from error

        return handle_or_explain

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request. Around the transaction's end too, where deferred constraints are checked."""
        try:
            await super().handle(scope, receive, send)
        except (SQLAlchemyError, *UNWRAPPED) as error:
            fault = fault_of(error, method=scope["method"], db_model=self.db_model)
            if fault is None:
                raise
            raise fault.as_answer(self.fields) from error


def _can_be_undone(scope: Scope) -> bool:
    """Whether what a request has written is in a transaction that is still open."""
    exchange = Exchange.of(scope)
    if scope["method"] not in _WRITING or exchange is None or not exchange.opened:
        return False
    return exchange.context.has("db") and exchange.context.db.opened


def explained(errors: Sequence[Any]) -> ItemInvalid:
    """What is wrong with a request, without repeating what was sent.

    Args:
        errors: as pydantic lists them, with places in the whole request.
    """
    found = [
        {
            "loc": [_sendable(each) for each in each["loc"]] or ["body"],
            "msg": _sendable(each["msg"]),
            "type": each["type"],
        }
        for each in errors
    ]
    says = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found[:_MANY]]
    more = "" if len(found) <= _MANY else f" And {len(found) - _MANY} more."
    return ItemInvalid(f"The request will not do: {'; '.join(says)}.{more}", found)


def _sendable(part: Any) -> Any:
    """A part of a message as UTF-8 can have it: keys that clients send may have lone surrogates."""
    return part.encode(errors="replace").decode() if isinstance(part, str) else part
