"""One request to another service and what came of it, as a tape has them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from backstay.testing.integrations.body import write_body
from backstay.testing.integrations.redaction import Redaction

__all__ = ["BASE", "Exchange", "Place", "differences", "nearest", "request_of"]

BASE: Final = "{base_url}"
"""On tapes, instead of the address of the instance."""

_IGNORED: Final = "(ignored)"


@dataclass(eq=False)
class Exchange:
    """A request and what came of it.

    Attributes:
        endpoint: the label of what was called: ``"Google Translate.translate"``.
        request: ``method``, ``url`` without its query, ``query`` (pairs), ``body``, and ``headers``
            that matter; what is empty is left out.
        answer: ``status``, ``headers`` (pairs), ``body``, and ``url`` if redirects led elsewhere; or
            ``error`` and ``message`` if there was none. Empty as long as nobody knows.
        returned: what the method made of it, where that is not the answer itself: a body, or
            ``{"part": true}`` if it made several requests and returned what another one answered.
    """

    endpoint: str
    request: dict[str, Any]
    answer: dict[str, Any]
    returned: dict[str, Any] | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Exchange:
        """The other way round of ``as_json``.

        Raises:
            KeyError: something is missing.
            TypeError: something is of another type.
            ValueError: something is written in another way.
        """
        request, answer = _from_people(data["request"]), _from_people(data["answer"])
        _check_answer(answer)
        return cls(str(data["endpoint"]), request, answer, data.get("returned"))

    def as_json(self) -> dict[str, Any]:
        """As its file has it, for people: names and values stand in one line."""
        found = {
            "endpoint": self.endpoint,
            "request": _for_people(self.request),
            "answer": _for_people(self.answer),
        }
        return found if self.returned is None else {**found, "returned": self.returned}

    def key(self, ignore: Iterable[str] = ()) -> str:
        """What is the same for requests that are the same.

        Args:
            ignore: names of what does not matter in queries and bodies.
        """
        return json.dumps(
            [self.endpoint, _without(self.request, frozenset(ignore))], sort_keys=True
        )

    def redacted(self, redaction: Redaction) -> Exchange:
        """Without secrets."""
        return Exchange(
            self.endpoint,
            _redacted_request(self.request, redaction),
            _redacted_answer(self.answer, redaction),
            None if self.returned is None else redaction.body(self.returned),
        )

    def __str__(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.request.get("query", ()))
        told = (
            f"{self.request.get('method')} {self.request.get('url')}{'?' + query if query else ''}"
        )
        return f"{self.endpoint}: {told}"


class Place:
    """Where an instance is, and that tapes are not to know it.

    Args:
        base_url: of the instance; empty if it has none.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        # Clients write scheme and host in small letters, and leave user and password to auth.
        scheme, mark, rest = self._base_url.partition("://")
        host, slash, path = rest.partition("/")
        forms = {self._base_url}
        for each in (host, host.rpartition("@")[2]):
            forms |= {
                f"{scheme.lower()}{mark}{each.lower()}{slash}{path}",
                f"{scheme}{mark}{each}{slash}{path}",
            }
        for each in list(forms):
            for port in (":443", ":80"):
                head, _, tail = each.partition(f"{port}/")
                forms.add(f"{head}/{tail}" if tail else each.removesuffix(port))
        listed = "|".join(map(re.escape, sorted(forms - {""}, key=len, reverse=True)))
        # Not in front of the rest of a longer host name, port or segment.
        self._pattern = re.compile(rf"(?:{listed})(?![\w-]|[.:]\w)" if listed else r"(?!)")

    def hidden(self, value: Any) -> Any:
        """All texts in there, with ``BASE`` instead of the address."""
        return _each_text(value, lambda text: self._pattern.sub(BASE, text))

    def shown(self, value: Any) -> Any:
        """The other way round."""
        return _each_text(value, lambda text: text.replace(BASE, self._base_url))


def request_of(request: Any, place: Place, headers: Iterable[str]) -> dict[str, Any]:
    """A client's request, its body read, as tapes have them; with all its secrets.

    Args:
        request: of httpx's kind.
        place: where the instance is.
        headers: names of those that matter, in small letters.
    """
    url = request.url.copy_with(userinfo=b"", fragment=None)
    address, _, query = str(url).partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    content_type = request.headers.get("content-type", "")
    kept = [[name, request.headers[name]] for name in sorted(headers) if name in request.headers]
    found = {
        "method": request.method.upper(),
        "url": place.hidden(address),
        # Their order matters to nobody; among those of one name it may.
        "query": place.hidden([list(each) for each in sorted(pairs, key=lambda each: each[0])]),
        "headers": kept,
        "body": place.hidden(write_body(request.content, content_type)),
    }
    return {name: value for name, value in found.items() if value}


