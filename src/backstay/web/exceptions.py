"""HTTP errors by name: ``raise HTTPException404()``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi import HTTPException

__all__ = [
    "HTTPException400",
    "HTTPException401",
    "HTTPException403",
    "HTTPException404",
    "HTTPException409",
    "HTTPException422",
    "HTTPException429",
    "HTTPException503",
    "HTTPProblem",
]


class HTTPProblem(HTTPException):
    """An HTTP error that may say more of itself, as problem details have it (RFC 9457 §3).

    A class of your own below this one or one of those that are named by their status says at
    class level what is the same each time: ``detail``, ``title``, ``type_uri``.

    Args:
        status: the HTTP status code.
        detail: what happened this time, for the client's developer. A mapping's members are
            extension members; its ``detail`` or ``message`` is the text. ``None`` means the
            class's own.
        headers: of the answer.
        title: the kind of problem. ``None`` means the class's own, else the status code's phrase.
        type_uri: identifies the kind of problem. ``None`` means the class's own, else what the app
            says of the status code (``docs_url`` of ``add_problem_details``).
        members: extension members (§3.2); they do not replace the standard's.
    """

    detail: Any = None
    title: str | None = None
    type_uri: str | None = None

    def __init__(
        self,
        status: int,
        detail: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        title: str | None = None,
        type_uri: str | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, type(self).detail if detail is None else detail, headers)
        if title is not None:
            self.title = title
        if type_uri is not None:
            self.type_uri = type_uri
        self.members: Mapping[str, Any] = dict(members or {})


class _Named(HTTPProblem):
    """One that has its status in its name."""

    status: ClassVar[int]

    def __init__(
        self,
        detail: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        title: str | None = None,
        type_uri: str | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            self.status, detail, headers, title=title, type_uri=type_uri, members=members
        )


class _Later(_Named):
    """One after which a client may come again.

    Args:
        retry_after_s: seconds from now, for the header ``Retry-After`` (RFC 9110 §10.2.3); parts
            of a second count as a whole one. ``None`` sends none.
    """

    def __init__(
        self,
        detail: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        title: str | None = None,
        type_uri: str | None = None,
        members: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        if retry_after_s is not None:
            later = str(max(0, math.ceil(retry_after_s)))
            headers = {**_without(headers, "retry-after"), "Retry-After": later}
        super().__init__(detail, headers, title=title, type_uri=type_uri, members=members)


class HTTPException400(_Named):
    """The request cannot be understood. Arguments are those of ``HTTPProblem`` after the first."""

    status = 400
    detail = "The request cannot be processed as it is."


class HTTPException401(_Named):
    """Nobody knows who is asking: no credentials, or none that are good.

    Arguments are those of ``HTTPProblem`` after the first. The answer asks for a bearer token by
    ``WWW-Authenticate: Bearer`` (RFC 9110 §15.5.2 wants a challenge) unless ``headers`` has another.
    """

    status = 401
    detail = "Credentials are required, and those that came, if any, are not good."

    def __init__(
        self,
        detail: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        title: str | None = None,
        type_uri: str | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        if "www-authenticate" not in map(str.lower, headers or {}):
            headers = {**(headers or {}), "WWW-Authenticate": "Bearer"}
        super().__init__(detail, headers, title=title, type_uri=type_uri, members=members)


class HTTPException403(_Named):
    """Whoever asks may not do that. Arguments are those of ``HTTPProblem`` after the first."""

    status = 403
    detail = "You may not do that."


class HTTPException404(_Named):
    """There is no such thing. Arguments are those of ``HTTPProblem`` after the first."""

    status = 404
    detail = "There is nothing here. Check the address."


class HTTPException409(_Named):
    """It contradicts how things are. Arguments are those of ``HTTPProblem`` after the first."""

    status = 409
    detail = "The request contradicts the present state of what it is about."


class HTTPException422(_Named):
    """What was sent will not do. Arguments are those of ``HTTPProblem`` after the first."""

    status = 422
    detail = "Something in the request will not do."


class HTTPException429(_Later):
    """Too many requests. Arguments are those of ``HTTPProblem`` after the first.

    Args:
        retry_after_s: seconds after which the client may come again. ``None`` does not say.
    """

    status = 429
    detail = "Too many requests. Try again later."


class HTTPException503(_Later):
    """Not now. Arguments are those of ``HTTPProblem`` after the first.

    Args:
        retry_after_s: seconds after which the client may come again. ``None`` does not say.
    """

    status = 503
    detail = "The server cannot do this at the moment. Try again shortly."


def _without(headers: Mapping[str, str] | None, lower_name: str) -> dict[str, str]:
    return {name: value for name, value in (headers or {}).items() if name.lower() != lower_name}
