"""Fetching a file that somebody else names, without lending them this server's reach.

- https only, and nothing in the address but host, port, path and query.
- The host's name is looked up once, every address it has is judged, and the connection goes to
  the one that was: a name that answers differently the second time (DNS rebinding) gains nothing.
  Certificates are checked against the name.
- Redirects are followed three times at most, and each is judged as the first address was.
- Size is counted as it arrives and after decoding, whatever the server declares. Time is bounded
  in all and between two pieces.
- No cookies, no credentials, no proxies from the environment, no addresses in messages.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from backstay.errors import MissingExtra
from backstay.widgets.addresses import Address, Lookup, find_addresses, look_up
from backstay.widgets.file_refusal import FileRefused
from backstay.widgets.file_type import SNIFFED_BYTES, allows_type, check_patterns, sniff

if TYPE_CHECKING:
    import httpx2

__all__ = ["FetchLimits", "FileRefused", "IncomingFile", "open_url"]

T = TypeVar("T")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_ADDRESS = 8192
_MOST_TRIED = 3
_PIECE = 64 * 1024
_CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib's names for RFC 1952 and RFC 1950


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What a fetch may cost, and where it may go.

    Attributes:
        max_bytes: the file's size at most, in bytes, after decoding. Default: 10 MiB.
        timeout_s: seconds for all of it, redirects included. Default: 30.
        idle_timeout_s: seconds to connect, and between two pieces. Default: 10.
        allowed_types: media types, or ranges like ``image/*``; sniffed from the content.
            Empty, the default, takes any.
        allow_private: hosts on loopback and private networks may be asked, and loopback over
            plain http. Default: no.
        max_redirects: redirects followed at most. Default: 3.

    Raises:
        ValueError: a limit is negative, a time is not positive, or a type is none.
    """

    max_bytes: int = 10 * 1024 * 1024
    timeout_s: float = 30.0
    idle_timeout_s: float = 10.0
    allowed_types: Sequence[str] = ()
    allow_private: bool = False
    max_redirects: int = 3
    patterns: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_redirects"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("timeout_s", "idle_timeout_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be seconds above 0, got {getattr(self, name)}")
        object.__setattr__(self, "patterns", check_patterns(self.allowed_types))


