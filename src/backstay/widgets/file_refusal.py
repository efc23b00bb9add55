"""The one error for files that are not taken."""

from __future__ import annotations

from typing import ClassVar

from backstay.errors import BackstayError

__all__ = ["FileRefused"]


class FileRefused(BackstayError, ValueError):
    """A file is not taken: too large, of another type, or not to be had from where it should be.

    The message is for the model and the person behind it: what happened, what was found, what to
    do. Of the address it names the host alone: the rest may be a key to the file.
    """

    status = 422
    title: ClassVar[str] = "Unprocessable Content"
    public_detail: str = "The file was not taken."
