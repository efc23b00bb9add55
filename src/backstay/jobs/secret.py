"""Arguments that are nobody's business: sealed in the ledger, masked everywhere else.

``Annotated[str, Secret]`` marks a parameter of a task. Its value is written as
``{"$sealed": "..."}``; whoever reads the table, a backup of it, a log line or a status page
sees that and no more.

How a value is sealed. Every value has an AES-256-GCM key and nonce of its own, derived by HKDF
(SHA-256) from the key in the setting and 16 random bytes that are stored beside it. AES-GCM
rather than Fernet, because it authenticates what the value belongs to as well: a value sealed for
one task and parameter does not open as another's, so whoever can write to the table still cannot
have a card number mailed to themselves. A key for each value, because 96 random bits of nonce
under one key are too few for a table that grows for years. HKDF takes keys of any length, but
does not make a weak one strong, so short ones are refused.

Rotation: write the new key in front of the old one, ``BACKSTAY_SECRET_KEY=new,old``. The first
seals, all of them open. Drop the old one when no unfinished job is older than the change.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import secrets
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from backstay.errors import BadJob, JobError, MissingExtra, SettingMissing

if TYPE_CHECKING:
    from backstay.settings import Settings

__all__ = ["MASK", "SEALED", "SETTING", "Sealer", "Secret", "Unsealable", "is_sealed", "mask"]

SEALED = "$sealed"
"""The one key of the object that stands for a sealed value."""

MASK = "***"
"""What is shown instead of a secret."""

SETTING = "BACKSTAY_SECRET_KEY"
"""The setting with the keys."""

_SHORTEST_KEY = 16
_VERSION = b"\x01"
_ID_BYTES = 4
_SALT_BYTES = 16
_TAG_BYTES = 16
_HEAD_BYTES = len(_VERSION) + _ID_BYTES + _SALT_BYTES

_HOW_TO_MAKE_ONE = 'python -c "import secrets; print(secrets.token_urlsafe(32))" makes one'


class Secret:
    """Marks a parameter whose value is encrypted in the ledger: ``Annotated[str, Secret]``.

    Works for any type. Where it marks a part of one (a model's field, an element of a list), the
    whole argument is encrypted.
    """


class Unsealable(JobError):
    """A sealed value that does not open with any of the keys there are."""


class Sealer:
    """Encrypts and decrypts arguments.

    Args:
        keys: the first one seals, all of them open. 16 characters or more each.

    Raises:
        BadJob: there is no key, or one is too short.
        MissingExtra: the package ``cryptography`` is not installed.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if isinstance(keys, str):
            raise BadJob(f"{type(self).__name__}(keys) is a list of keys; got one string")
        if not keys:
            raise BadJob(f"there is no key to seal secrets with; set {SETTING}: {_HOW_TO_MAKE_ONE}")
        for number, key in enumerate(keys, 1):
            if not isinstance(key, str) or len(key) < _SHORTEST_KEY:
                found = f"{len(key)} characters" if isinstance(key, str) else type(key).__qualname__
                raise BadJob(
                    f"key {number} of {SETTING} has to be {_SHORTEST_KEY} characters or more; "
                    f"got {found}: {_HOW_TO_MAKE_ONE}"
                )
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
            from cryptography.hazmat.primitives.hashes import SHA256
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        except ImportError as error:
            raise MissingExtra("secrets", "cryptography") from error
        self._aes = AESGCM
        self._wrong = InvalidTag

        def derive(key: bytes, length: int, salt: bytes, purpose: bytes) -> bytes:
            return HKDF(algorithm=SHA256(), length=length, salt=salt, info=purpose).derive(key)

        self._derive = derive
        self._keys: dict[bytes, list[bytes]] = {}
        for key in keys:
            encoded = key.encode()
            key_id = derive(encoded, _ID_BYTES, b"", b"backstay key id")
            # Two keys may share four bytes of id; then both are tried.
            self._keys.setdefault(key_id, []).append(encoded)
            if key is keys[0]:
                self._first = (key_id, encoded)

    @classmethod
    def from_settings(cls, settings: Settings) -> Sealer:
        """With the keys in the setting ``BACKSTAY_SECRET_KEY``, separated by commas.

        Raises:
            SettingMissing: it has no value.
            BadJob: a key is too short.
            MissingExtra: the package ``cryptography`` is not installed.
        """
        value = settings.get(SETTING)
        parts = value.split(",") if isinstance(value, str) else value or ()
        keys = [part.strip() if isinstance(part, str) else part for part in parts]
        keys = [key for key in keys if key != ""]
        if not keys:
            raise SettingMissing(
                f"the setting {SETTING!r} has no value, so arguments marked Secret cannot be "
                f"sealed or opened: {_HOW_TO_MAKE_ONE}; put it into the environment or .env of "
                "every process (several keys, newest first, are separated by commas)"
            )
        return cls(keys)

    def seal(self, value: bytes, *, task: str, parameter: str) -> str:
        """A value as it is stored, printable and without quotes.

        Args:
            value: what to encrypt.
            task: the task it belongs to.
            parameter: the parameter of that it belongs to.
        """
        key_id, key = self._first
        salt = secrets.token_bytes(_SALT_BYTES)
        head = _VERSION + key_id + salt
        cipher, nonce = self._cipher(key, salt)
        sealed = cipher.encrypt(nonce, value, _belonging(head, task, parameter))
        return base64.urlsafe_b64encode(head + sealed).decode()

    def unseal(self, token: str, *, tasks: Sequence[str], parameter: str) -> bytes:
        """The value again.

        Args:
            token: what ``seal`` gave.
            tasks: the name of the task, and those it had when the value may have been sealed.
            parameter: the parameter it was found in.

        Raises:
            Unsealable: no key opens it, it was altered, or it belongs to something else.
        """
        try:
            sealed = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            sealed = b""
        if len(sealed) < _HEAD_BYTES + _TAG_BYTES or sealed[:1] != _VERSION:
            raise Unsealable(
                f"the sealed value of {parameter!r} is damaged, or was written by a newer version"
            )
        head, rest = sealed[:_HEAD_BYTES], sealed[_HEAD_BYTES:]
        key_id, salt = head[1 : 1 + _ID_BYTES], head[1 + _ID_BYTES :]
        if key_id not in self._keys:
            known = ", ".join(each.hex() for each in self._keys)
            raise Unsealable(
                f"{parameter!r} was sealed with the key {key_id.hex()}, which is not in {SETTING} "
                f"(there: {known}); add it behind the current one, separated by a comma, and "
                "requeue the job"
            )
        for key in self._keys[key_id]:
            cipher, nonce = self._cipher(key, salt)
            for task in tasks:
                with contextlib.suppress(self._wrong):
                    return bytes(cipher.decrypt(nonce, rest, _belonging(head, task, parameter)))
        raise Unsealable(
            f"the sealed value of {parameter!r} was altered, or was sealed for another parameter "
            f"or task than {', '.join(tasks)}; a task that was renamed needs its former name in "
            "aliases="
        )

    def _cipher(self, key: bytes, salt: bytes) -> tuple[Any, bytes]:
        derived = self._derive(key, 32 + 12, salt, b"backstay argument")
        return self._aes(derived[:32]), derived[32:]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {sum(map(len, self._keys.values()))} key(s)>"


def is_sealed(value: object) -> bool:
    """Whether a value of the arguments' JSON stands for a sealed one."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(SEALED), str)


def mask(args: str, secret: Collection[str] = ()) -> dict[str, Any]:
    """A job's arguments for showing: secrets appear as ``"***"``.

    Args:
        args: the text in the job's row.
        secret: parameters to mask even if their values are not sealed, because they were
            written before the parameter was marked: ``task.arguments.secrets``.

    Returns:
        The arguments by parameter; empty if the text cannot be read.
    """
    try:
        values = json.loads(args)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {name: MASK if name in secret else _masked(value) for name, value in values.items()}


def _masked(value: Any) -> Any:
    if is_sealed(value):
        return MASK
    if isinstance(value, dict):
        return {key: _masked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return value


def _belonging(head: bytes, task: str, parameter: str) -> bytes:
    return head + f"{task}\0{parameter}".encode()