def differences(asked: Exchange, recorded: Exchange) -> list[str]:
    """How two requests differ: lines with ``-`` are the recorded one's, with ``+`` the other's."""
    lines = difflib.ndiff(_lines(recorded), _lines(asked))
    return [each for each in lines if each[:1] in "+-"]


def _lines(exchange: Exchange) -> list[str]:
    told = {"endpoint": exchange.endpoint, **exchange.request}
    return json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False).splitlines()


def _for_people(part: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(part)
    if "headers" in found:
        found["headers"] = [f"{name}: {value}" for name, value in found["headers"]]
    if "query" in found:
        found["query"] = _by_name(found["query"])
    body = found.get("body", {})
    if "form" in body:
        found["body"] = {**body, "form": _by_name(body["form"])}
    return found


def _from_people(part: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(part)
    if "headers" in found:
        found["headers"] = [list(_header(each)) for each in found["headers"]]
    if "query" in found:
        found["query"] = _pairs(found["query"])
    body = found.get("body", {})
    if "form" in body:
        found["body"] = {**body, "form": _pairs(body["form"])}
    return found


def _check_answer(answer: Mapping[str, Any]) -> None:
    """Whoever plays it need not ask."""
    if "error" not in answer and type(answer["status"]) is not int:
        raise TypeError(f"status is a number; got {answer['status']!r:.40}")
    for name, kind in (("body", dict), ("url", str), ("error", str), ("message", str)):
        if name in answer and not isinstance(answer[name], kind):
            raise TypeError(f"{name} is of type {kind.__name__}; got {answer[name]!r:.40}")


def _header(line: str) -> tuple[str, str]:
    name, mark, value = line.partition(": ")
    if not mark:
        raise ValueError(f"{line!r} is no header; one is such as 'accept: text/plain'")
    return name, value


def _by_name(pairs: Iterable[Sequence[str]]) -> dict[str, Any]:
    """Values by their names; several of one name are a list."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _pairs(by_name: Mapping[str, Any]) -> list[list[str]]:
    return [
        [name, each]
        for name, value in sorted(by_name.items())
        for each in (value if isinstance(value, list) else [value])
    ]


def _redacted_request(request: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    found = dict(request)
    found["url"] = redaction.path(found.get("url", ""))
    if "query" in found:
        found["query"] = redaction.pairs(found["query"])
    if "headers" in found:
        found["headers"] = redaction.headers(found["headers"])
    if "body" in found:
        found["body"] = redaction.body(found["body"])
    return found


def _redacted_answer(answer: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    found = dict(answer)
    if "url" in found:
        found["url"] = redaction.path(found["url"])
    if "headers" in found:
        found["headers"] = redaction.headers(found["headers"])
    if "body" in found:
        found["body"] = redaction.body(found["body"])
    if "message" in found:
        found["message"] = redaction.text(found["message"])
    return found


def _without(request: Mapping[str, Any], ignore: frozenset[str]) -> Any:
    if not ignore:
        return request
    pairs = [
        [name, _IGNORED if name in ignore else value] for name, value in request.get("query", ())
    ]
    body = dict(request.get("body", {}))
    if "form" in body:
        body["form"] = [
            [name, _IGNORED if name in ignore else value] for name, value in body["form"]
        ]
    if "json" in body:
        body["json"] = _ignoring(body["json"], ignore)
    if "parts" in body:
        body["parts"] = [
            {"name": each["name"]} if each.get("name") in ignore else each for each in body["parts"]
        ]
    return {**request, "query": pairs, "body": body}


def _ignoring(value: Any, ignore: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {
            name: _IGNORED if name in ignore else _ignoring(each, ignore)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_ignoring(each, ignore) for each in value]
    return value


def _each_text(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _each_text(each, change) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(each, change) for each in value]
    return value


def nearest(asked: Exchange, recorded: Iterable[Exchange]) -> Exchange | None:
    """The one that differs least."""
    text = "\n".join(_lines(asked))

    def likeness(each: Exchange) -> tuple[bool, float]:
        other = "\n".join(_lines(each))
        ratio = difflib.SequenceMatcher(
            None, text[:2000], other[:2000], autojunk=False
        ).quick_ratio()
        return each.endpoint == asked.endpoint, ratio

    return max(recorded, key=likeness, default=None)
