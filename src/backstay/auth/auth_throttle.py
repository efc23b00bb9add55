"""Who may try to log in, and how often: a brake on guessing passwords."""

from __future__ import annotations

import hashlib
import logging
import math
import unicodedata
from collections import OrderedDict, deque
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import islice
from typing import Final, Protocol

from backstay.clock import Clock, SystemClock
from backstay.errors import BadAuth, LimitsUnavailable, RateLimited

__all__ = ["FailureCounter", "LoginThrottle"]

_logger = logging.getLogger("backstay.auth")

Limit = tuple[int, int]
"""So many failures within so many seconds."""

_LOOKED_AT: Final = 16
_WARN_EVERY_S: Final = 60.0
_DETAIL: Final = "Too many attempts to log in. Try again later."


class FailureCounter(Protocol):
    """Counts failures for several processes, in moving windows.

    Both methods may raise ``LimitsUnavailable``: then each process counts for itself.
    """

    async def hit(self, key: str, limit: int, window_s: int) -> None:
        """Count one more failure under that key.

        Args:
            key: printable ASCII, 64 characters at most, and nobody's name.
            limit: failures that are allowed.
            window_s: seconds for which each counts.
        """

    async def peek(self, key: str, limit: int, window_s: int) -> float:
        """Seconds until another failure would be within the limit; 0 if it is now."""


class LoginThrottle:
    """Counts failed logins, and refuses to try when there were too many.

    Three counts have to allow an attempt: of the account from this address, of the account from
    everywhere, and of the address for all accounts. The first stops whoever guesses, the second a
    crowd of machines that guess together, the third one that tries everybody's name with the same
    few passwords.

    An attempt counts from ``check`` on, before anybody knows how it will end, so that a hundred at
    once are not a hundred guesses; ``succeeded`` takes it back. One of which nobody says how it
    ended (the client is gone) stays counted as failed. ::

        await throttle.check(username, address)
        if await good(username, password):
            await throttle.succeeded(username, address)
        else:
            await throttle.failed(username, address)

    Names are compared without regard to case and Unicode's variants, and kept as digests. IPv6
    addresses count by their /64, of which one client has as many as it likes.

    Args:
        per_client: failures, and seconds for which each counts, of an account from one address.
        per_account: the same of an account from all addresses. An address from which somebody has
            logged in to it before is not stopped by that: nobody is locked out of his own account
            by others' guesses, as long as this process remembers him.
        per_address: the same of an address for all accounts.
        clock: what time it is. ``None``: the machine's.
        most_keys: of each kind that are remembered. When there are more, one that has not been
            seen for long and has few failures is forgotten, so that nobody can have his own
            forgotten by making up names: their failures are fewer, and his address counts them all.
        counter: counts for several processes. ``None``: each for itself, until ``count_with`` says
            otherwise. Before the first failures are known to all, each process lets through as
            many as its limit. A success takes nothing back of what all know.

    Raises:
        BadAuth: a number is none that could work.
    """

    def __init__(
        self,
        *,
        per_client: Limit = (10, 300),
        per_account: Limit = (30, 300),
        per_address: Limit = (100, 300),
        clock: Clock | None = None,
        most_keys: int = 10_000,
        counter: FailureCounter | None = None,
    ) -> None:
        for what, (limit, window_s) in {
            "per_client": per_client,
            "per_account": per_account,
            "per_address": per_address,
        }.items():
            if limit < 1 or window_s < 1:
                raise BadAuth(
                    f"{what}= is a number of failures and of seconds, both from 1 on; got "
                    f"{(limit, window_s)!r}"
                )
        if most_keys < 1:
            raise BadAuth(f"most_keys= is a number from 1 on; got {most_keys!r}")
        clock = SystemClock() if clock is None else clock
        self._clients = _Windows("client", *per_client, most_keys, clock)
        self._accounts = _Windows("account", *per_account, most_keys, clock)
        self._addresses = _Windows("address", *per_address, most_keys, clock)
        self._counter = counter
        self._clock = clock
        self._warned_at: float | None = None
        self._known: OrderedDict[str, None] = OrderedDict()
        self._most_known = most_keys

    def count_with(self, counter: FailureCounter) -> None:
        """Have ``counter`` count for several processes, unless there is one already."""
        if self._counter is None:
            self._counter = counter

    async def check(self, account: str, address: str | None) -> None:
        """Allow an attempt and count it, or refuse it.

        Args:
            account: the name that is tried, whether there is such an account or not.
            address: the client's. ``None`` if it has none (a Unix socket): then all of these count
                as one client, and only accounts are limited.

        Raises:
            RateLimited: there were too many. An attempt that is refused does not count itself.
        """
        keys = self._keys(account, address)
        wait_s = max(windows.wait_s(key) for windows, key in keys)
        if wait_s > 0:
            raise RateLimited(_DETAIL, retry_after_s=math.ceil(wait_s))
        for windows, key in keys:
            windows.add(key)
        wait_s = await self._shared_wait_s(keys)
        if wait_s > 0:
            for windows, key in keys:
                windows.take_back(key)
            raise RateLimited(_DETAIL, retry_after_s=math.ceil(wait_s))

    async def failed(self, account: str, address: str | None) -> None:
        """The attempt failed. Here it is counted already; the other processes hear of it."""
        if self._counter is None:
            return
        try:
            for windows, key in self._keys(account, address):
                await self._counter.hit(f"{windows.kind}:{key}", windows.limit, windows.window_s)
        except LimitsUnavailable as error:
            self._warn(error)

    async def succeeded(self, account: str, address: str | None) -> None:
        """The attempt was none to count. The client has shown that it knows the password."""
        for windows, key in self._keys(account, address):
            if windows is self._clients:
                windows.forget(key)
                self._remember(key)
            else:
                # Only this one: an own account would wash away what the address did to others.
                windows.take_back(key)

    async def _shared_wait_s(self, keys: list[tuple[_Windows, str]]) -> float:
        if self._counter is None:
            return 0.0
        longest = 0.0
        try:
            for windows, key in keys:
                wait_s = await self._counter.peek(
                    f"{windows.kind}:{key}", windows.limit, windows.window_s
                )
                longest = max(longest, wait_s)
        except LimitsUnavailable as error:
            # Nobody could log in otherwise, and this process goes on counting its own.
            self._warn(error)
        return longest

    def _warn(self, error: LimitsUnavailable) -> None:
        """Once a minute: whoever guesses would fill the log."""
        now = self._clock.monotonic()
        if self._warned_at is None or now - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = now
            _logger.warning(
                "failed logins are counted by this process alone at the moment: %s", error
            )

    def _keys(self, account: str, address: str | None) -> list[tuple[_Windows, str]]:
        name = unicodedata.normalize("NFKC", account.strip()).casefold()
        place = _network_of(address)
        client = _digest(name, place)
        keys = [(self._clients, client)]
        if client not in self._known:
            keys.append((self._accounts, _digest(name)))
        if address is not None:
            keys.append((self._addresses, _digest(place)))
        return keys

    def _remember(self, client: str) -> None:
        self._known[client] = None
        self._known.move_to_end(client)
        if len(self._known) > self._most_known:
            self._known.popitem(last=False)


