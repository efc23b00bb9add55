"""An answer as it is kept: status, headers and body, and what is added when it is given."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backstay.cache.outcome import Status
from backstay.cache.validators import client_has_it

__all__ = ["Answer", "Headers", "Sent"]

Headers = list[tuple[bytes, bytes]]

# What it is, the version of the format, the status, the flags, how many tags, and the length of
# everything before the body.
_HEAD = struct.Struct(">2sBHBHI")
_MAGIC = b"hr"
_VERSION = 1

# Of 304: what a client needs to go on using what it has (RFC 9110 §15.4.5).
_WITH_NOT_MODIFIED = frozenset(
    (b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary")
)

Sent = tuple[int, Headers, bytes]
"""Status, headers and body, ready to be sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answered, or what will be answered in its place.

    Attributes:
        status: the status code.
        headers: names in lower case; without those that belong to one request alone.
        body: the bytes.
        tags: by which it can be invalidated.
        tells_age: whether ``Age`` goes with it when it was there already. Not where a client's time to use it counts from
            when it is given.
        never_stale: it must not be given when it is too old, whatever the cache was told.
        whole: the handler made a ``Response`` of its own, which nothing is added to.
    """

    status: int
    headers: Headers
    body: bytes
    tags: Sequence[str] = ()
    tells_age: bool = True
    never_stale: bool = False
    whole: bool = False

    def pack(self) -> bytes:
        """As bytes. No header may hold a NUL, and none does that may be sent."""
        words = [tag.encode("utf-8", "surrogatepass") for tag in self.tags]
        for name, value in self.headers:
            words += (name, value)
        head = b"\0".join(words)
        flags = self.tells_age | self.never_stale << 1 | self.whole << 2
        return b"".join(
            (
                _HEAD.pack(_MAGIC, _VERSION, self.status, flags, len(self.tags), len(head)),
                head,
                self.body,
            )
        )

    @classmethod
    def unpack(cls, raw: bytes) -> Answer | None:
        """The answer that the bytes are; ``None`` if they are none, or of another version."""
        try:
            magic, version, status, flags, tags, length = _HEAD.unpack_from(raw)
        except struct.error:
            return None
        start = _HEAD.size + length
        if magic != _MAGIC or version != _VERSION or len(raw) < start:
            return None
        words = raw[_HEAD.size : start].split(b"\0") if length or tags else []
        if len(words) < tags or (len(words) - tags) % 2:
            return None
        return cls(
            status,
            list(zip(words[tags::2], words[tags + 1 :: 2], strict=True)),
            raw[start:],
            tuple([word.decode("utf-8", "surrogatepass") for word in words[:tags]]),
            bool(flags & 1),
            bool(flags & 2),
            bool(flags & 4),
        )

    def give(
        self,
        request: Iterable[tuple[bytes, bytes]],
        *,
        cache: Status,
        age_s: float = 0.0,
        head: bool = False,
        extra: Sequence[tuple[bytes, bytes]] = (),
    ) -> Sent:
        """What is sent for one request: the whole, or 304 if the client has it.

        Args:
            request: the request's headers.
            cache: what ``X-Cache`` says.
            age_s: how old it is.
            head: the method is HEAD, which is answered without the body.
            extra: headers of this request alone, such as those that dependencies set. What the
                answer has itself is not taken from there.
        """
        status, body = self.status, b"" if head else self.body
        headers = [*self.headers]
        if extra and not self.whole:
            names = {name for name, _ in headers}
            headers += [pair for pair in extra if pair[0] not in names]
        if status == 200 and client_has_it(request, headers):
            status, body = 304, b""
            dropped = {name for name, _ in self.headers} - _WITH_NOT_MODIFIED
            headers = [pair for pair in headers if pair[0] not in dropped]
        if self.tells_age and cache not in {"MISS", "BYPASS"}:
            headers.append((b"age", b"%d" % age_s))
        headers.append((b"x-cache", cache.encode()))
        return status, headers, body
