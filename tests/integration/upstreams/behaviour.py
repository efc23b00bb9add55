"""The ways in which other services let one down."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from tests.integration.upstream import Behaviour, Line, Received, answer, json_answer

__all__ = [
    "BEFORE_A_WHOLE_ANSWER",
    "UNREADABLE",
    "busy",
    "close_after",
    "close_while_idle",
    "close_without_answer",
    "drip_for_ever",
    "drips",
    "early_hints_first",
    "echo",
    "endless_body",
    "garbage",
    "gzip_bomb",
    "hang_before_headers",
    "hang_in_body",
    "hang_in_headers",
    "long_headers",
    "many_headers",
    "packed_wrongly",
    "recovers",
    "redirect",
    "reset_before_headers",
    "reset_in_body",
    "reset_in_headers",
    "short_body",
    "truncated_gzip",
    "wrong_charset",
]

_WHOLE = json_answer({"text": "hello"})
_BODY_AT = _WHOLE.index(b"\r\n\r\n") + 8


async def hang_before_headers(line: Line, request: Received) -> None:
    await line.hang()


async def hang_in_headers(line: Line, request: Received) -> None:
    await line.send(_WHOLE[:30])
    await line.hang()


async def hang_in_body(line: Line, request: Received) -> None:
    await line.send(_WHOLE[:_BODY_AT])
    await line.hang()


async def reset_before_headers(line: Line, request: Received) -> None:
    line.reset()


async def reset_in_headers(line: Line, request: Received) -> None:
    await line.send(_WHOLE[:30])
    line.reset()


async def reset_in_body(line: Line, request: Received) -> None:
    await line.send(_WHOLE[:_BODY_AT])
    line.reset()


async def close_without_answer(line: Line, request: Received) -> None:
    line.close()


async def short_body(line: Line, request: Received) -> None:
    """Promises more than it sends, and closes."""
    await line.send(_WHOLE[:-4])
    line.close()


async def garbage(line: Line, request: Received) -> None:
    await line.send(b"\x16\x03\x01 SSH-2.0-Whatever \xff\xfe\r\n\r\nnonsense\r\n")
    line.close()


async def drip_for_ever(line: Line, request: Received) -> None:
    """A byte of its body at a time, and never the last one: no pause is long, the whole is."""
    await line.send(answer(headers=[("Content-Type", "application/json")], length=10**9))
    while not line.reader.at_eof() and not line.writer.is_closing():
        await line.drip(b" " * 64)
    line.close()


async def endless_body(line: Line, request: Received) -> None:
    """As much as the other side takes, without a length."""
    await line.send(answer(headers=[("Content-Type", "application/json")], length=None))
    while not line.writer.is_closing():
        await line.send(b" " * 65536)
    line.close()


def drips(data: bytes) -> Behaviour:
    """A whole answer, a byte at a time."""

    async def behave(line: Line, request: Received) -> None:
        await line.drip(data)

    return behave


async def close_while_idle(line: Line, request: Received) -> None:
    """Answers as if it kept the connection, and closes it then."""
    await line.send(_WHOLE)
    line.close()


def close_after(answers: int, data: bytes = _WHOLE) -> Behaviour:
    """Each connection is kept for so many answers; the request after those is never answered.

    What a pool sees of a server that closes just when the next request is on its way.
    """
    given: dict[int, int] = {}

    async def behave(line: Line, request: Received) -> None:
        given[line.number] = given.get(line.number, 0) + 1
        if given[line.number] > answers:
            line.reset()
        else:
            await line.send(data)

    return behave


async def echo(line: Line, request: Received) -> None:
    """What was asked, as JSON."""
    await line.send(
        json_answer(
            {
                "method": request.method,
                "target": request.target,
                "headers": dict(request.headers),
                "body_bytes": request.body_bytes,
            }
        )
    )


async def early_hints_first(line: Line, request: Received) -> None:
    """Says 103 twice before it answers (RFC 8297)."""
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    await line.send(hint)
    await line.send(hint)
    await line.send(_WHOLE)


def busy(retry_after: str | None = None, status: int = 429) -> bytes:
    headers = [] if retry_after is None else [("Retry-After", retry_after)]
    return json_answer({"error": "busy"}, status, headers)


def redirect(to: str, status: int = 302) -> bytes:
    return answer(b"", status, [("Location", to)])


def recovers(failures: int, bad: bytes | Behaviour, good: bytes = _WHOLE) -> Sequence[Any]:
    """So many bad answers, and good ones from then on."""
    return [*[bad] * failures, good]


def packed_wrongly() -> bytes:
    return answer(b"this is no gzip", headers=[("Content-Encoding", "gzip")])


def truncated_gzip() -> bytes:
    packed = gzip.compress(b'{"text": "hello"}' * 1000)
    return answer(packed[:-20], headers=[("Content-Encoding", "gzip")])


def gzip_bomb(size: int, coding: str = "gzip") -> bytes:
    """Some KiB that become ``size`` bytes of JSON white space."""
    packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    packed = b"".join(packer.compress(b" " * 65536) for _ in range(size // 65536))
    headers = [("Content-Encoding", coding), ("Content-Type", "application/json")]
    return answer(packed + packer.flush(), headers=headers)


def long_headers(size: int) -> bytes:
    return json_answer({"text": "hello"}, headers=[("X-Long", "x" * size)])


def many_headers(count: int) -> bytes:
    return json_answer(
        {"text": "hello"}, headers=[(f"X-Number-{number}", "x") for number in range(count)]
    )


def wrong_charset() -> bytes:
    """Says UTF-8, and is Latin-1."""
    return answer(
        '{"text": "h\xe9llo"}'.encode("latin-1"),
        headers=[("Content-Type", "application/json; charset=utf-8")],
    )


BEFORE_A_WHOLE_ANSWER: Mapping[str, Behaviour] = {
    "reset before headers": reset_before_headers,
    "reset in headers": reset_in_headers,
    "reset in body": reset_in_body,
    "closed without answer": close_without_answer,
    "short body": short_body,
    "garbage": garbage,
}
"""Ends of a connection before there is a whole answer; all of them at once, none hangs."""


UNREADABLE: Mapping[str, bytes] = {
    "not JSON": answer(b"<html>oops</html>", headers=[("Content-Type", "text/html")]),
    "empty": answer(b""),
    "204": answer(b"", "204 No Content", length=None),
    "broken JSON": answer(b'{"text": "hel', headers=[("Content-Type", "application/json")]),
    "wrong shape": json_answer({"texts": ["hello"]}),
    "a list": json_answer(["hello"]),
    "null": json_answer(None),
    "wrong charset": wrong_charset(),
    "deep JSON": answer(b"[" * 100_000 + b"]" * 100_000),
    "huge integer": answer(b'{"text": ' + b"9" * 10_000 + b"}"),
    "NaN": answer(b'{"text": NaN}'),
    "a bare surrogate": answer(b'{"texts": "\\ud800"}'),
    "two values": answer(b'{"text": "hello"} {"text": "hello"}'),
    "a BOM": answer(b"\xff\xfe" + '{"texts": 1}'.encode("utf-16-le")),
}
"""Whole answers with status 200 (or 204) in which there is no ``{"text": "..."}``."""
