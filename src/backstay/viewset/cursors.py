"""Cursors: where a page ended, in a form that clients carry and cannot change.

A cursor is base64url (RFC 4648 §5, no padding) of a version byte, a tag of 16 bytes, and the
position as JSON. The tag is HMAC-SHA256 (RFC 2104), cut to 128 bits, of the position and of the
question that it belongs to: a cursor of another route, filter, order or user does not fit, and
one that was changed does not either. The position is legible. Where it holds what clients are
not shown, it is encrypted with AES-SIV (RFC 5297), whose tag has the same size and place.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from backstay.clock import Clock, SystemClock
from backstay.errors import BadCursor, MissingExtra, SettingMissing
from backstay.jobs.secret import SETTING

if TYPE_CHECKING:
    from backstay.settings import Settings

__all__ = ["Cursors", "Position", "audience_of", "require_sealing"]

_SIGNED, _SEALED = b"\x01", b"\x02"
_TAG_BYTES = 16
_LONGEST = 32_768
_SHORTEST_KEY = 16
_HOW_TO_MAKE_ONE = 'python -c "import secrets; print(secrets.token_urlsafe(32))" makes one'


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in an ordered list.

    Attributes:
        values: what the row there is ordered by, as the driver gives them.
        backward: whether the rows before it are meant, rather than those after.
        inclusive: whether the row itself is meant as well.
    """

    values: tuple[Any, ...]
    backward: bool = False
    inclusive: bool = False


class Cursors:
    """Writes cursors and reads them.

    Args:
        keys: the first one signs, cursors of all of them are read. 16 characters or more each.
        max_age_s: seconds after which a cursor is refused. ``None``: never.
        clock: says how old cursors are.

    Raises:
        SettingMissing: there is no key.
        ValueError: a key is too short.
    """

    def __init__(
        self,
        keys: Sequence[str],
        *,
        max_age_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(keys, str):
            raise TypeError(f"{type(self).__name__}(keys) is a list of keys; got one string")
        if not keys:
            raise SettingMissing(
                f"the setting {SETTING!r} has no value, so cursors of lists cannot be signed: "
                f"{_HOW_TO_MAKE_ONE}; put it into the environment or .env of every process"
            )
        for number, key in enumerate(keys, 1):
            if len(key) < _SHORTEST_KEY:
                raise ValueError(
                    f"key {number} of {SETTING} has to be {_SHORTEST_KEY} characters or more; "
                    f"got {len(key)} characters: {_HOW_TO_MAKE_ONE}"
                )
        self._keys = [hmac.digest(each.encode(), b"backstay cursor", "sha256") for each in keys]
        self._max_age_s = max_age_s
        self._clock = SystemClock() if clock is None else clock

    @classmethod
    def from_settings(
        cls, settings: Settings, *, max_age_s: float | None = None, clock: Clock | None = None
    ) -> Cursors:
        """With the keys in the setting ``BACKSTAY_SECRET_KEY``, separated by commas.

        There is no key that is made up when none is set: with several processes, the next page
        would be refused by all but one of them.

        Raises:
            SettingMissing: it has no value.
            ValueError: a key is too short.
        """
        value = settings.get(SETTING)
        parts = value.split(",") if isinstance(value, str) else value or ()
        keys = [part.strip() for part in parts]
        return cls([key for key in keys if key], max_age_s=max_age_s, clock=clock)

    def write(self, position: Position, audience: str, *, sealed: bool = False) -> str:
        """A position as a cursor, for a query string as it is.

        Args:
            position: where.
            audience: the question that it belongs to: ``audience_of(...)``.
            sealed: whether clients must not be able to read the values.

        Raises:
            MissingExtra: ``sealed``, and the package ``cryptography`` is not installed.
            TypeError: a value has no form that could be read again.
        """
        flags = position.backward + 2 * position.inclusive
        content: list[Any] = [flags, [_to_json(each) for each in position.values]]
        if self._max_age_s is not None:
            content.append(int(self._clock.now().timestamp()))
        payload = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
        key = self._keys[0]
        if sealed:
            body = _SEALED + _siv(key).encrypt(payload, [audience.encode()])
        else:
            body = _SIGNED + _tag(key, payload, audience) + payload
        return base64.urlsafe_b64encode(body).rstrip(b"=").decode()

    def read(self, cursor: str, audience: str) -> Position:
        """The position again.

        Raises:
            BadCursor: it was changed, belongs to another question, or is too old.
        """
        body = _decoded(cursor)
        payload = next(
            filter(None, (self._opened(body, key, audience) for key in self._keys)), None
        )
        if payload is None:
            raise BadCursor("the cursor's tag does not fit")
        # From here on it is what we have written.
        flags, values, *issued = json.loads(payload)
        if self._max_age_s is not None:
            age_s = self._clock.now().timestamp() - issued[0] if issued else float("inf")
            if age_s > self._max_age_s:
                raise BadCursor(f"the cursor is {age_s:.0f} s old; {self._max_age_s} s are allowed")
        return Position(
            values=tuple(_from_json(each) for each in values),
            backward=bool(flags & 1),
            inclusive=bool(flags & 2),
        )

    @staticmethod
    def _opened(body: bytes, key: bytes, audience: str) -> bytes | None:
        version, rest = body[:1], body[1:]
        if version == _SIGNED:
            tag, payload = rest[:_TAG_BYTES], rest[_TAG_BYTES:]
            return payload if hmac.compare_digest(tag, _tag(key, payload, audience)) else None
        if version == _SEALED:
            try:
                from cryptography.exceptions import InvalidTag
            except ImportError:
                return None  # then nothing was sealed here
            try:
                return bytes(_siv(key).decrypt(rest, [audience.encode()]))
            except InvalidTag:
                return None
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(self._keys)} key(s)>"


