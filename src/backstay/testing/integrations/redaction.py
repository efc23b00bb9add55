"""What is secret on its way to a tape, and its removal."""

from __future__ import annotations

import html
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, quote_plus
from uuid import UUID

from backstay.events.masking import MASK, Masking
from backstay.events.secret_patterns import (
    FRAGMENTS,
    SHAPES,
    WORDS,
    card_number,
    named_values,
    words_of,
)

__all__ = ["MASK", "NIL", "Redaction"]

NIL: Final = "00000000-0000-0000-0000-000000000000"
"""Instead of secrets that are UUIDs, so that models can still read them (RFC 9562 §5.9)."""

_HARMLESS: Final = (
    "token_type",
    "token_count",
    "input_tokens",
    "output_tokens",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "max_tokens",
    "token_url",
    "token_endpoint",
)
"""Names like those of secrets: what they stand for is none."""
_PAGING: Final = frozenset(
    {"continuation", "continue", "cursor", "next", "page", "pagination", "prev", "previous"}
)
"""With one of these, a token is where to go on. Masked, all pages would look the same."""
_SHORTEST: Final = 4
"""Characters of a secret that is looked for inside of other texts."""
_SHORTEST_LEARNED: Final = 8
"""The same for one that was found under a secret's name, and may be a word like any other."""
_LABELS: Final = ("name", "key", "field", "header", "param", "parameter")
_LABELLED: Final = frozenset({"value", "values", "content", "data"})
_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
_XML: Final = re.compile(r"(<([\w.:-]{1,100})(?:\s[^<>]*)?>)([^<>]+)(?=</\2\s*>)")
_MASKED_PERCENT: Final = re.compile(re.escape(quote(MASK, safe="")), re.IGNORECASE)
_PLAIN: Final = re.compile(r"[A-Za-z]{0,12}|[0-9]{0,9}")
_LINE: Final = re.compile(r"((?:data:)?[ \t]*)(.*?)(\s*)", re.DOTALL)
_LONGEST_NAME: Final = 200
_DEEPEST: Final = 12


