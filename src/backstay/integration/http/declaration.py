"""A class that declares endpoints of another service, and its instances, which call them."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import AsyncIterator, Iterable, Mapping
from types import ModuleType, TracebackType
from typing import Any, ClassVar, Final, Self

from backstay.app import Backstay
from backstay.clock import Clock, SystemClock
from backstay.context import current_work
from backstay.errors import BadIntegration, UpstreamError
from backstay.integration.http.answer_rules import AnswerRules
from backstay.integration.http.api import ApiHTTP
from backstay.integration.http.attempt import Attempt
from backstay.integration.http.auth.basic import BasicAuth
from backstay.integration.http.caching.http_caching import HTTPCaching
from backstay.integration.http.clients import Clients, is_library
from backstay.integration.http.credentials import Credentials
from backstay.integration.http.endpoint import Endpoint, endpoint_of
from backstay.integration.http.idempotency import IdempotencyKeys
from backstay.integration.http.integration_http import IntegrationHTTP
from backstay.integration.http.origin import origin_of
from backstay.integration.http.owner import Owner
from backstay.integration.http.stand_in import StandIn
from backstay.integration.http.statistics import CallStatistics
from backstay.integration.http.url import read_base_url, take_user
from backstay.integration.http.watching import Sending, watch
from backstay.integration.outgoing import OutgoingCall
from backstay.integration.stability.options import read_count, read_seconds
from backstay.log import correlation_id
from backstay.observation import Kind

__all__ = ["EndpointsDeclaration"]

_SYSTEM: Final = SystemClock()
_NONE: Final = Credentials()
_CORRELATION_HEADER: Final = "X-Request-ID"


class EndpointsDeclaration:
    """Declares endpoints of another service. Make a class of it, and an instance of that::

        class Translations(EndpointsDeclaration):
            integration = IntegrationHTTP("Translations", doc="Translates texts.")

            class Schema:
                class Text(BaseModel):
                    text: str

            class SchemaError:
                class http400(BaseModel):
                    error: str

            @integration.endpoint(HTTPMethod.get, "/texts/{name}", version="v1", docurl="https://…")
            @sp.Timeout(2)
            async def text(api: ApiHTTP, name: str) -> Schema.Text | SchemaError.http400:
                return await api.send()


        translations = Translations(base_url="https://translations.example.com")

    An instance has one pool of connections, opened by its first call. ``add_integrations(app, …)`` and
    ``base_pattern(useintegration=…)`` close it with the app; without an app, ``async with`` or
    ``aclose()`` do.

    Args:
        base_url: where the service is. May be empty as long as nothing is called. A user and a
            password in it become ``auth``, because clients log the URLs they call.
        credentials: what its methods prove with who they are: ``api.credentials``. Hidden wherever it
            is printed.
        client: ``None`` for ``httpx.AsyncClient`` where httpx is installed, else httpx2's; a module
            (``httpx2``) or its name, an ``AsyncClient`` class, a function that makes a client, or an
            open client, which is not closed.
        auth: how requests are signed: one of backstay's (``BearerAuth``, ``OAuth2ClientCredentials``
            …), or what the client takes.
        timeout: seconds for connecting, writing, reading and waiting for a free connection, each;
            ``None`` for ever. ``sp.Timeout`` bounds the whole.
        headers: of every request to that origin.
        follow_redirects: whether answers that say "elsewhere" are followed.
        cache: keeps answers as HTTP allows it (RFC 9111).
        max_answer_bytes: how large an answer may be, after unpacking, if it is read at once;
            ``None`` for any size. ``api.stream`` reads what is larger.
        public_only: connects to public addresses alone: for URLs that somebody else chose.
        name: tells instances of one class apart, for people and for states shared by processes.
            ``None`` for the host.
        trace: whether the correlation id and the W3C trace context go along.
        clock: tells the time. ``None`` for that of the app whose work is running, or of the app it
            belongs to.

    Attributes:
        base_url: without slashes at its end.
        credentials: as given, hidden in ``repr``; ``None`` if none were.
        statistics: of this instance's calls in this process.
        owner: what patterns know this instance by.

    Raises:
        BadIntegration: something could never work.
    """

    integration: ClassVar[IntegrationHTTP]

    stand_in: ClassVar[StandIn | None] = None
    """Answers instead of the other side, for all integrations: set by ``backstay.testing``."""

    # Not nested classes: checkers would want those of declarations to inherit from them.
    Schema: ClassVar[Any] = type("Schema", (), {})
    """Models of successful answers: a class of classes."""

    SchemaError: ClassVar[Any] = type("SchemaError", (), {})
    """Models of other answers, by their statuses: ``http404``, ``http4xx``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Look over what is declared.

        Raises:
            BadIntegration: something could never work.
        """
        super().__init_subclass__(**kwargs)
        endpoints = cls.endpoints()
        if endpoints and not isinstance(getattr(cls, "integration", None), IntegrationHTTP):
            raise BadIntegration(
                f"{cls.__name__} declares endpoints and has no integration; write integration = "
                'IntegrationHTTP("Its name", doc="What it is for")'
            )

    def __init__(
        self,
        base_url: str = "",
        credentials: Mapping[str, Any] | None = None,
        *,
        client: Any = None,
        auth: Any = None,
        timeout: float | None = 10.0,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = False,
        cache: HTTPCaching | None = None,
        max_answer_bytes: int | None = 32 * 2**20,
        public_only: bool = False,
        name: str | None = None,
        trace: bool = True,
        clock: Clock | None = None,
    ) -> None:
        if credentials is not None and not isinstance(credentials, Mapping):
            raise BadIntegration(
                f"credentials= is a dictionary; got one of type {type(credentials).__qualname__}"
            )
        self.base_url, user = take_user(read_base_url(base_url))
        if user is not None:
            # Clients log the URL of each request.
            if auth is not None or (client is not None and not is_library(client)):
                raise BadIntegration(
                    "base_url= has a user and a password, and auth= or client= are given besides; "
                    "say it once"
                )
            auth = BasicAuth(*user)
        self.credentials = None if credentials is None else Credentials(credentials)
        self.auth = auth
        self._timeout_s = None if timeout is None else read_seconds(timeout, "timeout=")
        self._clients = Clients(
            client,
            auth=auth,
            timeout_s=self._timeout_s,
            follow_redirects=follow_redirects,
            cache=cache,
            public_only=public_only,
        )
        self._origin = origin_of(self.base_url)
        self.instance_name = name or self._origin[1] or type(self).__name__
        self._trace = trace
        self._clock = clock
        self._apps: list[Backstay] = []
        self._keys = IdempotencyKeys(self.instance_name if name else "")
        self.owner = Owner(self.instance_name)
        self.statistics = CallStatistics(clock or _SYSTEM)
        self._max_answer_bytes = (
            None if max_answer_bytes is None else read_count(max_answer_bytes, "max_answer_bytes=")
        )
        self._call_headers: Mapping[str, str] = dict(headers or {})
        self._call_timeout_s: float | None = None
        self._call_key: str | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.base_url or 'no address yet'}>"

    @classmethod
    def endpoints(cls) -> Mapping[str, Endpoint]:
        """Those that are declared, by the names of their methods."""
        found: dict[str, Endpoint] = {}
        for base in reversed(cls.__mro__):
            for name, each in vars(base).items():
                with contextlib.suppress(BadIntegration):
                    found[name] = endpoint_of(each)
        return found

    def with_options(
        self,
        *,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Self:
        """The same instance for calls with options of their own; connections and states are shared.

        Args:
            idempotency_key: goes along with requests that may not be repeated by themselves.
            headers: more of them.
            timeout: seconds for connecting, writing, reading and waiting for a connection, each.
        """
        other = copy.copy(self)
        other._call_headers = {**self._call_headers, **(headers or {})}
        if timeout is not None:
            other._call_timeout_s = read_seconds(timeout, "with_options(timeout=)")
        if idempotency_key is not None:
            other._call_key = idempotency_key
        return other

    # ------------------------------------------------------------------ its life

    @property
    def library(self) -> ModuleType | None:
        """Of its client, imported; ``None`` where somebody else makes it."""
        return self._clients.module

    @property
    def client_name(self) -> str | None:
        """What its client is called, ``None`` where somebody else makes it."""
        library = self.library
        return None if library is None else f"{library.__name__}.AsyncClient"

    async def open_client(self) -> Any:
        """The client of the running event loop."""
        client = self._clients.current()
        watch(client)
        return client

    async def aclose(self) -> None:
        """Close the connections of the running event loop. A later call opens others."""
        await self._clients.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def attach(self, app: Backstay) -> None:
        """Belong to an app: it sees calls that no work of another one makes."""
        self._apps.append(app)

    async def detach(self, app: Backstay) -> None:
        """Belong to it no more, and close the connections of its event loop."""
        if app in self._apps:
            self._apps.remove(app)
        await self.aclose()

    # ------------------------------------------------------------------ its calls

    async def call_endpoint(
        self, endpoint: Endpoint, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Make one call; its methods do. Returns what the endpoint's annotation says."""
        rules = endpoint.answers(type(self))
        attempt = self._begin(endpoint, rules, args, kwargs)
        with attempt:
            try:
                result = self._make(attempt, args, kwargs)
                if inspect.isawaitable(result):
                    result = await result
            except UpstreamError:
                raise
            except Exception as error:
                result = attempt.read_error(error)
            call = attempt.call
            return rules.read(result, call.answer, call.status)

    async def stream_endpoint(
        self, endpoint: Endpoint, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> AsyncIterator[Any]:
        """Make one call of an endpoint that yields; its methods do. Yields its items, read."""
        rules = endpoint.answers(type(self))
        attempt = self._begin(endpoint, rules, args, kwargs)
        items: Any = None
        try:
            with attempt:
                items = self._make(attempt, args, kwargs)
                if inspect.isawaitable(items):
                    items = await items
            if isinstance(items, Iterable):
                items = _each(items)
            while True:
                # Between items other code runs here, which is not of this call.
                with attempt:
                    try:
                        item = await anext(items)
                    except StopAsyncIteration:
                        break
                    except Exception as error:
                        answer = attempt.read_error(error)
                        # No item: what else was declared has no place among them.
                        raise rules.refusal(answer.status_code, answer) from error
                    found = rules.read(item)
                yield found
        finally:
            if hasattr(items, "aclose"):
                with attempt:
                    await items.aclose()
            attempt.end()

    def _begin(
        self,
        endpoint: Endpoint,
        rules: AnswerRules,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Attempt:
        arguments = endpoint.bind(args, kwargs)
        stand_in = EndpointsDeclaration.stand_in
        base_url = self.base_url or ("" if stand_in is None else "http://stand-in")
        url = endpoint.template.fill(base_url, arguments)
        key = self._call_key
        if key is None and endpoint.idempotent:
            key = self._keys.next(endpoint.label, dict(list(arguments.items())[1:]))
        call = OutgoingCall(self.owner, endpoint.label, endpoint.method.value, idempotency_key=key)
        client = None
        if stand_in is None:
            client = self._clients.current()
            call.is_watched = watch(client)
        api = ApiHTTP(
            credentials=_NONE if self.credentials is None else self.credentials,
            url=url,
            version=endpoint.version,
            httpmethod=endpoint.method.name,
            client=client,
            endpoint=endpoint,
            rules=rules,
            idempotency_key=key,
        )
        app = self._app()
        seen = None
        if app is not None:
            facts = {
                "method": endpoint.method.value,
                "path": endpoint.path,
                "host": self.instance_name,
            }
            seen = app.observe(Kind.CALL, endpoint.label, correlation_id.get(), facts=facts)
        return Attempt(
            api,
            call,
            sending=self._sending(app),
            seen=seen,
            statistics=self.statistics,
            clock=self._clock_of(app),
        )

    def _make(self, attempt: Attempt, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What the method returns, or what stands in for it."""
        api = attempt.api
        stand_in = EndpointsDeclaration.stand_in
        if stand_in is not None:
            return stand_in.call(api.endpoint, self, api, args, kwargs)
        return api.endpoint.func(api, *args, **kwargs)

    def _sending(self, app: Backstay | None) -> Sending:
        """What goes along with the requests of one call."""
        headers = dict(self._call_headers)
        if self._trace:
            current = correlation_id.get()
            if current is not None:
                name = _CORRELATION_HEADER if app is None else app.correlation_header
                headers.setdefault(name, current)
            link = None if app is None else app.link()
            if link is not None:
                headers.setdefault("traceparent", link)
        return Sending(
            self._origin,
            headers,
            credentials=self.credentials,
            max_answer_bytes=self._max_answer_bytes,
            timeout_s=self._call_timeout_s,
        )

    def _app(self) -> Backstay | None:
        """The app whose work is running, else the one it belongs to."""
        work = current_work.get()
        if work is not None:
            return work.app
        return self._apps[-1] if self._apps else None

    def _clock_of(self, app: Backstay | None) -> Clock:
        """Tells the time of calls."""
        if self._clock is not None:
            return self._clock
        return _SYSTEM if app is None else app.clock


async def _each(items: Iterable[Any]) -> AsyncIterator[Any]:
    for each in items:
        yield each
