"""Whether a secret key could be guessed."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from backstay.errors import BadAuth, WeakSecret

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["check_secret"]

_logger = logging.getLogger("backstay")

_LEAST_BYTES: Final = 32
_MOST_LOOKED_AT: Final = 1024
_LEAST_DISTINCT: Final = 8
_LEAST_SURPRISES: Final = 12
_HOW: Final = 'python -c "import secrets; print(secrets.token_urlsafe(48))"'

_PUBLISHED: Final = frozenset(
    {
        # FastAPI's tutorial, and Flask's
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
        # RFC 7515 A.1 (also RFC 7519's and 7797's), RFC 7517 A.3, RFC 7520 §3.5 and §5.3
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        "GawgguFyGrWKav7AX4VKUg",
        "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
        # RFC 7515 A.1's as its bytes are, in hexadecimal
        (
            "0323354b2b0fa5bc837e0665777ba68f5ab328e6f054c928a90f84b2d2502ebf"
            "d3fb5a92d20647ef968ab4c377623d223d2e2172052e4f08c0cd9af567d080a3"
        ),
        # jwt.io
        "a-string-secret-at-least-256-bits-long",
        "a-valid-string-secret-that-is-at-least-384-bits-long",
        "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
        "your-256-bit-secret",
        "your-384-bit-secret",
        "your-512-bit-secret",
        "qwertyuiopasdfghjklzxcvbnm123456",
        "mnbvcxzlkjhgfdsapoiuytrewq654321",
    }
)
"""Keys that everybody can read somewhere; attackers try these first."""

_MARKS: Final = ("django-insecure-",)
"""How keys begin that say themselves that they are none."""

# Long ones first: "insecure" is more than "secure".
_WORDS: Final = re.compile(
    "|".join(
        sorted(
            """
            admin and any app application auth backstay bit bits byte bytes change changeit
            changeme changethis characters chars correct default demo dev development django
            dummy enough env example fastapi flask for foo bar baz generated goes here hmac
            hs256 hs384 hs512 insecure jwt key keyboard least length letmein local localhost
            long longer master min minimum must mysecret not one only passphrase password
            passw0rd placeholder please prod production put qwerty qwertyuiop asdfghjkl zxcvbnm
            random replace safe sample secret secretkey secure service set should sign signing
            some something staging string strong super supersecret temp temporary test testing
            that the this todo token try unsafe use value very welcome with your
            """.split(),  # noqa: SIM905  # a hundred lines of one word each read no better
            key=len,
            reverse=True,
        )
    ),
    re.IGNORECASE,
)


def check_secret(
    secret: str | bytes | SecretStr, *, debug: bool = False, what: str = "secret_key"
) -> str:
    """A secret key as text, if nobody could guess it.

    It has 32 bytes at least, the size of an HS256 digest (RFC 7518 §3.2); it is none that is
    published somewhere, not made of well-known words, neither repeats itself nor counts up, and has
    more than a few different characters. That finds what people type, not what a machine made
    badly: no test can see whether a random text was random.

    Args:
        secret: text, pydantic's ``SecretStr``, or bytes that are UTF-8.
        debug: ``True`` only logs a warning if it is weak.
        what: how to call it in messages. It is never shown itself.

    Returns:
        The secret, unchanged.

    Raises:
        WeakSecret: it is weak.
        BadAuth: it is no text, or empty.
    """
    text = _read(secret, what)
    weakness = _weakness(text)
    if weakness is None:
        return text
    message = f"{what} {weakness}, so tokens could be forged"
    if not debug:
        raise WeakSecret(f"{message}. Make one like this and keep it out of the code: {_HOW}")
    _logger.warning("%s; this is refused outside debug mode. Make one: %s", message, _HOW)
    return text


def _read(secret: object, what: str) -> str:
    reveal = getattr(secret, "get_secret_value", None)
    found = reveal() if callable(reveal) else secret
    if isinstance(found, bytes | bytearray):
        try:
            found = found.decode()
        except UnicodeDecodeError:
            # Without the cause, which has the bytes in it.
            raise BadAuth(
                f"{what} is bytes that are no text; give it as text, such as its .hex()"
            ) from None
    if not isinstance(found, str):
        raise BadAuth(f"{what} is a text; got a value of type {type(found).__qualname__}")
    if not found.strip():
        raise BadAuth(f"{what} is empty, so anybody could forge tokens. Make one: {_HOW}")
    return found


def _weakness(text: str) -> str | None:
    """What is wrong with it, as the rest of a sentence; ``None`` if nothing is."""
    bare = text.strip()[:_MOST_LOOKED_AT]
    if bare in _PUBLISHED or bare.startswith(_MARKS):
        return "is an example that is published"
    size = len(bare.encode("utf-8", "surrogatepass"))
    if size < _LEAST_BYTES:
        return f"is {size} bytes long, {_LEAST_BYTES} are needed (RFC 7518, 3.2)"
    if _period(bare) <= len(bare) // 2:
        return "repeats itself"
    if len(set(bare)) < _LEAST_DISTINCT:
        return f"is made of {len(set(bare))} different characters, {_LEAST_DISTINCT} are needed"
    if _surprises(re.sub(r"[\W_]", "", _WORDS.sub("", bare))) < _LEAST_SURPRISES:
        return "is made of well-known words or characters in a row"
    return None


def _surprises(text: str) -> int:
    """How many characters are neither the one before them nor its neighbour in the alphabet."""
    text = text.lower()
    return sum(
        abs(ord(one) - ord(before)) > 1 for one, before in zip(text, f"\0{text}", strict=False)
    )


def _period(text: str) -> int:
    """After how many characters it begins again, its length if it does not.

    By the borders of its prefixes (Knuth, Morris and Pratt).
    """
    borders = [0] * len(text)
    border = 0
    for at in range(1, len(text)):
        while border and text[at] != text[border]:
            border = borders[border - 1]
        border += text[at] == text[border]
        borders[at] = border
    return len(text) - borders[-1]
