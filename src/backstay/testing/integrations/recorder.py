"""Lets calls through, and notes on a tape what was asked and answered."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from pydantic_core import PydanticSerializationError, to_jsonable_python

from backstay.integration.http.answer_rules import is_response
from backstay.integration.http.api import ApiHTTP
from backstay.integration.http.endpoint import Endpoint
from backstay.integration.http.watching import watch
from backstay.integration.outgoing import current_call
from backstay.testing.integrations.body import write_body
from backstay.testing.integrations.exchange import Exchange, Place, request_of
from backstay.testing.integrations.intercepted_client import intercepted, module_of, noted_stream
from backstay.testing.integrations.learning import (
    learn_answer,
    learn_call,
    learn_request,
    learn_sent,
)
from backstay.testing.integrations.tape import Tape

__all__ = ["Recorder"]

_NOISE: Final = frozenset(
    {
        "age",
        "alt-svc",
        "connection",
        "content-encoding",
        "content-length",
        "date",
        "keep-alive",
        "server",
        "strict-transport-security",
        "transfer-encoding",
        "via",
        "x-correlation-id",
        "x-request-id",
    }
)
"""Headers of answers that differ each time, or that are about the connection."""


class Recorder:
    """Stands in, and lets every call through.

    Args:
        tape: where it is noted.
    """

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def call(
        self,
        endpoint: Endpoint,
        instance: Any,
        api: ApiHTTP,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        make = self._stream if endpoint.is_stream else self._call
        return make(endpoint, instance, api, args, kwargs)

    async def _call(
        self,
        endpoint: Endpoint,
        instance: Any,
        api: ApiHTTP,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        noted: list[_Noted] = []
        api = await self._way(endpoint, instance, api, args, kwargs, noted)
        try:
            result = await endpoint.func(api, *args, **kwargs)
        except BaseException:
            _mark_parts(noted, None)
            raise
        self._note_result(noted, result, Place(instance.base_url))
        return result

    async def _stream(
        self,
        endpoint: Endpoint,
        instance: Any,
        api: ApiHTTP,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> AsyncIterator[Any]:
        noted: list[_Noted] = []
        api = await self._way(endpoint, instance, api, args, kwargs, noted)
        found: list[Any] = []
        try:
            async with aclosing(endpoint.func(api, *args, **kwargs)) as items:
                async for each in items:
                    found.append(_plain(each))
                    yield each
        finally:
            _mark_parts(noted, None)
            if noted:
                place = Place(instance.base_url)
                items_found = [] if _UNKNOWN in found else found
                noted[-1].exchange.returned = {"items": place.hidden(items_found)}

    async def _way(
        self,
        endpoint: Endpoint,
        instance: Any,
        api: ApiHTTP,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        noted: list[_Noted],
    ) -> ApiHTTP:
        client = await instance.open_client()
        call = current_call.get()
        if call is not None:
            call.is_watched = watch(client)
        learn_call(self._tape.redaction, endpoint, instance, args, kwargs)
        send = functools.partial(
            self._send, client, endpoint.label, Place(instance.base_url), noted
        )
        return dataclasses.replace(api, client=intercepted(client, send))

    async def _send(
        self,
        client: Any,
        label: str,
        place: Place,
        noted: list[_Noted],
        request: Any,
        *,
        stream: bool,
        **options: Any,
    ) -> Any:
        tape, module = self._tape, module_of(client)
        await request.aread()
        redaction = tape.redaction
        exchange = Exchange(label, request_of(request, place, tape.headers), {})
        learn_request(redaction, exchange.request, request.headers)
        asked = str(request.url)
        tape.add(exchange)
        entry = _Noted(exchange)
        noted.append(entry)
        try:
            response = await client.send(request, stream=stream, **options)
        except module.RequestError as error:
            learn_sent(redaction, getattr(error, "_request", None), asked)
            exchange.answer = place.hidden(
                {"error": _error_name(module, error), "message": str(error)}
            )
            raise
        except BaseException:
            # Cancelled, or refused on this side: there is nothing that could be replayed.
            tape.remove(exchange)
            noted.remove(entry)
            raise
        entry.response = response
        learn_sent(redaction, response.request, asked)
        if stream and not response.is_closed:

            def done(content: bytes, whole: bool) -> None:
                self._note_answer(exchange, response, module, content, place, is_whole=whole)

            exchange.answer = {"status": response.status_code}
            response.stream = noted_stream(module, response.stream, done)
        else:
            self._note_answer(exchange, response, module, None, place)
        return response

    def _note_answer(
        self,
        exchange: Exchange,
        response: Any,
        module: Any,
        raw: bytes | None,
        place: Place,
        *,
        is_whole: bool = True,
    ) -> None:
        """Note what came.

        Args:
            exchange: where.
            response: of the client.
            module: the client's.
            raw: the body as it came, ``None`` if the response has it.
            place: where the instance is.
            is_whole: the body was read to its end.
        """
        content = response.content if raw is None else _decoded(module, response, raw)
        body = write_body(content, response.headers.get("content-type", ""))
        if not is_whole:
            body = {**body, "cut": True}
        headers = [
            [name.lower(), value]
            for name, value in response.headers.multi_items()
            if name.lower() not in _NOISE
        ]
        answer: dict[str, Any] = {"status": response.status_code, "headers": sorted(headers)}
        if body:
            answer["body"] = body
        if getattr(response, "history", None):
            answer["url"] = str(response.url.copy_with(userinfo=b""))
        exchange.answer = place.hidden(answer)
        learn_answer(self._tape.redaction, answer)

    def _note_result(self, noted: list[_Noted], result: Any, place: Place) -> None:
        if not noted:
            return
        own = noted[-1]
        if is_response(result):
            own = next((each for each in noted if each.response is result), own)
            returned = None
        else:
            plain = _plain(result)
            body = own.exchange.answer.get("body", {})
            if plain is _UNKNOWN:
                returned = {"part": True}
            elif place.hidden(plain) == body.get("json", body.get("text")):
                returned = None
            else:
                returned = {"json": place.hidden(plain)}
        _mark_parts(noted, own)
        own.exchange.returned = returned


@dataclasses.dataclass(eq=False)
class _Noted:
    exchange: Exchange
    response: Any = None


_UNKNOWN: Final[Any] = object()


def _plain(result: Any) -> Any:
    """As JSON says it; ``_UNKNOWN`` if it cannot."""
    if is_response(result):
        return _UNKNOWN
    try:
        return to_jsonable_python(result, by_alias=True)
    except (PydanticSerializationError, ValueError):
        return _UNKNOWN


def _mark_parts(noted: list[_Noted], own: _Noted | None) -> None:
    for each in noted:
        if each is not own:
            each.exchange.returned = {"part": True}


def _decoded(module: Any, response: Any, raw: bytes) -> bytes:
    """Without its content encoding, as far as it was read."""
    try:
        whole = module.Response(response.status_code, headers=response.headers, content=raw)
        return bytes(whole.content)
    except module.DecodingError:
        return raw


def _error_name(module: Any, error: Exception) -> str:
    """The name under which the library shows its class, or the nearest one that it shows."""
    for base in type(error).__mro__:
        if getattr(module, base.__name__, None) is base:
            return str(base.__name__)
    return "RequestError"
