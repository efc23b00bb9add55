"""Calls to addresses that somebody else chose, without lending them this service's reach (SSRF).

The place to judge is where connections are made: the name is looked up there, once, each address
it has is judged, and the connection goes to one that was. A name that answers differently the
second time (DNS rebinding) gains nothing, every redirect is judged like the first address, and
the name stays what certificates are checked against and what ``Host`` says.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
from collections.abc import AsyncIterator, Iterable, Iterator
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from backstay.addresses import DEFAULT_PORTS, HostUnfit, Lookup, find_addresses, look_up
from backstay.errors import AddressRefused, BadIntegration

__all__ = ["check_url", "public_transport"]

_MOST_URL = 8192
_MOST_TRIED = 3
_CORES = {"httpx": "httpcore", "httpx2": "httpcore2"}
_ELSEWHERE = ("proxy", "uds")


async def check_url(url: str, *, allow_private: bool = False, lookup: Lookup = look_up) -> None:
    """Refuse a URL that ``public_transport`` would not call: when somebody enters it, say.

    That it is good now does not mean that it will be: the transport judges again.

    Args:
        url: absolute, http or https.
        allow_private: loopback and private networks are good, too.
        lookup: who is asked for addresses; by default the system.

    Raises:
        AddressRefused: it is no such URL, has a user name or a password in it, or leads to what
            is not public.
    """
    try:
        if len(url) > _MOST_URL or any(each <= " " or each == "\\" for each in url):
            raise ValueError
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = DEFAULT_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
        if not host or not 0 < port < 65536:
            raise ValueError
    except (ValueError, TypeError):
        raise AddressRefused(
            f"the address is no URL of at most {_MOST_URL} characters; give one like "
            "https://host/path"
        ) from None
    _require_shape(parts.scheme, has_user=parts.username is not None or parts.password is not None)
    await _judge(host, port, allow_private, lookup)


def public_transport(
    module: ModuleType,
    *,
    allow_private: bool = False,
    lookup: Lookup = look_up,
    **options: Any,
) -> Any:
    """A transport for ``AsyncClient(transport=)`` that connects to public addresses alone.

    It asks no proxy: that would look the name up again. Give its client ``trust_env=False``, or
    that one puts proxies of the environment in front of it.

    Args:
        module: ``httpx`` or ``httpx2``; whose client it is for.
        allow_private: loopback and private networks may be called, too. Never link-local
            addresses.
        lookup: who is asked for addresses; by default the system.
        options: those of ``AsyncHTTPTransport``: ``verify``, ``cert``, ``http1``, ``http2``,
            ``limits``, ``retries``, ``local_address``, ``socket_options``.

    Raises:
        BadIntegration: the module is another one, or an option leads around the judgement.

    Requests raise ``AddressRefused`` before anything is connected, else what the module's own
    transport would raise.
    """
    core_name = _CORES.get(module.__name__)
    if core_name is None:
        raise BadIntegration(
            f"public_transport() makes its connections for httpx and httpx2; got "
            f"{module.__name__!r}"
        )
    for name in _ELSEWHERE:
        if options.pop(name, None) is not None:
            raise BadIntegration(
                f"public_transport({name}=) would lead around its judgement of addresses; "
                "leave it out"
            )
    options.pop("trust_env", None)
    core = importlib.import_module(core_name)
    limits = options.pop("limits", None) or module.Limits(
        max_connections=100, max_keepalive_connections=20
    )
    certificates = module.create_ssl_context(
        verify=options.pop("verify", True), cert=options.pop("cert", None), trust_env=False
    )
    try:
        pool = core.AsyncConnectionPool(
            ssl_context=certificates,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_judging_backend(core)(allow_private, lookup),
            **options,
        )
    except TypeError as error:
        raise BadIntegration(f"public_transport(): {error}") from None
    return _transport(module, core)(pool)


def _require_shape(scheme: str, *, has_user: bool) -> None:
    if scheme not in DEFAULT_PORTS:
        raise AddressRefused(
            f"the address begins with {scheme[:20]!r}, and http and https are called; give one "
            "like https://host/path"
        )
    if has_user:
        raise AddressRefused(
            "the address has a user name or a password in it, which is not taken; give it without"
        )


async def _judge(host: str, port: int, allow_private: bool, lookup: Lookup) -> list[str]:
    try:
        found = await find_addresses(host, port, allow_private=allow_private, lookup=lookup)
    except HostUnfit as unfit:
        if unfit.kind == "refused":
            raise AddressRefused(
                f"the host {unfit.host!r} leads to {unfit.reason}, which is not called for "
                "others; give a public address"
            ) from None
        raise AddressRefused(
            {
                "malformed": f"{unfit.host[:80]!r} is no host",
                "number": f"the host {unfit.host!r} is a number that is no plain IPv4 address",
                "unknown": f"the host {unfit.host!r} has no address",
            }[unfit.kind]
            + "; give the name of one that is there"
        ) from None
    return [str(each) for each in found]


@functools.cache
def _judging_backend(core: ModuleType) -> Any:
    """The class for one of the two cores: made once."""

    class JudgingBackend(core.AsyncNetworkBackend):  # type: ignore[name-defined, misc]  # loaded late
        def __init__(self, allow_private: bool, lookup: Lookup) -> None:
            self._allow_private = allow_private
            self._lookup = lookup
            self._sockets = core.AnyIOBackend()

        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,  # noqa: ASYNC109  # the core's signature
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> Any:
            try:
                async with asyncio.timeout(timeout):
                    found = await _judge(host, port, self._allow_private, self._lookup)
                    found = found[:_MOST_TRIED]
                    # One that swallows what is sent to it leaves time for the others.
                    share_s = None if timeout is None else timeout / len(found)
                    for address in found[:-1]:
                        with contextlib.suppress(core.ConnectError, core.ConnectTimeout):
                            return await self._sockets.connect_tcp(
                                address, port, share_s, local_address, socket_options
                            )
                    return await self._sockets.connect_tcp(
                        found[-1], port, share_s, local_address, socket_options
                    )
            except TimeoutError as error:
                raise core.ConnectTimeout(f"no connection within {timeout} seconds") from error

        async def connect_unix_socket(
            self,
            path: str,
            timeout: float | None = None,  # noqa: ASYNC109  # the core's signature
            socket_options: Iterable[Any] | None = None,
        ) -> Any:
            raise AddressRefused("sockets of this machine are not called for others")

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

    return JudgingBackend


@functools.cache
def _transport(module: ModuleType, core: ModuleType) -> Any:
    """The class for one of the two clients: made once.

    As the module's own transport, which lets nobody say how connections are made.
    """

    @contextlib.contextmanager
    def seam() -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Both call their errors the same; the nearest name wins.
            for each in type(error).__mro__:
                if each.__module__.startswith(core.__name__) and hasattr(module, each.__name__):
                    raise getattr(module, each.__name__)(str(error)) from error
            raise

    class Body(module.AsyncByteStream):  # type: ignore[name-defined, misc]  # loaded late
        def __init__(self, pieces: Any) -> None:
            self._pieces = pieces

        async def __aiter__(self) -> AsyncIterator[bytes]:
            with seam():
                async for piece in self._pieces:
                    yield piece

        async def aclose(self) -> None:
            await self._pieces.aclose()

    class PublicTransport(module.AsyncBaseTransport):  # type: ignore[name-defined, misc]  # loaded late
        def __init__(self, pool: Any) -> None:
            self._pool = pool

        async def handle_async_request(self, request: Any) -> Any:
            url = request.url
            _require_shape(url.scheme, has_user=bool(url.userinfo))
            asked = core.Request(
                method=request.method,
                url=core.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
            with seam():
                answer = await self._pool.handle_async_request(asked)
            return module.Response(
                status_code=answer.status,
                headers=answer.headers,
                stream=Body(answer.stream),
                extensions=answer.extensions,
            )

        async def aclose(self) -> None:
            await self._pool.aclose()

    return PublicTransport
