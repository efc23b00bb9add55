"""What files are, by their bytes."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from backstay.widgets.file_refusal import FileRefused
from backstay.widgets.file_type import (
    SNIFFED_BYTES,
    allows_type,
    check_patterns,
    require_type,
    sniff,
    suffix_of,
)


def picture(kind: str) -> bytes:
    into = io.BytesIO()
    Image.new("RGB", (4, 4)).save(into, kind)
    return into.getvalue()


def packed(*names: str, first: bytes = b"x") -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for name in names:
            archive.writestr(name, first if name == "mimetype" else b"x")
    return into.getvalue()


OFFICE = "application/vnd.openxmlformats-officedocument"
ODT = b"application/vnd.oasis.opendocument.text"
KNOWN = {
    "png": (picture("PNG"), "image/png"),
    "jpeg": (picture("JPEG"), "image/jpeg"),
    "gif": (picture("GIF"), "image/gif"),
    "webp": (picture("WEBP"), "image/webp"),
    "bmp": (picture("BMP"), "image/bmp"),
    "tiff": (picture("TIFF"), "image/tiff"),
    "ico": (picture("ICO"), "image/x-icon"),
    "avif": (b"\0\0\0\x1cftypavif" + b"\0" * 40, "image/avif"),
    "heic": (b"\0\0\0\x18ftypheic" + b"\0" * 40, "image/heic"),
    "mp4": (b"\0\0\0\x18ftypmp42" + b"\0" * 40, "video/mp4"),
    "webm": (b"\x1aE\xdf\xa3\x01\0\0\0B\x82\x84webm" + b"\0" * 40, "video/webm"),
    "wav": (b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 30, "audio/wav"),
    "mp3": (b"ID3\x03" + b"\0" * 50, "audio/mpeg"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
    "zip": (packed("notes.txt"), "application/zip"),
    "empty zip": (packed(), "application/zip"),
    "docx": (
        packed("[Content_Types].xml", "word/document.xml"),
        f"{OFFICE}.wordprocessingml.document",
    ),
    "xlsx": (packed("docProps/app.xml", "xl/workbook.xml"), f"{OFFICE}.spreadsheetml.sheet"),
    "odt": (packed("mimetype", "content.xml", first=ODT), ODT.decode()),
    "gzip": (gzip.compress(b"x"), "application/gzip"),
    "elf": (b"\x7fELF" + b"\0" * 60, "application/x-elf"),
    "exe": (b"MZ\x90\0\x03" + b"\0" * 60, "application/vnd.microsoft.portable-executable"),
    "json": (b'{"a": [1]}', "application/json"),
    "html": (b"\xef\xbb\xbf \n<!DOCTYPE HTML><p>", "text/html"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
    "svg after a declaration": (b"<?xml version='1.0'?>\n<!-- x --><svg/>", "image/svg+xml"),
    "xml": (b"<?xml version='1.0'?><a/>", "application/xml"),
    "rtf": (b"{\\rtf1 x}", "application/rtf"),
    "text": ("gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n".encode(), "text/plain"),
    "utf-16": ("text".encode("utf-16"), "text/plain"),
    "nothing": (b"", "text/plain"),
    "text that begins like a bitmap": (b"BMW is a car", "text/plain"),
    "text that begins like a program": (b"MZ is two letters", "text/plain"),
    "text that begins like music": (b"ID3 is a tag", "text/plain"),
    "text that begins like json": (b"{not json", "text/plain"),
    "zeros": (b"\0" * 50, "application/octet-stream"),
    "noise": (bytes(range(100, 256)), "application/octet-stream"),
    "a font, which only puremagic knows": (b"wOF2\0\1\0\0" + b"\0" * 40, "font/woff2"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 40, "image/jp2"),
    "an old office file": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "application/x-ole-storage"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_file_is_what_its_bytes_say(name: str) -> None:
    data, expected = KNOWN[name]
    assert sniff(data) == expected


@pytest.mark.parametrize("name", ["photo.png", "photo.csv", "photo"])
def test_a_name_makes_no_picture_of_a_program(name: str) -> None:
    assert sniff(KNOWN["elf"][0], name) == "application/x-elf"


def test_a_name_tells_one_kind_of_text_from_another() -> None:
    assert sniff(b"a,b\n1,2\n", "table.CSV") == "text/csv"
    assert sniff(b"# hi", "read.me.md") == "text/markdown"
    assert sniff(b"a,b\n1,2\n", "table.exe") == "text/plain"
    assert sniff(b"<html>", "table.csv") == "text/html"


def test_a_character_cut_in_two_by_the_end_of_what_is_read_leaves_text_text() -> None:
    text = ("a" * (SNIFFED_BYTES - 1) + "\N{EURO SIGN}").encode()
    assert sniff(text) == "text/plain"
    assert sniff(b"abc\xe2\x82") == "application/octet-stream"


@given(st.binary(max_size=200), st.none() | st.text(max_size=20))
def test_whatever_comes_has_a_type(data: bytes, name: str | None) -> None:
    kind, _, rest = sniff(data, name).partition("/")
    assert kind
    assert rest


@given(st.binary(max_size=100), st.sampled_from([value[0][:12] for value in KNOWN.values()]))
def test_whatever_follows_a_beginning_has_a_type(data: bytes, beginning: bytes) -> None:
    assert "/" in sniff(beginning + data)


def test_a_wanted_type_is_given_back() -> None:
    assert require_type(KNOWN["png"][0], ["application/pdf", "image/*"]) == "image/png"
    assert require_type(KNOWN["jpeg"][0], ["image/jpg"]) == "image/jpeg"
    assert require_type(b"a,b", ["text/csv"], name="a.csv") == "text/csv"
    assert require_type(b"anything", ["*/*"]) == "text/plain"


def test_a_refusal_says_what_it_is_and_what_is_wanted() -> None:
    with pytest.raises(FileRefused, match=r"is application/zip .* image/\* or application/pdf is"):
        require_type(KNOWN["zip"][0], ["image/*", "application/pdf"])


def test_a_picture_that_can_run_scripts_has_to_be_asked_for_by_name() -> None:
    with pytest.raises(FileRefused):
        require_type(KNOWN["svg"][0], ["image/*"])
    assert require_type(KNOWN["svg"][0], ["image/svg+xml"]) == "image/svg+xml"


def test_texts_that_only_a_name_tells_apart_stand_for_each_other() -> None:
    assert allows_type("text/plain", ["text/csv"])
    assert allows_type("text/csv", ["text/plain"])
    assert not allows_type("text/markdown", ["text/csv"])
    assert not allows_type("text/html", ["text/plain"])


def test_the_old_office_formats_are_one_container() -> None:
    assert allows_type("application/x-ole-storage", ["application/msword"])
    assert not allows_type("application/x-ole-storage", ["application/pdf"])


@pytest.mark.parametrize("pattern", ["image", "image/", "/png", "*/png", "a/b/c", ""])
def test_what_is_no_media_type_is_refused_where_it_is_written(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no media type"):
        check_patterns([pattern])


def test_one_type_may_stand_alone() -> None:
    assert check_patterns("IMAGE/PNG") == ("image/png",)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.PNG", ".png"),
        ("../../etc/passwd.tar", ".tar"),
        ("a.p/../x", ".jpg"),
        ("a.\0", ".jpg"),
        ("a.verylongsuffix", ".jpg"),
        ("a.", ".jpg"),
        (".png", ".jpg"),
        ("C:\\x\\y.gif", ".gif"),
        (None, ".jpg"),
    ],
)
def test_the_suffix_is_a_plain_one_or_the_types(name: str | None, suffix: str) -> None:
    assert suffix_of("image/jpeg", name) == suffix


def test_a_type_nobody_knows_has_no_suffix() -> None:
    assert suffix_of("application/octet-stream") == ""
