"""What the shop's thumbnails stand on, beside Pillow, which knows PNG better."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from examples.shop import png

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def noise(width: int, height: int, channels: int, seed: int = 1) -> png.Pixels:
    cells = iter((seed * 7919 * each * each) >> 3 & 0xFF for each in range(width * height * 4))
    rows = [bytes(next(cells) for _ in range(width * channels)) for _ in range(height)]
    return png.Pixels(width, height, channels, rows)


def by_pillow(data: bytes) -> tuple[str, tuple[int, int], bytes]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.mode, image.size, image.tobytes()


@pytest.mark.parametrize("channels", MODES)
def test_what_is_written_is_what_pillow_reads(channels: int) -> None:
    pixels = noise(13, 7, channels)
    assert by_pillow(png.write(pixels)) == (MODES[channels], (13, 7), b"".join(pixels.rows))


@pytest.mark.parametrize("channels", MODES)
@pytest.mark.parametrize("how", range(5))
def test_every_filter_is_taken_back_as_pillow_takes_it_back(channels: int, how: int) -> None:
    pixels = noise(9, 6, channels, seed=how + 2)
    # The same bytes, said to be filtered in another way: a picture all the same.
    written = png.write(pixels)
    lines = b"".join(bytes([how]) + row for row in pixels.rows)
    start = written.index(b"IDAT") - 4
    packed = zlib.compress(lines)
    chunk = b"IDAT" + packed
    data = (
        written[:start]
        + struct.pack(">I", len(packed))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + written[-12:]
    )
    assert b"".join(png.read(data).rows) == by_pillow(data)[2]


@pytest.mark.parametrize(
    ("size", "small"),
    [((400, 100), (80, 20)), ((97, 3), (48, 1)), ((96, 96), (96, 96)), ((1, 500), (1, 83))],
)
def test_a_thumbnail_keeps_the_shape_and_no_side_is_longer_than_asked(
    size: tuple[int, int], small: tuple[int, int]
) -> None:
    found = by_pillow(png.shrink(png.write(noise(*size, 3)), 96))
    assert found[:2] == ("RGB", small)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        png.SIGNATURE,
        png.write(noise(20, 20, 3))[:-400],
        png.write(noise(20, 20, 3)).replace(b"IDAT", b"IDOT"),
        png.write(noise(5, 5, 3)).replace(struct.pack(">II", 5, 5), struct.pack(">II", 5, 6)),
        png.write(noise(5, 5, 3)).replace(struct.pack(">II", 5, 5), struct.pack(">II", 0, 5)),
        png.write(noise(5, 5, 3)).replace(struct.pack(">II", 5, 5), struct.pack(">II", 2**31, 5)),
        png.write(noise(5, 5, 3)).replace(b"\x08\x02\0\0\0", b"\x08\x03\0\0\0"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(png.NotReadable):
        png.shrink(data, 96)


def test_a_picture_that_unpacks_to_more_than_it_says_is_cut_off_there() -> None:
    # A row of five pixels is announced and a hundred megabytes of zeros come.
    header = struct.pack(">IIBBBBB", 5, 1, 8, 2, 0, 0, 0)
    packed = zlib.compress(bytes(100_000_000), 9)
    data = png.SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", packed))
    )
    assert png.read(data).rows == [bytes(15)]


@given(st.data())
def test_damage_is_refused_or_gives_a_picture_and_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(png.write(noise(6, 5, 3)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        small = png.shrink(bytes(whole), 4)
    except png.NotReadable:
        return
    assert max(by_pillow(small)[1]) <= 4
