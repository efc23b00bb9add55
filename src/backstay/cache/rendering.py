"""What FastAPI would answer with: ``response_model`` applied, to the last byte.

Whatever a handler returns goes through FastAPI's own handling of results, here for a handler that
only hands over what the real one has made. So there is nothing to keep up with, and no way past
the filter.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import get_request_handler
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["Render", "renderer_of"]

Render = Callable[[Request, Response, Any], Awaitable[Response]]
"""From the request, the response whose status and headers count, and the result."""

_KEY = "backstay.cache.result"


def renderer_of(route: Any, handler: Callable[..., Any], *, is_async: bool) -> Render:
    """How results of a route's handler become answers.

    Args:
        route: FastAPI's, or one in the context of the routers it was included in.
        handler: whose results these are.
        is_async: whether it is. What plain functions return is validated in a thread, where
            it may load what it has not loaded yet.
    """

    def hand_over_plainly(request: Request, response: Response) -> Any:
        theirs, result = request.scope.pop(_KEY)
        response.status_code = theirs.status_code
        response.headers.raw.extend(theirs.headers.raw)
        return result

    async def hand_over(request: Request, response: Response) -> Any:
        return hand_over_plainly(request, response)

    call = hand_over if is_async else hand_over_plainly
    # For messages about results that do not fit: they name the file and the line.
    functools.update_wrapper(call, handler)
    answer = get_request_handler(
        dependant=Dependant(
            call=call,
            path=route.dependant.path,
            request_param_name="request",
            response_param_name="response",
        ),
        status_code=route.status_code,
        response_class=route.response_class,
        response_field=route.response_field,
        response_model_include=route.response_model_include,
        response_model_exclude=route.response_model_exclude,
        response_model_by_alias=route.response_model_by_alias,
        response_model_exclude_unset=route.response_model_exclude_unset,
        response_model_exclude_defaults=route.response_model_exclude_defaults,
        response_model_exclude_none=route.response_model_exclude_none,
    )

    async def render(request: Request, response: Response, result: Any) -> Response:
        request.scope[_KEY] = response, result
        return await answer(request)

    return render