def audience_of(*parts: str | None) -> str:
    """The question that a cursor belongs to, of its parts.

    Args:
        parts: such as a route's path, ``FilterSet.describe(...)``, ``Order.text``, the user.
    """
    return json.dumps(parts)


def _decoded(cursor: str) -> bytes:
    if len(cursor) > _LONGEST:
        raise BadCursor(f"the cursor has {len(cursor)} characters; {_LONGEST} are allowed")
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        body = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise BadCursor("the cursor is no base64url") from None
    # Several texts stand for the same bytes, unless one insists on the one we write.
    if base64.urlsafe_b64encode(body).rstrip(b"=").decode() != cursor:
        raise BadCursor("the cursor is no base64url as we write it")
    if len(body) <= 1 + _TAG_BYTES:
        raise BadCursor("the cursor is too short")
    return body


def _tag(key: bytes, payload: bytes, audience: str) -> bytes:
    asked = hashlib.sha256(audience.encode()).digest()
    return hmac.digest(key, _SIGNED + asked + payload, "sha256")[:_TAG_BYTES]


def require_sealing() -> Any:
    """What seals cursors.

    Raises:
        MissingExtra: the package ``cryptography`` is not installed.
    """
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV
    except ImportError as error:
        raise MissingExtra("secrets", "cryptography") from error
    return AESSIV


def _siv(key: bytes) -> Any:
    halves = (hmac.digest(key, purpose, "sha256") for purpose in (b"seal mac", b"seal cipher"))
    return require_sealing()(b"".join(halves))


def _to_json(value: Any) -> Any:
    """A value as JSON: itself, or a list of what it is and how it is written."""
    if value is None or type(value) in {str, int, bool}:
        return value
    if isinstance(value, float):
        return ["f", repr(value)]  # nan and inf too, which JSON does not have
    for kind, (cls, write, _) in _KINDS.items():
        if isinstance(value, cls):
            return [kind, write(value)]
    if isinstance(value, str):  # and the like: what a driver takes for them
        return str(value)
    if isinstance(value, int):
        return int(value)
    raise TypeError(
        f"rows are ordered by a value of type {type(value).__qualname__}, which has no form in a "
        "cursor; order by something else, or use pages by number"
    )


def _from_json(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    kind, text = value
    return float(text) if kind == "f" else _KINDS[kind][2](text)


# datetime before date, of which it is a kind.
_KINDS: dict[str, tuple[type[Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "n": (Decimal, str, Decimal),
    "t": (datetime, datetime.isoformat, datetime.fromisoformat),
    "d": (date, date.isoformat, date.fromisoformat),
    "c": (time, time.isoformat, time.fromisoformat),
    "i": (
        timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: timedelta(*parts),
    ),
    "u": (UUID, str, UUID),
    "b": (bytes, bytes.hex, bytes.fromhex),
}
