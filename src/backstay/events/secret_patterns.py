"""What secrets look like, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["FRAGMENTS", "SHAPES", "Shape", "WORDS", "card_number", "named_values", "words_of"]

FRAGMENTS = (
    "access key",
    "account key",
    "api key",
    "authorization",
    "bearer",
    "card number",
    "client assertion",
    "code verifier",
    "cookie",
    "credential",
    "csrf",
    "encryption key",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "private key",
    "recovery code",
    "secret",
    "security code",
    "session id",
    "session key",
    "signature",
    "signing key",
    "ticket",
    "token",
    "xsrf",
)
"""A name is a secret's if it has one of these anywhere, whatever is between their words."""

WORDS = (
    "auth",
    "cvc",
    "cvv",
    "iban",
    "jsessionid",
    "otp",
    "pan",
    "pass",
    "passcode",
    "phpsessid",
    "pin",
    "pwd",
    "pw",
    "sessid",
    "sid",
    "sig",
    "ssn",
    "totp",
)
"""A name is a secret's if one of these is a whole word of it: ``card_pin``, and not ``spinning``."""


class Shape(NamedTuple):
    """What a secret looks like.

    Attributes:
        hints: texts in lower case; without one of them there is none, which is quickly seen.
        pattern: finds it. What it calls ``kept`` stays.
    """

    hints: tuple[str, ...]
    pattern: re.Pattern[str]


_SERVICES = (
    "ghp_|gho_|ghu_|ghs_|ghr_|github_pat_|glpat-|xox|whsec_|npm_|pypi-|aiza|sk-|sk_|rk_|sg.|hvs."
)

SHAPES: tuple[Shape, ...] = (
    # PEM (RFC 7468), also when it was cut before its end.
    Shape(
        ("private key-----",),
        re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END|\Z)", re.DOTALL),
    ),
    # Authorization's values (RFC 6750 §2.1, RFC 7617 §2): base64 is told from prose by its case.
    Shape(
        ("bearer",),
        re.compile(
            r"(?P<kept>(?:\b(?i:bearer)[ :]{1,3})+)"
            r"(?:b?\"[^\"]*\"?|b?'[^']*'?|[^\s,;\"'=:][^\s,;\"']*)"
        ),
    ),
    Shape(
        ("basic",),
        re.compile(r"(?P<kept>\b(?i:basic)\s+)(?=\S*[A-Z0-9=])[A-Za-z0-9+/=_-]{6,}"),
    ),
    # JWS and JWE in compact form: what begins with {" in base64url. Also when it was cut.
    Shape(("eyj",), re.compile(r"eyJ[\w-]{4,}(?:\.[\w-]*){0,4}")),
    # Our own keys, and those of services that can be told by their beginning.
    Shape(("bsk_", "bsr_"), re.compile(r"(?<![A-Za-z0-9])bs[kr]_[\w-]{4,}")),
    Shape(
        tuple(_SERVICES.split("|")),
        re.compile(
            r"(?<![A-Za-z0-9])(?:gh[pousr]_|github_pat_|glpat-|xox[a-z]-|whsec_|npm_|pypi-|AIza"
            r"|sk-|[sr]k_(?:live|test)_|SG\.|hvs\.)[\w.-]{12,}"
        ),
    ),
    Shape(("akia", "asia"), re.compile(r"(?<![A-Za-z0-9])A[KS]IA[A-Z0-9]{12,}")),
    # Hashes of passwords, in crypt's form.
    Shape(
        ("$",),
        re.compile(r"\$(?:argon2(?:id|i|d)|2[abxy]?|[156y]|scrypt|pbkdf2[\w-]{0,20})\$[^\s'\"]+"),
    ),
    # Passwords in URLs (RFC 3986 §3.2.1); they may have a slash or an @ in them, whatever the RFC
    # says.
    Shape(("://",), re.compile(r"(?P<kept>://[^\s/:@]{0,256}:)\S{1,256}(?=@)")),
    # What databases and pydantic repeat of the data when they complain about it.
    Shape(
        ("[parameters: ",),
        re.compile(r"(?P<kept>\[parameters: ).*?(?=\]\s*(?:\n|\(|\Z)|\Z)", re.DOTALL),
    ),
    Shape(
        ("failing row contains",),
        re.compile(r"(?P<kept>Failing row contains ).*?(?=\n|\Z)", re.DOTALL),
    ),
    Shape(
        ("key (",),
        re.compile(
            r"(?P<kept>Key \([^)\n]{0,200}\)=)"
            r".*?(?=\s(?:already exists|is not present|is still|conflicts)|\n|\Z)"
        ),
    ),
    Shape(
        ("input_value=",),
        re.compile(r"(?P<kept>\binput_value=).*?(?=, input_type=|\Z)", re.DOTALL),
    ),
)
"""What is a secret wherever it stands."""

_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_NAME_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W_a-zA-Z0-9]+")


def words_of(name: str) -> list[str]:
    """The words of a field's name, in lower case: ``apiKey``, ``API_KEY`` and ``api-key`` alike."""
    return [each.lower() for each in _NAME_PARTS.findall(name)]


def named_values(fragments: Iterable[str], words: Iterable[str]) -> re.Pattern[str]:
    """Finds values that stand in a text behind the name of a secret, with ``=`` or ``:``.

    In query strings and forms, in JSON and Python's dicts, quoted in quotes again, in headers.

    Args:
        fragments: as ``FRAGMENTS``.
        words: as ``WORDS``.
    """
    loose = "|".join(_spaced(each) for each in fragments)
    whole = "|".join(_spaced(each) for each in words)
    name = rf"(?:{loose}|(?<![A-Za-z0-9])(?:{whole})(?![A-Za-z0-9]))"
    # Behind the name may come more of it, the brackets of a form's field, and its closing quote.
    link = r"[\w.%\[\]-]{0,40}\\{0,8}[\"']?\s{0,3}(?:=>|:=|==?|:)\s{0,3}"
    value = "|".join(
        (
            r"b?\"(?:[^\"\\]|\\.)*\"?",
            r"b?'(?:[^'\\]|\\.)*'?",
            r"\\{1,8}[\"'].*?(?:\\[\"']|\Z)",
            r"\[[^\]]*\]?",
            r"\{[^}]*\}?",
            r"\([^)]*\)?",
            r"[^\s,;&]+",
        )
    )
    # A cookie's or Authorization's value goes on to the end of the line.
    header = r"(?:cookie|authorization)\s{0,3}:\s{0,3}"
    return re.compile(
        rf"(?P<kept>{header})[^\r\n]+|(?P<also_kept>{name}{link})(?:{value})",
        re.IGNORECASE | re.DOTALL,
    )


def _spaced(words: str) -> str:
    return "(?:[^A-Za-z0-9]|%20|%5F)?".join(map(re.escape, words.split()))


def card_number(text: str, put: str) -> str:
    """The text without numbers of payment cards: 13 to 19 digits whose check digit is right
    (ISO/IEC 7812-1, Luhn's formula), with blanks or dashes between them or without.
    """
    return _CARD.sub(lambda found: put if _is_card(found[0]) else found[0], text)


def _is_card(text: str) -> bool:
    digits = [int(each) for each in text if each.isdecimal()]
    if len(set(digits)) == 1:
        return False  # padding; no card has it
    doubled = (sum(divmod(2 * each, 10)) for each in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