class IncomingFile:
    """A file on its way: iterate over its pieces, or ``read()`` it.

    Attributes:
        host: where it comes from.
        media_type: what it is, by its beginning.
        size: how many bytes the server says it has, ``None`` if it does not say.
    """

    def __init__(
        self, host: str, media_type: str, size: int | None, pieces: AsyncGenerator[bytes]
    ) -> None:
        self.host = host
        self.media_type = media_type
        self.size = size
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces, 64 KiB at most each; once.

        Raises:
            FileRefused: it turned out too large or too slow, or the connection broke.
        """
        return self._pieces

    async def read(self) -> bytes:
        """What has not been read yet.

        Raises:
            FileRefused: as for iteration.
        """
        return b"".join([piece async for piece in self._pieces])


@asynccontextmanager
async def open_url(
    url: str,
    limits: FetchLimits | None = None,
    *,
    name: str | None = None,
    lookup: Lookup = look_up,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[IncomingFile]:
    """Connect, follow redirects, look at the file's beginning, and hand it over as it comes.

    Args:
        url: the address, https.
        limits: what it may cost. ``None`` means the defaults of ``FetchLimits``. The time runs
            on while the block is at work on what it has.
        name: the file's name, ``None`` if unknown; tells kinds of text apart.
        lookup: who is asked for addresses; by default the system.
        tls: what certificates are checked with. ``None`` means the usual authorities, loaded for
            each fetch anew, in a thread (some 20 ms).

    Raises:
        FileRefused: it is not to be had, or not to be taken.
        MissingExtra: httpx2 is not installed.
    """
    try:
        import httpx2
    except ImportError as missing:
        raise MissingExtra("widgets", "httpx2") from missing
    limits = FetchLimits() if limits is None else limits
    fetch = _Fetch(httpx2, limits, lookup)
    async with AsyncExitStack() as stack:
        if tls is None:
            tls = await asyncio.to_thread(httpx2.create_ssl_context)
        fetch.client = await stack.enter_async_context(
            httpx2.AsyncClient(
                transport=httpx2.AsyncHTTPTransport(verify=tls, trust_env=False),
                timeout=httpx2.Timeout(limits.idle_timeout_s),
                trust_env=False,
                follow_redirects=False,
            )
        )
        response = await fetch.follow(url, stack)
        pieces = fetch.pieces(response)
        stack.push_async_callback(pieces.aclose)
        head: list[bytes] = []
        have = 0
        async for piece in pieces:
            head.append(piece)
            have += len(piece)
            if have >= SNIFFED_BYTES:
                break
        media_type = sniff(b"".join(head), name)
        if limits.patterns and not allows_type(media_type, limits.patterns):
            raise FileRefused(
                f"the file is {media_type} by its content, and "
                f"{' or '.join(limits.patterns)} is wanted; give one of that type"
            )
        whole = _chain(head, pieces)
        stack.push_async_callback(whole.aclose)
        yield IncomingFile(fetch.host, media_type, _declared(response), whole)


async def _chain(head: list[bytes], rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    while head:
        yield head.pop(0)
    async for piece in rest:
        yield piece


class _Fetch:
    """One fetch: its deadline, and where it has got to."""

    client: httpx2.AsyncClient

    def __init__(self, httpx: Any, limits: FetchLimits, lookup: Lookup) -> None:
        self._httpx = httpx
        self._limits = limits
        self._lookup = lookup
        self._deadline = asyncio.get_running_loop().time() + limits.timeout_s
        self.host = ""

    async def follow(self, url: str, stack: AsyncExitStack) -> httpx2.Response:
        """The answer that has the file, through redirects."""
        target = self._parse(url)
        for _ in range(self._limits.max_redirects + 1):
            self.host = target.host
            response = await self._timely(self._ask(target))
            stack.push_async_callback(response.aclose)
            if response.status_code not in _REDIRECTS:
                break
            location = response.headers.get("location")
            if location is None:
                raise FileRefused(
                    f"the file's host {self.host!r} redirects to nowhere; give another address"
                )
            await response.aclose()
            target = self._parse(self._join(target, location))
        else:
            raise FileRefused(
                f"the file's address redirects more than {self._limits.max_redirects} times; "
                "give the address it ends at"
            )
        if response.status_code != 200:
            raise FileRefused(
                f"the file's host {self.host!r} answered {response.status_code}; the link may "
                "have expired: ask for a fresh one"
            )
        declared = _declared(response)
        if declared is not None:
            self._require_size(declared)
        return response

    async def pieces(self, response: httpx2.Response) -> AsyncGenerator[bytes]:
        """The body, decoded and counted."""
        unpack = self._decoder(response)
        raw = response.aiter_raw()
        have = 0
        while True:
            piece = await self._timely(anext(raw, None))
            for part in unpack(piece):
                have += len(part)
                self._require_size(have)
                yield part
            if piece is None:
                return

    # ------------------------------------------------------------------ asking

    def _parse(self, url: str) -> httpx2.URL:
        if len(url) > _MOST_ADDRESS:
            raise FileRefused(
                f"the file's address has {len(url)} characters, more than {_MOST_ADDRESS}; "
                "give a shorter one"
            )
        try:
            parsed = self._httpx.URL(url)
            host = parsed.raw_host.decode("ascii")
            if not 0 < (parsed.port or 443) < 65536:
                raise ValueError("no such port")
        except (self._httpx.InvalidURL, ValueError, TypeError) as error:
            raise FileRefused(
                "the file's address is no URL; give one like https://host/path"
            ) from error
        if parsed.scheme not in ("https", "http") or not host:
            raise FileRefused(
                f"the file's address begins with {parsed.scheme[:20]!r}, and files are fetched "
                "over https; give one like https://host/path"
            )
        if parsed.userinfo:
            raise FileRefused(
                "the file's address has a user name or a password in it, which is not taken; "
                "give it without"
            )
        return parsed  # type: ignore[no-any-return]  # httpx2 is loaded late, so it is Any here

    def _join(self, base: httpx2.URL, location: str) -> str:
        try:
            return str(base.join(location))
        except (self._httpx.InvalidURL, ValueError) as error:
            raise FileRefused(
                f"the file's host {self.host!r} redirects to what is no URL; give another address"
            ) from error

    async def _ask(self, target: httpx2.URL) -> httpx2.Response:
        port = target.port or (443 if target.scheme == "https" else 80)
        host = target.raw_host.decode("ascii")
        found = await find_addresses(
            host, port, allow_private=self._limits.allow_private, lookup=self._lookup
        )
        if target.scheme == "http" and not (
            self._limits.allow_private and all(each.is_loopback for each in found)
        ):
            raise FileRefused(
                f"the file's address at {host!r} is plain http, and files are fetched over "
                "https; give the https address"
            )
        *others, last = found[:_MOST_TRIED]
        for address in others:
            try:
                return await self._send(target, address)
            except (self._httpx.ConnectError, self._httpx.ConnectTimeout):
                continue
        return await self._send(target, last)

    async def _send(self, target: httpx2.URL, address: Address) -> httpx2.Response:
        host = target.raw_host.decode("ascii")
        extensions = {} if host == str(address) else {"sni_hostname": host.removesuffix(".")}
        request = self._httpx.Request(
            "GET",
            # The address that was judged, and not the name, which would be looked up again.
            target.copy_with(host=str(address), fragment=None),
            headers={
                "Host": target.netloc.decode("ascii"),
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "User-Agent": "backstay",
            },
            extensions={**extensions, "timeout": self.client.timeout.as_dict()},
        )
        return await self.client.send(request, stream=True)

    # ------------------------------------------------------------------ limits

    async def _timely(self, step: Awaitable[T]) -> T:
        """Await one step of it, in what is left of the time, and tell failures as refusals."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await step
        except TimeoutError:
            raise FileRefused(
                f"the file did not arrive from {self.host!r} within {self._limits.timeout_s:g} "
                "seconds; try again, or give a smaller one"
            ) from None
        except self._httpx.TimeoutException as error:
            raise FileRefused(
                f"the file's host {self.host!r} said nothing for "
                f"{self._limits.idle_timeout_s:g} seconds; try again later"
            ) from error
        except (self._httpx.HTTPError, self._httpx.StreamError, ssl.SSLError, OSError) as error:
            raise FileRefused(
                f"the file's host {self.host!r} could not be reached, or broke off; "
                "check the address, or try again"
            ) from error

    def _require_size(self, size: int) -> None:
        if size > self._limits.max_bytes:
            raise FileRefused(
                f"the file has {size} bytes or more, and at most {self._limits.max_bytes} are "
                "taken; give a smaller one"
            )

    def _decoder(self, response: httpx2.Response) -> Any:
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding in ("", "identity"):
            return _cut
        if coding not in _CODINGS:
            raise FileRefused(
                f"the file's host {self.host!r} packs it as {coding[:40]!r}, although asked not "
                "to; give an address that serves it as it is"
            )
        return _Unpacking(_CODINGS[coding], self.host)


def _cut(piece: bytes | None) -> Sequence[bytes]:
    if piece is None:
        return ()
    if len(piece) <= _PIECE:
        return (piece,)
    return [piece[at : at + _PIECE] for at in range(0, len(piece), _PIECE)]


class _Unpacking:
    """gzip and deflate, a piece at a time: what grows a thousandfold is counted as it grows."""

    def __init__(self, window: int, host: str) -> None:
        self._inflate = zlib.decompressobj(window)
        self._host = host

    def __call__(self, piece: bytes | None) -> Any:
        try:
            if piece is None:
                if not self._inflate.eof:
                    raise zlib.error("cut short")
                return
            while piece and not self._inflate.eof:
                yield self._inflate.decompress(piece, _PIECE)
                piece = self._inflate.unconsumed_tail
        except zlib.error as error:
            raise FileRefused(
                f"what the file's host {self._host!r} sends is packed wrongly or cut short; "
                "try again, or give another address"
            ) from error


def _declared(response: httpx2.Response) -> int | None:
    """The size as declared: of what travels, so of the file only if it is not packed."""
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return None
    text = response.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
