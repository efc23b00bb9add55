"""An issuer's keys: fetched when they are needed, kept, and renewed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any

from backstay.auth.addresses import is_loopback, metadata_urls, read_url
from backstay.auth.documents import Unfetchable, fetch_document, open_client
from backstay.auth.signature import PublicKey, read_keys
from backstay.clock import Clock
from backstay.errors import TokensUncheckable

if TYPE_CHECKING:
    import httpx2

__all__ = ["IssuerKeys"]

_logger = logging.getLogger("backstay.auth")

_SHORTEST_S = 60.0
"""Keys are kept this long even if the issuer says less: else each token would be a request."""

_AFTER_FAILURE_S = 2.0
"""An issuer that has failed is left alone this long."""


class IssuerKeys:
    """The keys of one issuer, for one event loop at a time.

    Whoever needs keys while they are being fetched waits for the same request. It goes on if
    they stop waiting, so that a client which hangs up fails nobody else.

    Args:
        issuer: whose keys.
        jwks_uri: where they are. ``None`` finds out from the issuer's metadata.
        key_cache_s: seconds that keys are used before they are fetched anew; less if the
            answer's ``Cache-Control`` says less, but a minute at least.
        stale_keys_s: seconds beyond that for which they go on being used if the issuer fails.
        refetch_gap_s: seconds between two requests for keys that are not there: anybody can
            send tokens with invented ids.
        timeout_s: for one renewal, all its requests together.
        clock: time.
        client: ``None`` makes one for each renewal.

    Raises:
        ValueError: an address may not be asked.
    """

    def __init__(
        self,
        issuer: str,
        *,
        jwks_uri: str | None,
        key_cache_s: float,
        stale_keys_s: float,
        refetch_gap_s: float,
        timeout_s: float,
        clock: Clock,
        client: httpx2.AsyncClient | None,
    ) -> None:
        self._issuer = issuer
        if jwks_uri is None:
            self._metadata_urls = metadata_urls(issuer)
        else:
            self._metadata_urls = []
            read_url(jwks_uri, "jwks_uri")
        self._given_uri = self._jwks_uri = jwks_uri
        self._key_cache_s = key_cache_s
        self._stale_keys_s = stale_keys_s
        self._refetch_gap_s = refetch_gap_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._client = client
        self._keys: Sequence[PublicKey] | None = None
        self._fresh_until_s = 0.0
        self._flight: asyncio.Task[None] | None = None
        self._asked_at_s: float | None = None
        self._failure: Exception | None = None

    async def find(self, kid: str | None) -> Sequence[PublicKey]:
        """The keys with that id, or all if it is ``None``. Empty if the issuer has no such key.

        Raises:
            TokensUncheckable: the issuer cannot be asked, and what is known does not answer.
        """
        await self._renew()
        found = self._known(kid)
        if not found:
            # It may be new. Or invented, and then asking again and again would help its inventor.
            if self._flying() or self._since_asked_s() >= self._refetch_gap_s:
                await self._ask()
                found = self._known(kid)
            if not found and self._failure is not None:
                raise self._uncheckable()
        return found

    async def close(self) -> None:
        """Stop fetching; who waits for it is told that tokens cannot be checked."""
        flight, self._flight = self._flight, None
        if flight is not None and not flight.done():
            flight.cancel()
            await asyncio.wait([flight])

    def _known(self, kid: str | None) -> Sequence[PublicKey]:
        keys = self._keys or ()
        return keys if kid is None else [key for key in keys if key.kid == kid]

    async def _renew(self) -> None:
        now_s = self._clock.monotonic()
        if self._keys is not None and now_s < self._fresh_until_s:
            return
        usable = self._keys is not None and now_s < self._fresh_until_s + self._stale_keys_s
        resting = self._failure is not None and self._since_asked_s() < _AFTER_FAILURE_S
        if usable and self._failure is not None:
            # It has failed, and may be slow to fail again: nobody waits for that a second time.
            if not resting:
                self._start()
            return
        if not usable:
            self._keys = None
        if not resting or self._flying():
            await self._ask()
        if self._keys is None:
            raise self._uncheckable()

    async def _ask(self) -> None:
        flight = self._start()
        # wait() leaves the flight alone if this caller is cancelled.
        await asyncio.wait([flight])
        if flight.cancelled():
            self._failure = self._failure or Unfetchable("the verifier was closed", answered=False)

    def _start(self) -> asyncio.Task[None]:
        flight = self._flight
        if flight is None or not self._flying():
            # In variables of its own: it belongs to no request.
            flight = self._flight = asyncio.create_task(
                self._refresh(), name="backstay-issuer-keys", context=Variables()
            )
        return flight

    def _flying(self) -> bool:
        flight = self._flight
        return (
            flight is not None
            and not flight.done()
            # One that an earlier event loop has left behind will never land.
            and flight.get_loop() is asyncio.get_running_loop()
        )

    async def _refresh(self) -> None:
        try:
            async with self._bounded():
                keys, max_age_s = await self._fetch()
        except Exception as error:
            # Kept for those who wait: a task's own error would reach only the first of them.
            # Where they are may have changed.
            self._jwks_uri = self._given_uri
            self._failure = (
                Unfetchable(f"it took longer than {self._timeout_s:g} s", answered=False)
                if isinstance(error, TimeoutError)
                else error
            )
            _logger.warning(
                "the keys of %s could not be fetched, %s: %s",
                self._issuer,
                "no token can be checked" if self._keys is None else "the old ones stay in use",
                self._failure,
            )
        else:
            self._failure = None
            self._keys = keys
            kept_s = self._key_cache_s if max_age_s is None else max_age_s
            self._fresh_until_s = self._clock.monotonic() + min(
                self._key_cache_s, max(_SHORTEST_S, kept_s)
            )
            if not keys:
                _logger.warning("%s has published no key that could be used", self._issuer)
        finally:
            self._asked_at_s = self._clock.monotonic()

    async def _fetch(self) -> tuple[list[PublicKey], float | None]:
        async with open_client(self._given_uri or self._issuer, self._client) as client:
            if self._jwks_uri is None:
                self._jwks_uri = await self._discover(client)
            document = await fetch_document(client, self._jwks_uri)
        keys = read_keys(document.members)
        if keys is None:
            raise Unfetchable(
                f"{self._jwks_uri} has no list of keys, so it is no JWK Set (RFC 7517, 5)",
                answered=True,
            )
        return keys, document.max_age_s

    async def _discover(self, client: httpx2.AsyncClient) -> str:
        reasons = []
        for url in self._metadata_urls:
            try:
                document = await fetch_document(client, url)
                return self._read_metadata(document.members, url)
            except Unfetchable as error:
                if not error.answered:
                    raise
                reasons.append(str(error))
        raise Unfetchable(
            f"{self._issuer} publishes no metadata that says where its keys are "
            f"({'; '.join(reasons)}); give jwks_uri=",
            answered=True,
        )

    def _read_metadata(self, members: dict[str, Any], url: str) -> str:
        # RFC 8414 §3.3: another issuer's metadata must not be used.
        if members.get("issuer") != self._issuer:
            raise Unfetchable(
                f"{url} is about the issuer {members.get('issuer')!r:.200}, which has to be "
                f"{self._issuer!r} to the letter",
                answered=True,
            )
        jwks_uri = members.get("jwks_uri")
        try:
            read_url(jwks_uri, "its jwks_uri")  # type: ignore[arg-type]  # it checks the type
        except (TypeError, ValueError) as error:
            raise Unfetchable(f"{url}: {error}", answered=True) from None
        assert isinstance(jwks_uri, str)
        if is_loopback(jwks_uri) and not is_loopback(self._issuer):
            raise Unfetchable(f"{url} says that its keys are on this machine", answered=True)
        return jwks_uri

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        async with asyncio.timeout(None) as bound:
            # By our clock and not the loop's, so that tests need not wait. 0 is in the past.
            timer = self._clock.call_later(self._timeout_s, lambda: bound.reschedule(0))
            try:
                yield
            finally:
                timer.cancel()

    def _since_asked_s(self) -> float:
        if self._asked_at_s is None:
            return float("inf")
        return self._clock.monotonic() - self._asked_at_s

    def _uncheckable(self) -> TokensUncheckable:
        error = TokensUncheckable(
            f"the keys of {self._issuer} cannot be had, so no token of it can be checked: "
            f"{self._failure or 'nobody has asked'}; see that this server can reach it"
        )
        error.__cause__ = self._failure
        return error
