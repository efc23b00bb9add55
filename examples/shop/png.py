"""As much of PNG (W3C PNG 3rd edition) as a thumbnail takes, with the standard library alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_PIXELS = 1_000_000
"""Larger ones would take seconds, in a language that is not made for this."""

_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""By colour type: grey, RGB, and both with alpha. 3 is a palette, which is not read here."""

_COLOUR_TYPES = {channels: colour for colour, channels in _CHANNELS.items()}


class NotReadable(ValueError):
    """It is no PNG, a broken one, or one of a kind that is not read here."""


@dataclass(frozen=True)
class Pixels:
    """A picture, a row of bytes a line.

    Attributes:
        channels: bytes a pixel.
    """

    width: int
    height: int
    channels: int
    rows: Sequence[bytes]


def write(pixels: Pixels) -> bytes:
    """A picture as a file."""
    header = struct.pack(
        ">IIBBBBB", pixels.width, pixels.height, 8, _COLOUR_TYPES[pixels.channels], 0, 0, 0
    )
    lines = b"".join(b"\0" + row for row in pixels.rows)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def read(data: bytes) -> Pixels:
    """A file as a picture.

    Raises:
        NotReadable: it does not come to one.
    """
    chunks = list(_chunks(data))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise NotReadable("it does not begin as a PNG does")
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    if depth != 8 or colour not in _CHANNELS or rest != [0, 0, 0]:
        raise NotReadable("only 8 bits a channel, no palette and no interlacing are read here")
    if not 0 < width * height <= MAX_PIXELS:
        raise NotReadable(f"{width} x {height} are no or too many pixels")
    channels = _CHANNELS[colour]
    size = height * (1 + width * channels)
    packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
    try:
        # Never more than it says it has: a small file may unpack to any number of bytes.
        lines = zlib.decompressobj().decompress(packed, size)
    except zlib.error as error:
        raise NotReadable(f"its pixels cannot be unpacked: {error}") from None
    if len(lines) < size:
        raise NotReadable(f"it has {len(lines)} bytes of pixels where {size} should be")
    return Pixels(width, height, channels, list(_rows(lines, width, channels)))


def shrink(data: bytes, side: int) -> bytes:
    """The same picture in a file of its own, no side longer than ``side`` pixels.

    Raises:
        NotReadable: it does not come to one.
    """
    picture = read(data)
    every = -(-max(picture.width, picture.height) // side)
    columns = range(every // 2, picture.width, every) or range(1)
    lines = picture.rows[every // 2 :: every] or picture.rows[:1]
    channels = picture.channels
    return write(
        Pixels(
            len(columns),
            len(lines),
            channels,
            [b"".join(row[at * channels : (at + 1) * channels] for at in columns) for row in lines],
        )
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(SIGNATURE):
        raise NotReadable("it does not begin as a PNG does")
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += length + 12


def _rows(lines: bytes, width: int, channels: int) -> Iterator[bytes]:
    """Take back what was done to the rows to make them smaller (section 9)."""
    length = width * channels
    above = bytes(length)
    for start in range(0, len(lines), length + 1):
        how, row = lines[start], bytearray(lines[start + 1 : start + 1 + length])
        match how:
            case 0:
                pass
            case 1:
                for at in range(channels, length):
                    row[at] = (row[at] + row[at - channels]) & 0xFF
            case 2:
                row = bytearray((one + up) & 0xFF for one, up in zip(row, above, strict=True))
            case 3 | 4:
                for at in range(length):
                    left, corner = (
                        (row[at - channels], above[at - channels]) if at >= channels else (0, 0)
                    )
                    up = above[at]
                    guess = (left + up) // 2 if how == 3 else _nearest(left, up, corner)
                    row[at] = (row[at] + guess) & 0xFF
            case _:
                raise NotReadable(f"its filter {how} does not exist")
        above = bytes(row)
        yield above


def _nearest(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda each: abs(guess - each))
