"""What a page would load from elsewhere, found before a browser has to block it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from urllib.parse import urlsplit

__all__ = ["check_references", "read_domains"]

_DOMAIN = re.compile(
    r"(?:(?P<scheme>https?|wss?)://)?"
    r"(?P<host>(?:\*\.)?[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)"
    r"(?P<port>:\d{1,5})?/?"
)

# Which attributes of which elements a browser fetches.
_FETCHED = {
    "audio": ("src",),
    "embed": ("src",),
    "feimage": ("href", "xlink:href"),
    "frame": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href", "imagesrcset"),
    "object": ("data",),
    "script": ("src", "href", "xlink:href"),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
_LINKS_LEFT_ALONE = {
    "alternate",
    "author",
    "canonical",
    "help",
    "license",
    "next",
    "prev",
    "search",
}
_FRAMES = {"embed", "frame", "iframe", "object"}
_FRAME = "but a page inside a page is blocked unless frame_domains names where it comes from"
_CSS_URL = re.compile(
    r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^)"']*?))\s*\)|@import\s+(?:"([^"]*)"|'([^']*)')""",
    re.IGNORECASE,
)
_CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_JS_IMPORT = re.compile(
    r"""^[ \t]*(?:import\s*(?:[\w$*{},\s]+?\bfrom\s*)?|export\s+[\w$*{},\s]+?\bfrom\s*)["']([^"'\n]+)["']""",
    re.MULTILINE,
)


def read_domains(what: str, domains: Sequence[str]) -> list[str]:
    """Sources as a Content-Security-Policy lists them; a bare host means https.

    Args:
        what: the option they came in, for the message.
        domains: ``https://cdn.example.com``, ``*.example.com``, ``http://localhost:5173``.

    Raises:
        ValueError: one is no domain.
        TypeError: it is one text and no list.
    """
    if isinstance(domains, str):
        raise TypeError(f"{what}={domains!r} is one text; give a list: [{domains!r}]")
    found = []
    for domain in domains:
        match = _DOMAIN.fullmatch(domain.strip().lower())
        if match is None:
            raise ValueError(
                f"{what} has {domain!r}, which is no domain; write it as "
                '"https://cdn.example.com" or "https://*.example.com"'
            )
        scheme = match["scheme"] or "https"
        found.append(f"{scheme}://{match['host']}{match['port'] or ''}")
    return found


def check_references(html: str, allowed: Sequence[str], *, frames: Sequence[str] = ()) -> None:
    """Refuse a page that refers to what its policy would block.

    Scripts may still ask for anything at run time; the browser refuses that.

    Args:
        html: a fragment or a document.
        allowed: where it may load from, as ``read_domains`` gives it.
        frames: what it may show in frames, as above.

    Raises:
        ValueError: the first such reference, with its line.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    for line, where, url, remedy in reader.found:
        sources = frames if remedy is _FRAME else [] if remedy else allowed
        if remedy in {None, _FRAME} and _is_allowed(url, sources):
            continue
        shown = url if len(url) <= 80 else f"{url[:77]}..."
        raise ValueError(f"line {line}: {where} refers to {shown!r}, {remedy or _remedy(url)}")


def _remedy(url: str) -> str:
    host = (
        match[1]
        if (match := re.match(r"(?:[a-z][a-z0-9+.-]*:)?//([^/?#]+)", url, re.IGNORECASE))
        else ""
    )
    if host:
        return (
            "which hosts block: a page may load from declared domains only. Inline it, or declare "
            f'resource_domains=["https://{host}"]'
        )
    return (
        "which is not there: a host shows one document without files beside it. Inline it "
        "(text between the tags, or a data: URL), or build the page so that everything is in it"
    )


def _is_allowed(url: str, allowed: Sequence[str]) -> bool:
    url = re.sub(r"[\t\n\r]", "", url).strip()
    if not url or url.startswith("#") or re.match(r"(data|blob|about):", url, re.IGNORECASE):
        return True
    try:
        parts = urlsplit(f"https:{url}" if url.startswith("//") else url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    return any(_covers(source, parts.scheme.lower(), host, port) for source in allowed)


def _covers(source: str, scheme: str, host: str, port: int | None) -> bool:
    """Whether a CSP source matches (CSP3 §6.7.2.8), without its upgrades of scheme."""
    declared = urlsplit(source.replace("*.", "", 1))
    wildcard = "://*." in source
    name = declared.hostname or ""
    return (
        declared.scheme == scheme
        and declared.port == port
        and (host.endswith(f".{name}") if wildcard else host == name)
    )


_Found = tuple[int, str, str, str | None]


class _Reader(HTMLParser):
    """Collects (line, where, url, remedy); a remedy of its own means: never allowed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[_Found] = []
        self._raw: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        line = self.getpos()[0]
        module = tag == "script" and values.get("type", "").lower() == "module"
        self._raw = tag if module or tag == "style" else None
        rel = set(values.get("rel", "").lower().split())
        if tag != "link" or not rel or rel - _LINKS_LEFT_ALONE:
            for name in _FETCHED.get(tag, ()):
                for url in _urls(name, values.get(name, "")):
                    self.found.append(
                        (line, f"<{tag} {name}>", url, _FRAME if tag in _FRAMES else None)
                    )
        if tag == "base":
            self._add(
                line, "<base>", values.get("href", ""), "which moves every reference; drop it"
            )
        if tag == "meta" and values.get("http-equiv", "").lower() == "refresh":
            self._add(line, "<meta refresh>", values.get("content", ""), "which leaves; drop it")
        for name in ("action", "formaction"):
            if values.get(name, "").strip() and tag in {"form", "button", "input"}:
                remedy = "but a page posts nowhere: call a tool with backstay.callTool on submit"
                self._add(line, f"<{tag} {name}>", values[name], remedy)
        if "style" in values:
            self._add_css(line, f"<{tag} style>", values["style"])

    def handle_endtag(self, tag: str) -> None:
        self._raw = None

    def handle_data(self, data: str) -> None:
        line = self.getpos()[0]
        if self._raw == "style":
            self._add_css(line, "<style>", data)
        elif self._raw == "script":
            for match in _JS_IMPORT.finditer(data):
                at = line + data.count("\n", 0, match.start())
                self._add(at, "an import in <script>", match[1])

    def _add_css(self, line: int, where: str, text: str) -> None:
        text = _CSS_COMMENT.sub(lambda each: "\n" * each[0].count("\n"), text)
        for match in _CSS_URL.finditer(text):
            at = line + text.count("\n", 0, match.start())
            self._add(at, where, next(filter(None, match.groups()), ""))

    def _add(self, line: int, where: str, url: str, remedy: str | None = None) -> None:
        self.found.append((line, where, url, remedy))


def _urls(name: str, value: str) -> Iterator[str]:
    if name.endswith("srcset"):
        # Candidates are parted by a comma and space; a data: URL has commas of its own.
        for candidate in re.split(r",\s+", value):
            if candidate.strip():
                yield candidate.split()[0].rstrip(",")
    elif value.strip():
        yield value.strip()