class Redaction:
    """What is secret, as far as it is known by now; it learns.

    Secrets are the values of credentials, wherever they appear and also in base64, in hexadecimal
    digits and as URLs and HTML write them; what has the name of one; and what looks like one.
    ``backstay.events`` knows names and looks.

    Args:
        names: more names of secrets.
        keep: names that are none, whatever they look like.

    Raises:
        BadEvents: a name is none.
    """

    def __init__(self, *, names: Sequence[str] = (), keep: Sequence[str] = ()) -> None:
        own = frozenset("".join(words_of(each)) for each in names)
        harmless = [each for each in _HARMLESS if "".join(words_of(each)) not in own]
        self._masking = Masking(names=names, keep=(*harmless, *keep))
        self._own = own
        self._kept = frozenset("".join(words_of(each)) for each in keep)
        more = [" ".join(words_of(each)) for each in names]
        self._named = named_values(FRAGMENTS, (*WORDS, *more))
        self._whole: set[str] = set()
        self._inside: set[str] = {NIL}
        self._inside_pattern: re.Pattern[str] | None = None
        self._base64_pattern: re.Pattern[str] | None = None

    def is_secret(self, name: str) -> bool:
        """Whether what has that name is one."""
        if not self._masking.is_secret(name):
            return False
        words = words_of(name)
        is_page = words[-1:] == ["token"] and not _PAGING.isdisjoint(words)
        return not is_page or "".join(words) in self._own

    # ------------------------------------------------------------------ what it learns

    def learn_all(self, value: object) -> None:
        """Every text in there is a secret, and every number of four digits or more.

        Args:
            value: credentials: a mapping, whose values they are, except for those with names that
                are kept; or texts.
        """
        for each in self._texts_in(value, _DEEPEST):
            self._learn(each, _SHORTEST)

    def learn_from(self, value: object, name: str = "", *, certain: bool = False) -> None:
        """Learn what stands under names of secrets in there, at any depth.

        Args:
            value: what JSON can say.
            name: what it is called itself; empty for nothing.
            certain: those are secrets. Otherwise, as in answers, they may be words like any other:
                ``{"token": "required"}``.
        """
        if name and self.is_secret(name):
            for each in self._texts_in(value, _DEEPEST):
                if certain or not each.isalpha():
                    self._learn(each, _SHORTEST if certain else _SHORTEST_LEARNED)
        else:
            self._learn_from(value, _DEEPEST, certain=certain)

    def learn_headers(self, headers: Iterable[Sequence[str]], names: Iterable[str] = ()) -> None:
        """Learn what headers prove, such as the token of ``Authorization``.

        Args:
            headers: names and values.
            names: of those that are secret whatever they are called, in small letters.
        """
        surely = frozenset(names)
        for name, value in headers:
            if name.lower() in {"cookie", "set-cookie"}:
                pairs = value.split(";")[: 1 if name.lower() == "set-cookie" else None]
                for pair in pairs:
                    self.learn_from(pair.partition("=")[2].strip(), "cookie")
            elif name.lower() in surely or self.is_secret(name):
                scheme, blank, proof = value.partition(" ")
                self.learn_all([proof if blank else value])
                if scheme.lower() == "basic":  # RFC 7617 §2
                    user, _, password = _decoded(proof).partition(":")
                    self.learn_all([user, password])

    def _texts_in(self, value: object, depth: int) -> Iterator[str]:
        value = _revealed(value)
        if isinstance(value, str):
            if value and not (value.isdigit() and len(value) < _SHORTEST):
                yield value
        elif isinstance(value, bytes):
            yield value.decode("utf-8", "replace")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if len(str(value)) >= _SHORTEST:
                yield str(value)
        elif depth > 0 and isinstance(value, Mapping):
            for name, each in value.items():
                if "".join(words_of(str(name))) not in self._kept:
                    yield from self._texts_in(each, depth - 1)
        elif depth > 0 and isinstance(value, list | tuple | set | frozenset):
            for each in value:
                yield from self._texts_in(each, depth - 1)
        elif depth > 0 and hasattr(value, "__dict__") and not callable(value):
            yield from self._texts_in(vars(value), depth - 1)

    def _learn_from(self, value: object, depth: int, *, certain: bool) -> None:
        if isinstance(value, Mapping):
            labelled = self._is_labelled(value)
            for key, each in value.items():
                name = str(key)
                if self.is_secret(name) or (labelled and name.lower() in _LABELLED):
                    self.learn_from(each, "secret", certain=certain)
                elif depth > 0:
                    self._learn_from(each, depth - 1, certain=certain)
        elif isinstance(value, list | tuple) and depth > 0:
            for each in value:
                self._learn_from(each, depth - 1, certain=certain)

    def _learn(self, text: str, shortest: int) -> None:
        if text in self._whole or text in {MASK, NIL}:
            return
        if len(text) < shortest:
            if shortest == _SHORTEST:
                self._whole.add(text)
            return
        self._whole.add(text)
        self._inside.add(text)
        self._inside_pattern = self._base64_pattern = None

    # ------------------------------------------------------------------ what it removes

    def tree(self, value: Any, name: str = "") -> Any:
        """What JSON can say, without secrets; as deep and as many as before.

        Args:
            value: it. Numbers that are secrets become 0, since models read them.
            name: of the field that it stands in.
        """
        if name and self.is_secret(name):
            return self._covered(value)
        if isinstance(value, Mapping):
            labelled = self._is_labelled(value)
            return {
                self.known(str(key)): self._covered(each)
                if labelled and str(key).lower() in _LABELLED
                else self.tree(each, str(key))
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.tree(each, name) for each in value]
        if isinstance(value, str):
            if name and "".join(words_of(name)) in self._kept:
                return self.known(value)
            return self.text(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return 0 if str(value) in self._whole else value
        return value

    def pairs(self, pairs: Iterable[Sequence[str]]) -> list[list[str]]:
        """The same for names and values, as in queries and forms."""
        return [[self.known(str(name)), self.tree(value, str(name))] for name, value in pairs]

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[list[str]]:
        """The same for headers; of cookies, the names stay."""
        found = []
        for name, value in headers:
            if name.lower() == "set-cookie":
                pair, semicolon, rest = value.partition(";")
                shown = f"{pair.partition('=')[0]}={MASK}{semicolon}{self.text(rest)}"
            else:
                shown = self.tree(value, name)
            found.append([name, shown])
        return found

    def body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The same for a body as tapes have them."""
        found = dict(body)
        for each in {"json", "items"} & found.keys():
            found[each] = self.tree(found[each])
        if "form" in found:
            found["form"] = self.pairs(found["form"])
        if "text" in found:
            found["text"] = self.text(found["text"])
        if "base64" in found:
            content = b64decode(found["base64"])
            clean = self.bytes(content)
            if clean != content:
                found["base64"] = b64encode(clean).decode("ascii")
        if "parts" in found:
            found["parts"] = [self._part(each) for each in found["parts"]]
        return found

    def bytes(self, content: bytes) -> bytes:
        """The same for what is no text: known secrets alone."""
        for each in sorted(self._inside, key=len, reverse=True):
            forms = [form.encode("utf-8", "replace") for form in _forms_of(each)]
            for form in (*forms, each.encode("utf-16-le"), each.encode("utf-16-be")):
                content = content.replace(form, MASK.encode())
        return content

    def path(self, path: str) -> str:
        """The same for a URL up to its query."""
        return _MASKED_PERCENT.sub(MASK, self.text(path))

    def text(self, text: str) -> str:
        """The same for a text. JSON in it stays JSON, also line by line and as events."""
        if "{" not in text and "[" not in text:
            return self._plain(text)
        if (whole := self._json(text)) is not None:
            return whole
        pieces: list[str] = []
        others: list[str] = []
        for line in text.splitlines(keepends=True):
            # Server-sent events say "data: {...}" (HTML §9.2.5).
            before, inside, after = _LINE.fullmatch(line).groups()  # type: ignore[union-attr]  # fits all
            if (masked := self._json(inside)) is None:
                others.append(line)
                continue
            # What is no JSON goes together: a key may stand in several lines.
            pieces += [self._plain("".join(others)), before, masked, after]
            others.clear()
        return "".join([*pieces, self._plain("".join(others))])

    def _json(self, text: str) -> str | None:
        """``None`` if it is none with anything in it."""
        if text.strip()[:1] not in ("{", "["):
            return None
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        masked = self.tree(value)
        return text if masked == value else json.dumps(masked, ensure_ascii=False)

    def _plain(self, text: str) -> str:
        text = self.known(text)
        if _PLAIN.fullmatch(text):
            return text
        low = text.lower()
        for hints, pattern in SHAPES:
            if any(hint in low for hint in hints):
                text = pattern.sub(_put, text)
        if "=" in text or ":" in text:
            text = self._named.sub(self._put_for_name, text)
        if "</" in text:
            text = _XML.sub(self._put_in_xml, text)
        return card_number(text, MASK)

    def known(self, text: str) -> str:
        """A text without the secrets that were learned; what merely looks like one stays."""
        if not text or text == MASK:
            return text
        if text in self._whole:
            return NIL if _is_uuid(text) else MASK
        if text == NIL:
            return text
        return self._without_base64(self._pattern().sub(MASK, text))

    def _part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        name = str(part.get("name", ""))
        kept = {key: self.known(part[key]) for key in ("name", "filename", "type") if key in part}
        rest = {key: value for key, value in part.items() if key not in kept}
        return {**kept, **({"text": MASK} if rest and self.is_secret(name) else self.body(rest))}

    def _covered(self, value: Any) -> Any:
        """All of it is secret; it keeps its form."""
        if isinstance(value, Mapping):
            return {self.known(str(key)): self._covered(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._covered(each) for each in value]
        if isinstance(value, str):
            return (NIL if _is_uuid(value) else MASK) if value else value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return 0
        return value

    def _is_labelled(self, value: Mapping[Any, Any]) -> bool:
        """Whether it is such as ``{"name": "Authorization", "value": ...}``."""
        return any(
            isinstance(label := value.get(each), str) and self.is_secret(label) for each in _LABELS
        )

    def _put_for_name(self, found: re.Match[str]) -> str:
        if found["also_kept"]:
            start = end = found.start()
            while (
                start > 0 and end - start < _LONGEST_NAME and _is_of_name(found.string[start - 1])
            ):
                start -= 1
            while end < found.end() and _is_of_name(found.string[end]):
                end += 1
            if not self.is_secret(found.string[start:end]):
                return found[0]
        return _put(found)

    def _put_in_xml(self, found: re.Match[str]) -> str:
        name = found[2].rpartition(":")[2]
        return f"{found[1]}{MASK}" if self.is_secret(name) and found[3].strip() else found[0]

    def _pattern(self) -> re.Pattern[str]:
        if self._inside_pattern is None:
            forms = {form for each in self._inside for form in _forms_of(each)}
            listed = "|".join(map(re.escape, sorted(forms, key=lambda each: (-len(each), each))))
            self._inside_pattern = re.compile(listed, re.IGNORECASE)
        return self._inside_pattern

    def _without_base64(self, text: str) -> str:
        if self._base64_pattern is None:
            cores = {core for each in self._inside - {NIL} for core in _base64_cores(each.encode())}
            listed = "|".join(map(re.escape, sorted(cores)))
            self._base64_pattern = re.compile(listed or r"(?!)")
        pieces, at = [], 0
        for found in self._base64_pattern.finditer(text):
            if found.start() < at:
                continue
            start, end = found.span()
            # All of what it is part of: what is left of it would tell the secret's neighbours.
            while start > at and text[start - 1] in _BASE64:
                start -= 1
            while end < len(text) and text[end] in _BASE64:
                end += 1
            while end < len(text) and text[end] == "=":
                end += 1
            pieces += [text[at:start], MASK]
            at = end
        return "".join([*pieces, text[at:]]) if pieces else text


def _revealed(value: object) -> object:
    get = getattr(value, "get_secret_value", None)
    return get() if callable(get) else value


def _decoded(text: str) -> str:
    try:
        return b64decode(text).decode("utf-8", "replace")
    except ValueError:
        return ""


def _is_uuid(text: str) -> bool:
    if len(text) != len(NIL):
        return False
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _forms_of(secret: str) -> Iterator[str]:
    """How a secret is written in URLs, JSON, scripts and HTML, and in hexadecimal digits."""
    once = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    yield secret
    yield from once
    yield from {quote(each, safe="") for each in once}
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield json.dumps(secret)[1:-1].replace("/", "\\/")  # PHP's way
    yield html.escape(secret)
    # All but letters and digits, as whoever is careful does it; or all of it.
    for is_plain in (str.isalnum, _never):
        yield _written(secret, is_plain, "&#{};")
        yield _written(secret, is_plain, "&#x{:x};")
        yield _written(secret, is_plain, "\\u{:04x}")
        yield _written(secret, is_plain, "\\x{:02x}")
        yield "".join(
            chr(each) if each < 128 and is_plain(chr(each)) else f"%{each:02x}"
            for each in secret.encode("utf-8", "replace")
        )
    yield secret.encode("utf-8", "replace").hex()


def _written(text: str, is_plain: Callable[[str], bool], form: str) -> str:
    return "".join(each if is_plain(each) else form.format(ord(each)) for each in text)


def _never(character: str) -> bool:
    return False


def _base64_cores(secret: bytes) -> Iterator[str]:
    """What of its base64 is there whatever stands around it (RFC 4648 §4, §5)."""
    for before in range(3):
        encoded = b64encode(b"\0" * before + secret).decode("ascii")
        core = encoded[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
        yield core
        yield core.translate(str.maketrans("+/", "-_"))


def _is_of_name(character: str) -> bool:
    return character.isalnum() or character in "_-"


def _put(found: re.Match[str]) -> str:
    groups = found.groupdict()
    return f"{groups.get('kept') or groups.get('also_kept') or ''}{MASK}"
