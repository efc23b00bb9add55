"""What an author's HTML has already, and where the rest goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser

__all__ = ["Shape"]

# What may stand in a head. The first of anything else begins the body (HTML §13.2.6.4.4).
_IN_HEAD = frozenset(
    {"base", "basefont", "bgsound", "link", "meta", "noscript", "script", "style", "template"}
    | {"title"}
)


@dataclass(slots=True)
class Shape:
    """The outline of a fragment or of a whole document.

    Attributes:
        document: whether it is a whole document: it has a doctype, ``<html>``, ``<head>`` or
            ``<body>`` of its own.
        doctype: where the doctype ends, ``None`` if there is none.
        html: where ``<html ...>`` begins and ends.
        head: where the content of ``<head>`` begins.
        lang: whether ``<html>`` says its language.
        charset: whether the encoding is declared.
        viewport: whether the viewport is declared.
        title: whether there is a title.
    """

    document: bool = False
    doctype: int | None = None
    html: tuple[int, int] | None = None
    head: int | None = None
    lang: bool = False
    charset: bool = False
    viewport: bool = False
    title: bool = False

    @classmethod
    def of(cls, html: str) -> Shape:
        """Read the outline of ``html``."""
        reader = _Reader(html)
        reader.feed(html)
        reader.close()
        return reader.shape

    def dress(self, html: str, *, head: str, locale: str) -> str:
        """The whole document, with ``head`` in its head before everything of the author's.

        Args:
            html: the text this is the shape of.
            head: markup.
            locale: the language for a document that names none.
        """
        language = f'lang="{escape(locale)}"'
        if not self.document:
            return (
                f"<!doctype html>\n<html {language}>\n<head>\n{head}\n</head>\n"
                f"<body>\n{html}\n</body>\n</html>\n"
            )
        if self.head is not None:
            html = f"{html[: self.head]}\n{head}{html[self.head :]}"
        else:
            start = self.html[1] if self.html else self.doctype or 0
            html = f"{html[:start]}\n<head>\n{head}\n</head>{html[start:]}"
        if self.html is not None and not self.lang:
            after = self.html[0] + len("<html")
            html = f"{html[:after]} {language}{html[after:]}"
        return html if self.doctype is not None else f"<!doctype html>\n{html}"


@dataclass(slots=True)
class _Lines:
    """From the parser's line and column to an offset."""

    starts: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> _Lines:
        return cls([0, *(at + 1 for at, each in enumerate(text) if each == "\n")])

    def offset(self, position: tuple[int, int]) -> int:
        line, column = position
        return self.starts[line - 1] + column


class _Reader(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.shape = Shape()
        self._lines = _Lines.of(html)
        self._html = html
        self._in_body = False

    def handle_decl(self, decl: str) -> None:
        if decl.lower().startswith("doctype") and self.shape.doctype is None:
            self.shape.document = True
            start = self._lines.offset(self.getpos())
            self.shape.doctype = self._html.index(">", start) + 1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        shape, values = self.shape, dict(attrs)
        start = self._lines.offset(self.getpos())
        end = start + len(self.get_starttag_text() or "")
        if tag == "html" and shape.html is None:
            shape.document, shape.html, shape.lang = True, (start, end), "lang" in values
        elif tag == "head" and shape.head is None and not self._in_body:
            shape.document, shape.head = True, end
        elif tag == "body":
            shape.document = self._in_body = True
        elif tag == "title" and not self._in_body:
            shape.title = True  # one in the body is an SVG's
        elif tag == "meta":
            http = (values.get("http-equiv") or "").lower()
            shape.charset |= "charset" in values or http == "content-type"
            shape.viewport |= (values.get("name") or "").lower() == "viewport"
        elif tag not in _IN_HEAD and tag not in {"html", "head"}:
            self._in_body = True
