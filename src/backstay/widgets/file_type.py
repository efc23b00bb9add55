"""What a file is, by its bytes: neither its name nor what a client says of it is believed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import PurePosixPath

from backstay.errors import MissingExtra
from backstay.widgets.file_refusal import FileRefused

__all__ = ["SNIFFED_BYTES", "allows_type", "check_patterns", "require_type", "sniff", "suffix_of"]

SNIFFED_BYTES = 64 * 1024
"""How much of a file's beginning is enough for ``sniff``."""

_UNKNOWN = "application/octet-stream"
_TEXT = "text/plain"

# The usual ones, exactly. puremagic takes a bare zip for a Word document, AVIF for a video, and
# two letters for a bitmap; it is asked about the rest.
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"\0\0\1\0", "image/x-icon"),
    (b"%PDF-", "application/pdf"),
    (b"%!PS", "application/postscript"),
    (b"{\\rtf", "application/rtf"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"(\xb5/\xfd", "application/zstd"),
    (b"7z\xbc\xaf'\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\x7fELF", "application/x-elf"),
    (b"MZ", "application/vnd.microsoft.portable-executable"),
    (b"\0asm", "application/wasm"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"PAR1", "application/vnd.apache.parquet"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf2", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"OggS", "audio/ogg"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
}
_OFFICE = "application/vnd.openxmlformats-officedocument."
_PACKED = (
    (b"word/", f"{_OFFICE}wordprocessingml.document"),
    (b"xl/", f"{_OFFICE}spreadsheetml.sheet"),
    (b"ppt/", f"{_OFFICE}presentationml.presentation"),
    (b"META-INF/MANIFEST.MF", "application/java-archive"),
)
_OLE = "application/x-ole-storage"
_IN_OLE = frozenset(
    {"application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"}
)
_MARKUP = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<iframe")

