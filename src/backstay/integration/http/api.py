"""What an endpoint's method works with: where to, as whom, by which client."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import ParseResult

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python
from typing_extensions import TypeVar

from backstay.errors import BadAnswer, BadIntegration
from backstay.integration.http.answer_rules import AnswerRules
from backstay.integration.http.bounded_body import UNBOUNDED, bound_body
from backstay.integration.http.credentials import Credentials
from backstay.integration.http.endpoint import Endpoint
from backstay.integration.http.paging.page_rules import PageRule
from backstay.integration.http.paging.pages import pages
from backstay.integration.http.url import with_query

__all__ = ["ApiHTTP"]

_NOTHING: Final[Any] = object()
_ERROR_BYTES: Final = 64 * 1024

Query = Mapping[str, Any] | BaseModel
R = TypeVar("R", default=Any)


@dataclass(frozen=True, slots=True)
class _ErrorAnswer:
    """An answer as far as it is looked at."""

    request: Any
    status_code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")


async def _begun(response: Any, label: str) -> _ErrorAnswer:
    """The beginning of an error: whoever wants a stream has room for no error of that size."""
    bound_body(response, _ERROR_BYTES, label)
    body = bytearray()
    with contextlib.suppress(BadAnswer):  # that was enough
        async for piece in response.aiter_bytes():
            body += piece
    return _ErrorAnswer(
        getattr(response, "request", None), response.status_code, response.headers, bytes(body)
    )


@dataclass(frozen=True)
class ApiHTTP:
    """One call's way to another service. The first argument of an endpoint's method.

    Attributes:
        credentials: as the instance was given them; empty if it has none.
        url: of the endpoint, the arguments in its path filled in; ``url.geturl()`` is the text.
        version: as the endpoint says.
        httpmethod: its method in small letters, as the client's methods are called.
        client: the instance's pool of connections, an ``httpx.AsyncClient`` or what was chosen
            instead. ``None`` where a test stands in.
        endpoint: what is called.
        rules: how its answers are read.
        idempotency_key: what is sent along with requests that may not be repeated by themselves;
            ``None`` for nothing.
    """

    credentials: Credentials
    url: ParseResult
    version: str
    httpmethod: str
    client: Any = field(repr=False)
    endpoint: Endpoint
    rules: AnswerRules = field(repr=False)
    idempotency_key: str | None = None

    async def send(
        self,
        *,
        query: Query | None = None,
        body: Any = _NOTHING,
        content: bytes | AsyncIterable[bytes] | None = None,
        form: Mapping[str, Any] | None = None,
        files: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> R:
        """Send a request as the endpoint is declared.

        Args:
            query: is added to the URL; a model's fields by their aliases. ``None`` in it is left out.
            body: is sent as JSON: models, by their aliases, and whatever pydantic can write.
            content: is sent as it is; an async iterator is streamed.
            form: is sent as a form; with ``files``, as part of a multipart one.
            files: as httpx takes them: ``{"photo": ("cat.png", open_file, "image/png")}``. Read as
                they are sent.
            headers: more of them.

        Returns:
            The client's response, its body read. Type checkers take it for what the method returns,
            as that is what becomes of it, and elsewhere for ``Any``.

        Raises:
            BadIntegration: the body cannot be written, or there are several.
        """
        response: R = await self.client.request(
            self.endpoint.method.value,
            with_query(self.url.geturl(), query),
            **self._options(body, content, form, files, headers),
        )
        return response

    @asynccontextmanager
    async def stream(
        self,
        *,
        query: Query | None = None,
        body: Any = _NOTHING,
        content: bytes | AsyncIterable[bytes] | None = None,
        form: Mapping[str, Any] | None = None,
        files: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Any]:
        """The same, with the body left to be read piece by piece: ``response.aiter_bytes()``.

        It may be of any size.

        Raises:
            UpstreamError: the status is 400 or more, and not among the endpoint's ``handled``.
        """
        async with self.client.stream(
            self.endpoint.method.value,
            with_query(self.url.geturl(), query),
            **self._options(body, content, form, files, headers),
            extensions={UNBOUNDED: True},
        ) as response:
            if self.rules.is_error(response.status_code):
                raise self.rules.refusal(
                    response.status_code, await _begun(response, self.endpoint.label)
                )
            yield response

    def pages(self, rule: PageRule, **options: Any) -> AsyncIterator[Any]:
        """Ask for a page, and for the next one when that is wanted: see ``paging.pages``.

        Args:
            rule: how the next page is found: ``LinkHeader``, ``NextUrl``, ``PageNumber``, ``Offset``
                or ``Cursor``.
            options: ``query``, ``max_pages``, ``beyond``, ``origins``, and what ``send`` takes.
        """
        return pages(self, rule, **options)

    def _options(
        self, body: Any, content: Any, form: Any, files: Any, headers: Mapping[str, str] | None
    ) -> dict[str, Any]:
        several = (body is not _NOTHING) + (content is not None) + (bool(form) or bool(files))
        if several > 1:
            raise BadIntegration(
                f"{self.endpoint.label} sends several bodies; give one of body=, content= and "
                "form= with files="
            )
        sent = dict(headers or {})
        options: dict[str, Any] = {"headers": sent}
        if body is not _NOTHING:
            options["content"] = self._written(body)
            if not any(name.lower() == "content-type" for name in sent):
                sent["Content-Type"] = "application/json"
        elif content is not None:
            options["content"] = content
        if form:
            options["data"] = form
        if files:
            options["files"] = files
        return options

    def _written(self, body: Any) -> bytes:
        try:
            plain = to_jsonable_python(body, by_alias=True, inf_nan_mode="constants")
            return json.dumps(
                plain, allow_nan=False, ensure_ascii=False, separators=(",", ":")
            ).encode()
        except (PydanticSerializationError, ValueError) as error:
            raise BadIntegration(
                f"the body of {self.endpoint.label} is not JSON: {error}"
            ) from error
