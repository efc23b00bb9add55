"""A file that is not there before it is whole.

It has no name while it grows, where the system can do that (Linux, ``O_TMPFILE``): whatever happens
to the process, nothing stays. Elsewhere it has a hidden name beside its own, which a process that is
killed leaves behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

__all__ = ["ArrivingFile"]


class ArrivingFile:
    """Grows beside its place. Its methods block: to be called in threads, one at a time.

    Args:
        place: where it will be. The folder is there already.

    Attributes:
        size_bytes: how much there is.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._beside = place.with_name(f".{place.name[:100]}.{secrets.token_hex(8)}.part")
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        self._file = -1
        self._has_name = False

    def open(self) -> None:
        """Begin.

        Raises:
            OSError: nothing can be written there.
        """
        if not self._open_nameless():
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
            self._file = os.open(self._beside, flags, 0o666)
            self._has_name = True

    def _open_nameless(self) -> bool:
        try:
            file = os.open(self._place.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except (OSError, AttributeError):  # another system, or a file system that cannot do that
            return False
        if not os.path.exists(_opened(file)):  # nobody could give it a name later
            os.close(file)
            return False
        self._file = file
        return True

    @property
    def sha256(self) -> str:
        """Of what there is, in hexadecimal digits."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append ``data``.

        Raises:
            OSError: the disk is full, for one.
        """
        self._hash.update(data)
        self.size_bytes += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def put_in_place(self) -> None:
        """Have it on the disk, and then in its place, where it replaces what was there.

        Raises:
            OSError: the system refuses.
        """
        os.fsync(self._file)
        if self._has_name or not self._link(self._place):
            if not self._has_name:
                self._has_name = self._link(self._beside)
            os.replace(self._beside, self._place)
            self._has_name = False
        # The name is only on the disk when its folder is.
        folder = os.open(self._place.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """What is not in its place by now is gone. Twice is as good as once."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._has_name:
            self._has_name = False
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._beside)

    def _link(self, place: Path) -> bool:
        """Give it a name, unless something else has that."""
        folder = os.open(place.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # With a folder's number Python calls linkat, which follows the link to the open file.
            os.link(_opened(self._file), place, src_dir_fd=folder)
        except FileExistsError:
            return False
        finally:
            os.close(folder)
        return True


def _opened(file: int) -> str:
    return f"/proc/self/fd/{file}"