# Text that only its name tells from other text.
_TEXT_BY_NAME = {
    ".csv": "text/csv",
    ".ics": "text/calendar",
    ".jsonl": "application/x-ndjson",
    ".md": "text/markdown",
    ".ndjson": "application/x-ndjson",
    ".tsv": "text/tab-separated-values",
    ".txt": _TEXT,
    ".vcf": "text/vcard",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
_PLAIN_TEXTS = frozenset(_TEXT_BY_NAME.values())

_ALIASES = {
    "application/x-gzip": "application/gzip",
    "application/x-yaml": "application/yaml",
    "application/x-zip-compressed": "application/zip",
    "audio/mp3": "audio/mpeg",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "image/jpg": "image/jpeg",
    "image/x-ms-bmp": "image/bmp",
    "text/json": "application/json",
    "text/xml": "application/xml",
}
_SUFFIXES = {
    "application/json": ".json",
    "application/pdf": ".pdf",
    "application/xml": ".xml",
    "application/zip": ".zip",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    f"{_OFFICE}presentationml.presentation": ".pptx",
    f"{_OFFICE}spreadsheetml.sheet": ".xlsx",
    f"{_OFFICE}wordprocessingml.document": ".docx",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "image/tiff": ".tiff",
    "image/webp": ".webp",
    "text/csv": ".csv",
    "text/html": ".html",
    _TEXT: ".txt",
    "video/mp4": ".mp4",
}

# What is recognized here is never guessed: puremagic calls JPEG 2000 a JPEG.
_OURS = frozenset(
    (
        *(media_type for _, media_type in _BEGINNINGS),
        *_RIFF.values(),
        *_BRANDS.values(),
        *(media_type for _, media_type in _PACKED),
        "application/zip",
        "image/bmp",
        "video/mp4",
    )
)

_SURE = 0.4
_JSON_BYTES = 1024 * 1024
_ENTRIES = 64


def sniff(data: bytes, name: str | None = None) -> str:
    """The media type (RFC 6838) of ``data``, by its first 64 KiB.

    Args:
        data: the file, or its beginning.
        name: what it is called; says which kind of text a text is (``.csv``, ``.md``) and
            nothing else. ``None`` if unknown.

    Returns:
        ``text/plain`` for text of no known kind, the empty file included, and
        ``application/octet-stream`` for what nobody knows.

    Raises:
        MissingExtra: puremagic is not installed.
    """
    head = data[:SNIFFED_BYTES]
    known = _by_beginning(head)
    if known is not None:
        return known
    if _is_text(head):
        return _text_type(data, head, name)
    return _by_puremagic(head)


def require_type(data: bytes, allowed: Iterable[str], *, name: str | None = None) -> str:
    """The media type of ``data``, which must be one of ``allowed``.

    Args:
        data: the file, or its beginning.
        allowed: media types, or ranges like ``image/*``; see ``allows_type``.
        name: what it is called, as for ``sniff``.

    Raises:
        FileRefused: it is something else.
        ValueError: one of ``allowed`` is no media type.
    """
    patterns = check_patterns(allowed)
    found = sniff(data, name)
    if not allows_type(found, patterns):
        raise FileRefused(
            f"the file is {found} by its content, and {' or '.join(patterns)} is wanted; "
            "send one of that type"
        )
    return found


def check_patterns(allowed: Iterable[str]) -> tuple[str, ...]:
    """``allowed`` as a tuple of names in small letters, one spelling for each type.

    Raises:
        ValueError: one of them is no media type.
    """
    if isinstance(allowed, str):
        allowed = (allowed,)
    patterns = tuple(_ALIASES.get(each.lower(), each.lower()) for each in allowed)
    for pattern in patterns:
        kind, _, rest = pattern.partition("/")
        if not kind or not rest or "/" in rest or (kind == "*" and rest != "*"):
            raise ValueError(
                f"{pattern!r} is no media type; write one like 'application/pdf' or 'image/*'"
            )
    return patterns


def allows_type(found: str, patterns: Iterable[str]) -> bool:
    """Whether ``found`` is among ``patterns``, as ``check_patterns`` gives them.

    ``image/*`` takes every image but SVG, which is a program as well as a picture and has to be
    named. Kinds of text that only a name can tell apart stand for each other, and the old Office
    formats are one container, taken where any of them is wanted.
    """
    for pattern in patterns:
        if pattern in (found, "*/*"):
            return True
        kind, _, rest = pattern.partition("/")
        if rest == "*" and found.startswith(f"{kind}/") and found != "image/svg+xml":
            return True
        if found == _OLE and pattern in _IN_OLE:
            return True
        if pattern in _PLAIN_TEXTS and found in _PLAIN_TEXTS and _TEXT in (pattern, found):
            return True
    return False


def suffix_of(media_type: str, name: str | None = None) -> str:
    """A suffix for a file on disk: the name's if it is a plain one, else the type's, else none."""
    if name is not None:
        suffix = PurePosixPath(name.replace("\\", "/")).suffix
        if 1 < len(suffix) <= 11 and suffix[1:].isascii() and suffix[1:].isalnum():
            return suffix.lower()
    return _SUFFIXES.get(media_type, "")


def _by_beginning(head: bytes) -> str | None:
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[:4] == b"PK\x03\x04":
        return _zip_type(head)
    if head[:4] == b"PK\x05\x06":
        return "application/zip"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    for beginning, media_type in _BEGINNINGS:
        if head.startswith(beginning):
            # Two letters, or three, may also begin a sentence.
            if len(beginning) <= 3 and beginning.isascii() and _is_text(head):
                return None
            return media_type
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "image/bmp"
    return None


def _zip_type(head: bytes) -> str:
    """By the names in it, as many as stand in the beginning (APPNOTE.TXT 4.3.7)."""
    at = 0
    for index in range(_ENTRIES):
        length = int.from_bytes(head[at + 26 : at + 28], "little")
        extra = int.from_bytes(head[at + 28 : at + 30], "little")
        name = head[at + 30 : at + 30 + length]
        if index == 0 and name == b"mimetype":
            # OpenDocument and EPUB say what they are, uncompressed and first.
            start = at + 30 + length + extra
            size = int.from_bytes(head[at + 18 : at + 22], "little")
            said = head[start : start + min(size, 100)]
            if said.startswith((b"application/vnd.oasis.opendocument.", b"application/epub+zip")):
                return said.decode("ascii", "replace")
        for beginning, media_type in _PACKED:
            if name.startswith(beginning):
                return media_type
        at = head.find(b"PK\x03\x04", at + 4)
        if at < 0:
            break
    return "application/zip"


def _is_text(head: bytes) -> bool:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):  # UTF-16 says so
        return True
    if any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in set(head)):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may have been cut in two.
        return len(head) == SNIFFED_BYTES and error.start >= len(head) - 3
    return True


def _text_type(data: bytes, head: bytes, name: str | None) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:4096].lower()
    if start.startswith(b"<"):
        if start.startswith(_MARKUP):
            return "text/html"
        if start.startswith(b"<svg") or (
            start.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in start
        ):
            return "image/svg+xml"
        if start.startswith(b"<?xml"):
            return "application/xml"
    by_name = None if name is None else _TEXT_BY_NAME.get(PurePosixPath(name.lower()).suffix)
    if by_name is not None:
        return by_name
    if start[:1] in (b"{", b"[") and len(data) <= _JSON_BYTES:
        try:
            json.loads(data)
        except (ValueError, RecursionError):
            return _TEXT
        return "application/json"
    return _TEXT


def _by_puremagic(head: bytes) -> str:
    try:
        import puremagic
    except ImportError as missing:
        raise MissingExtra("widgets", "puremagic") from missing
    try:
        guesses = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return _UNKNOWN
    for guess in guesses:
        if guess.mime_type and guess.confidence >= _SURE:
            found = str(guess.mime_type)
            found = _ALIASES.get(found, found)
            if found not in _OURS:
                return found
    return _UNKNOWN
