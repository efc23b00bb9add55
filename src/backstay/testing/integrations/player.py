"""Answers from a tape. Opens no connection."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from backstay.errors import BadIntegration, UnmockedCall
from backstay.integration.http.api import ApiHTTP
from backstay.integration.http.endpoint import Endpoint
from backstay.integration.http.watching import watch
from backstay.integration.outgoing import current_call
from backstay.testing.integrations.block import Miss
from backstay.testing.integrations.body import read_body
from backstay.testing.integrations.exchange import Exchange, Place, request_of
from backstay.testing.integrations.intercepted_client import bytes_stream, intercepted, module_of
from backstay.testing.integrations.learning import learn_call, learn_request
from backstay.testing.integrations.tape import Tape

__all__ = ["Player"]


class Player:
    """Stands in with the answers of a tape.

    Endpoints' own code and their patterns run as ever; auth does not, since it would ask somebody.

    Args:
        tape: has them.
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
        try:
            api = await self._way(endpoint, instance, api, args, kwargs)
            return await endpoint.func(api, *args, **kwargs)
        except Miss as miss:
            raise UnmockedCall(str(miss)) from None

    async def _stream(
        self,
        endpoint: Endpoint,
        instance: Any,
        api: ApiHTTP,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> AsyncIterator[Any]:
        try:
            api = await self._way(endpoint, instance, api, args, kwargs)
            async with aclosing(endpoint.func(api, *args, **kwargs)) as items:
                async for each in items:
                    yield each
        except Miss as miss:
            raise UnmockedCall(str(miss)) from None

    async def _way(
        self,
        endpoint: Endpoint,
        instance: Any,
        api: ApiHTTP,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> ApiHTTP:
        client = await instance.open_client()
        call = current_call.get()
        if call is not None:
            call.is_watched = watch(client)
        learn_call(self._tape.redaction, endpoint, instance, args, kwargs)
        # A stand-in has an address of its own where the instance has none.
        place = Place(instance.base_url or _root_of(api))
        send = functools.partial(self._send, client, endpoint.label, place)
        return dataclasses.replace(api, client=intercepted(client, send))

    async def _send(
        self, client: Any, label: str, place: Place, request: Any, *, stream: bool, **options: Any
    ) -> Any:
        tape, module = self._tape, module_of(client)
        await request.aread()
        asked = Exchange(label, request_of(request, place, tape.headers), {})
        learn_request(tape.redaction, asked.request, request.headers)
        found = tape.take(tape.cleaned(asked))
        # What others have hung on the client hears of it as of any other request.
        for hook in client.event_hooks["request"]:
            await hook(request)
        answer = place.shown(found.answer)
        if "error" in answer:
            raise _error(module, answer, request)
        try:
            if "url" in answer:
                request = module.Request(request.method, answer["url"])
            response = _response(module, answer, request, stream=stream)
        except (module.InvalidURL, ValueError, TypeError, LookupError) as error:
            if isinstance(error, BadIntegration):
                raise
            raise BadIntegration(
                f"the tape {tape.path} has an answer to {asked} that nobody can send: "
                f"{type(error).__name__}: {error}"
            ) from error
        for hook in client.event_hooks["response"]:
            await hook(response)
        return response


def _root_of(api: ApiHTTP) -> str:
    return f"{api.url.scheme}://{api.url.netloc}"


def _error(module: Any, answer: Mapping[str, Any], request: Any) -> Exception:
    kind = getattr(module, answer["error"], None)
    if not (isinstance(kind, type) and issubclass(kind, module.RequestError)):
        raise BadIntegration(
            f"a tape has the error {answer['error']!r}, which {module.__name__} does not know"
        )
    error: Exception = kind(answer.get("message", ""), request=request)
    return error


def _response(module: Any, answer: Mapping[str, Any], request: Any, *, stream: bool) -> Any:
    headers = [tuple(each) for each in answer.get("headers", ())]
    content_type = next((value for name, value in headers if name == "content-type"), "")
    content = read_body(answer.get("body", {}), content_type)
    options: dict[str, Any] = (
        {"stream": bytes_stream(module, content)} if stream else {"content": content}
    )
    response = module.Response(answer["status"], headers=headers, request=request, **options)
    response.elapsed = timedelta(0)
    return response
