"""What goes along with each request, and what is noted of it: hooks of httpx's kind."""

from __future__ import annotations

import codecs
import re
from base64 import b64decode
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from backstay.errors import BadIntegration
from backstay.integration.http.bounded_body import UNBOUNDED, bound_body
from backstay.integration.http.carried_secrets import stay_home
from backstay.integration.http.credentials import Credentials
from backstay.integration.http.origin import Origin, origin_of_url
from backstay.integration.outgoing import IDEMPOTENT, current_call

__all__ = ["AUXILIARY", "Sending", "current_sending", "watch"]

AUXILIARY: Final = "backstay_auxiliary"
"""Extension of requests that serve others, such as those for tokens: they are not the call's own."""

_KEY: Final = "Idempotency-Key"
_FRAMING: Final = frozenset({"content-length", "host", "transfer-encoding"})
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff]+(?:[\t ]+(?=[^\t ]))?)*")
_NO_CHARSETS: Final = frozenset(
    {
        "idna",
        "punycode",
        "raw-unicode-escape",
        "undefined",
        "unicode-escape",
        "unicode_escape",
        "raw_unicode_escape",
    }
)


@dataclass(frozen=True, slots=True)
class Sending:
    """What goes along with the requests of one call.

    Attributes:
        origin: of the integration: scheme, host and port. What goes elsewhere goes without.
        headers: for all requests that do not have them.
        credentials: what does not leave that origin in any header.
        max_answer_bytes: how large a body may be that is read at once; ``None`` for any size.
        timeout_s: seconds for connecting, writing, reading and waiting for a connection, each;
            ``None`` leaves it to the client.
    """

    origin: Origin
    headers: Mapping[str, str] = field(repr=False)
    credentials: Credentials | None = None
    max_answer_bytes: int | None = None
    timeout_s: float | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody else may see."""
        return () if self.credentials is None else self.credentials.texts()


current_sending: ContextVar[Sending | None] = ContextVar("backstay_sending", default=None)
"""What goes along with the requests of the call that is running."""


async def _before(request: Any) -> None:
    stay_home(request)  # before all else: the secrets of a redirection that leads elsewhere
    call, sending = current_call.get(), current_sending.get()
    if call is None or request.extensions.get(AUXILIARY):
        return
    method = request.method.upper()
    is_idempotent = method in IDEMPOTENT
    if sending is not None:
        if origin_of_url(request.url) == sending.origin:
            _add(request, sending, None if is_idempotent else call.idempotency_key)
        else:
            _take_away(request, sending)
    _check_headers(request)
    call.sent(method, has_key=not is_idempotent and _KEY in request.headers)


def _check_headers(request: Any) -> None:
    """Refuse what no header may hold (RFC 9110 §5.5). Clients do as well, and quote it: a secret, too."""
    for name, value in request.headers.raw:
        if not _NAME.fullmatch(name):
            raise BadIntegration("a header's name has characters that none may have")
        if not _VALUE.fullmatch(value):
            raise BadIntegration(
                f"the header {name.decode('ascii')} ({len(value)} bytes) has some that no header may "
                "hold, such as a line break at its end; strip it"
            )


def _add(request: Any, sending: Sending, key: str | None) -> None:
    headers = request.headers
    for name, value in sending.headers.items():
        if name not in headers:
            headers[name] = value
    if key is not None and _KEY not in headers:
        headers[_KEY] = key
    if sending.timeout_s is not None:
        request.extensions["timeout"] = dict.fromkeys(
            ("connect", "read", "write", "pool"), sending.timeout_s
        )


def _take_away(request: Any, sending: Sending) -> None:
    """A redirection leads elsewhere: clients take ``Authorization`` out, and nothing else."""
    secrets = sending.secrets
    for name in [
        name
        for name, value in request.headers.items()
        if name == _KEY.lower()
        or any(name == each.lower() for each in sending.headers)
        or (name.lower() not in _FRAMING and _tells(value, secrets))
    ]:
        del request.headers[name]


def _tells(value: str, secrets: tuple[str, ...]) -> bool:
    """Whether a header has one of them, as it is or in base64 (RFC 7617)."""
    try:
        inside = b64decode(value.rpartition(" ")[2], validate=True).decode("utf-8", "replace")
    except ValueError:
        inside = ""
    return any(each in value or each in inside for each in secrets)


def _read_as_text(response: Any) -> None:
    """Python has charsets that are none, such as zlib, and punycode, which takes minutes for a megabyte."""
    named = getattr(response, "charset_encoding", None)
    if named is None:
        return
    try:
        known = codecs.lookup(named)
    except (LookupError, ValueError):  # clients read that as UTF-8
        return
    if not known._is_text_encoding or known.name in _NO_CHARSETS:
        response.encoding = "utf-8"


async def _after(response: Any) -> None:
    call, sending = current_call.get(), current_sending.get()
    if call is None or response.request.extensions.get(AUXILIARY):
        return
    _read_as_text(response)
    call.answered(response.status_code, response)
    if (
        sending is not None
        and sending.max_answer_bytes is not None
        and not response.request.extensions.get(UNBOUNDED)
    ):
        bound_body(response, sending.max_answer_bytes, call.name)


def watch(client: Any) -> bool:
    """Have a client say what it sends, and send along what belongs to the call that is running.

    Returns:
        Whether it can: it has ``event_hooks``, as httpx's clients have. Twice is as good as once.
    """
    hooks = getattr(client, "event_hooks", None)
    if not isinstance(hooks, Mapping):
        return False
    before = hooks.get("request", ())
    if _before not in before:
        after = hooks.get("response", ())
        client.event_hooks = {"request": [*before, _before], "response": [_after, *after]}
    return True