class _Windows:
    """The failures of the last so many seconds, under each key."""

    def __init__(self, kind: str, limit: int, window_s: int, most_keys: int, clock: Clock) -> None:
        self.kind = kind
        self.limit = limit
        self.window_s = window_s
        self._most_keys = most_keys
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """Seconds until another one is within the limit; 0 if it is now."""
        times = self._recent(key)
        if times is None or len(times) < self.limit:
            return 0.0
        return max(times[-self.limit] + self.window_s - self._clock.monotonic(), 0.001)

    def add(self, key: str) -> None:
        times = self._recent(key)
        if times is None:
            while len(self._times) >= self._most_keys:
                self._forget_one()
            times = self._times[key] = deque()
        times.append(self._clock.monotonic())
        self._times.move_to_end(key)

    def take_back(self, key: str) -> None:
        times = self._times.get(key)
        if times:
            times.pop()
        if not times:
            self._times.pop(key, None)

    def forget(self, key: str) -> None:
        self._times.pop(key, None)

    def _recent(self, key: str) -> deque[float] | None:
        times = self._times.get(key)
        if times is None:
            return None
        until = self._clock.monotonic() - self.window_s
        while times and times[0] <= until:
            times.popleft()
        if not times:
            del self._times[key]
            return None
        return times

    def _forget_one(self) -> None:
        """Of those not seen for longest: one that is over, else the one with the fewest."""
        over = self._clock.monotonic() - self.window_s
        oldest = islice(self._times.items(), _LOOKED_AT)
        key, _ = min(oldest, key=lambda each: (each[1][-1] > over, len(each[1])))
        del self._times[key]


def _network_of(address: str | None) -> str:
    if address is None:
        return ""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        mapped = found.ipv4_mapped
        return str(ip_network((found, 64), strict=False) if mapped is None else mapped)
    return str(found)


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(encoded))
        digest.update(encoded)
    return digest.hexdigest()[:40]
