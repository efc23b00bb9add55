"""The ``Link`` header: where an answer says that others are (RFC 8288)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Link", "Links", "read_links"]

# Each stops at the first character that cannot belong to it: a header made to be read slowly is not.
_BLANK: Final = re.compile(r"[ \t]*")
_BETWEEN: Final = re.compile(r"[ \t,]*")
_TARGET: Final = re.compile(r"<([^<>]*)>")
_NAME: Final = re.compile(r"[^=;,\s\"<>]+")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BARE: Final = re.compile(r"[^;,\s\"]*")
_REST: Final = re.compile(r"[^,]*")


@dataclass(frozen=True, slots=True)
class Link:
    """One link.

    Attributes:
        target: as written; often relative to the URL of the answer.
        rels: what it is to the answer, in small letters.
        parameters: the others, names in small letters; of several with one name the first.
    """

    target: str
    rels: frozenset[str]
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Links:
    """All that a header says.

    Attributes:
        links: in their order.
        is_whole: everything could be read. What could not is left out.
    """

    links: tuple[Link, ...]
    is_whole: bool

    def targets(self, rel: str) -> tuple[str, ...]:
        """Where those are that are ``rel`` to the answer itself, each once.

        Links with an ``anchor`` are about something else (RFC 8288 §3.2).
        """
        found = [
            each.target
            for each in self.links
            if rel.lower() in each.rels and "anchor" not in each.parameters
        ]
        return tuple(dict.fromkeys(found))


def read_links(header: str) -> Links:
    """The links of a header; of several headers joined with commas, as clients join them."""
    found: list[Link] = []
    is_whole = True
    at = _skip(_BETWEEN, header, 0)
    while at < len(header):
        link, at = _read_link(header, at)
        if link is not None:
            found.append(link)
        after = _skip(_BLANK, header, at)
        if link is None or (after < len(header) and header[after] != ","):
            is_whole = False
            after = _skip(_REST, header, after)
        # A character at least, so that nothing is read for ever.
        at = _skip(_BETWEEN, header, max(after, at + (link is None)))
    return Links(tuple(found), is_whole)


def _read_link(header: str, at: int) -> tuple[Link | None, int]:
    match = _TARGET.match(header, at)
    if match is None:
        return None, at
    target, at = match[1].strip(), match.end()
    parameters: dict[str, str] = {}
    while True:
        next_at = _skip(_BLANK, header, at)
        if header[next_at : next_at + 1] != ";":
            break
        next_at = _skip(_BLANK, header, next_at + 1)
        name = _NAME.match(header, next_at)
        if name is None:  # "; ;" and a semicolon at the end say nothing
            at = next_at
            continue
        value, at = _read_value(header, _skip(_BLANK, header, name.end()))
        parameters.setdefault(name[0].lower(), value)
    rels = frozenset(parameters.pop("rel", "").lower().split())
    return Link(target, rels, parameters), at


def _read_value(header: str, at: int) -> tuple[str, int]:
    if header[at : at + 1] != "=":
        return "", at
    at = _skip(_BLANK, header, at + 1)
    quoted = _QUOTED.match(header, at)
    if quoted is not None:
        return re.sub(r"\\(.)", r"\1", quoted[1]), quoted.end()
    end = _skip(_BARE, header, at)
    return header[at:end], end


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()
