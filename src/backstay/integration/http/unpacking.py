"""Bodies that travel packed, unpacked a piece at a time: what grows a thousandfold is cut as it grows.

Clients unpack whole pieces as they come, so that 64 KiB of the network are 64 MiB of memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

__all__ = ["CODINGS", "Unpacking"]

CODINGS: Final = {"": 0, "identity": 0, "gzip": 31, "x-gzip": 31, "deflate": 15, "raw deflate": -15}
"""What can be unpacked (RFC 9110 §8.4.1), by zlib's names for RFC 1952, RFC 1950 and RFC 1951."""

_PIECE: Final = 64 * 1024


class Unpacking:
    """One body.

    Args:
        coding: one of ``CODINGS``.
    """

    def __init__(self, coding: str) -> None:
        self._window = CODINGS[coding]
        self._inflate = zlib.decompressobj(self._window) if self._window else None
        self._has_begun = False

    def add(self, piece: bytes) -> Iterator[bytes]:
        """What another piece becomes, 64 KiB at a time.

        Raises:
            ValueError: it is not packed as said.
        """
        if self._inflate is None:
            for at in range(0, len(piece), _PIECE):
                yield piece[at : at + _PIECE]
            return
        while piece:
            self._has_begun = True
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(self._window)
            try:
                part = self._inflate.decompress(piece, _PIECE)
            except zlib.error as error:
                raise ValueError("it is packed wrongly") from error
            piece = self._inflate.unconsumed_tail
            if self._inflate.eof:
                # Several members make one file (RFC 1952 §2.2).
                piece = self._inflate.unused_data
            if part:
                yield part

    def end(self) -> None:
        """There was nothing more.

        Raises:
            ValueError: there should have been.
        """
        if self._inflate is not None and self._has_begun and not self._inflate.eof:
            raise ValueError("it is cut short")
