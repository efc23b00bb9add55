"""``record_integration``, ``replay_integration`` and ``tape``: real answers, kept in files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, cast

from backstay.errors import BadIntegration
from backstay.integration.http.stand_in import StandIn
from backstay.testing.integrations.block import Block
from backstay.testing.integrations.player import Player
from backstay.testing.integrations.recorder import Recorder
from backstay.testing.integrations.redaction import Redaction
from backstay.testing.integrations.tape import Redact, Tape, load

__all__ = ["Mode", "record_integration", "replay_integration", "tape"]

Mode = Literal["auto", "record", "replay", "none"]

_MODES: Final = ("auto", "record", "replay", "none")
_VARIABLE: Final = "BACKSTAY_TAPES"
_UNFIT: Final = re.compile(r"[^\w.\[\]=,+-]+")


def tape(
    path: str | Path,
    *,
    mode: Mode = "auto",
    secrets: Sequence[str] = (),
    keep: Sequence[str] = (),
    redact: Redact | None = None,
    headers: Sequence[str] = (),
    ignore: Sequence[str] = (),
    repeat_last: bool = False,
) -> Block[Tape]:
    """Replay real answers from a file, or record them into it.

    A decorator of test functions and methods, async or not, and a context manager, ``with`` or
    ``async with``; ``as`` gives the ``Tape``. The file is JSON for people to read and to keep with
    the tests. It is written at the end, all of it or, if the test has raised, nothing.

    A request is on the tape if endpoint, method, URL, query and body are; the address of the
    instance is not part of it. Several of the same get the recorded answers in order.

    Args:
        path: of the file, which ends in ``.json``; or a folder, where each test has a file of its
            own name.
        mode: ``"record"`` calls the other side and writes the file anew. ``"replay"`` answers from
            the file, and opens no connection. ``"auto"`` replays if the file is there, else records,
            unless the environment variable ``BACKSTAY_TAPES`` says one of the others. ``"none"`` does
            nothing: calls go through.
        secrets: names of fields, headers and parameters that are secret, besides the usual ones.
        keep: names that are not, whatever they look like; of credentials, too.
        redact: gets each request and each answer as the tape has it, and returns what is kept.
        headers: names of request headers that matter, and are recorded.
        ignore: names of fields in queries and bodies whose values differ each time.
        repeat_last: give the last answer again to requests beyond those recorded.

    Raises:
        BadIntegration: an option makes no sense; when it is entered: the file cannot be read.
        UnmockedCall: by calls that are not on the tape.
    """
    if mode not in _MODES:
        raise BadIntegration(f'tape(mode=) is "auto", "record", "replay" or "none"; got {mode!r}')
    for name, names in (
        ("secrets", secrets),
        ("keep", keep),
        ("headers", headers),
        ("ignore", ignore),
    ):
        if isinstance(names, str):
            raise BadIntegration(
                f"tape({name}=) is a list of names; got {names!r}: write [{names!r}]"
            )
    return _Tapes(
        Path(path),
        mode,
        secrets=tuple(secrets),
        keep=tuple(keep),
        redact=redact,
        headers=tuple(headers),
        ignore=tuple(ignore),
        repeat_last=repeat_last,
    )


def record_integration(
    path: str | Path,
    *,
    secrets: Sequence[str] = (),
    keep: Sequence[str] = (),
    redact: Redact | None = None,
    headers: Sequence[str] = (),
) -> Block[Tape]:
    """The same as ``tape(path, mode="record")``: call the other side, and keep what it answers."""
    return tape(path, mode="record", secrets=secrets, keep=keep, redact=redact, headers=headers)


def replay_integration(
    path: str | Path,
    *,
    secrets: Sequence[str] = (),
    keep: Sequence[str] = (),
    redact: Redact | None = None,
    headers: Sequence[str] = (),
    ignore: Sequence[str] = (),
    repeat_last: bool = False,
) -> Block[Tape]:
    """The same as ``tape(path, mode="replay")``: answer from the file, and call nobody."""
    return tape(
        path,
        mode="replay",
        secrets=secrets,
        keep=keep,
        redact=redact,
        headers=headers,
        ignore=ignore,
        repeat_last=repeat_last,
    )


class _Tapes(Block[Tape]):
    def __init__(
        self,
        path: Path,
        mode: Mode,
        *,
        secrets: Sequence[str],
        keep: Sequence[str],
        redact: Redact | None,
        headers: Sequence[str],
        ignore: Sequence[str],
        repeat_last: bool,
    ) -> None:
        super().__init__()
        self._path = path
        self._mode = mode
        self._secrets = secrets
        self._keep = keep
        self._redact = redact
        self._headers = headers
        self._ignore = ignore
        self._repeat_last = repeat_last
        Redaction(names=secrets, keep=keep)  # what is wrong with them is said at once

    def _begin(self, function: str | None, outer: StandIn | None) -> tuple[Tape, StandIn | None]:
        path = self._file(function)
        mode = self._chosen(path)
        made = Tape(
            path,
            mode,
            exchanges=load(path) if mode == "replay" else (),
            redaction=Redaction(names=self._secrets, keep=self._keep),
            redact=self._redact,
            headers=self._headers,
            ignore=self._ignore,
            repeat_last=self._repeat_last,
        )
        if mode == "none":
            return made, outer
        return made, Recorder(made) if mode == "record" else Player(made)

    def _end(self, subject: Tape, *, failed: bool) -> None:
        # Half a tape would be replayed next time, and nobody would know why it fails.
        if subject.mode == "record" and not failed:
            subject.save()

    def _chosen(self, path: Path) -> Literal["record", "replay", "none"]:
        mode = self._mode
        if mode == "auto":
            asked = os.environ.get(_VARIABLE, "")
            if asked and asked not in _MODES:
                raise BadIntegration(
                    f"the environment variable {_VARIABLE} is one of {', '.join(_MODES)}; got {asked!r}"
                )
            mode = cast("Mode", asked or "auto")
        if mode == "auto":
            return "replay" if path.is_file() else "record"
        return mode

    def _file(self, function: str | None) -> Path:
        if self._path.suffix == ".json":
            return self._path
        # pytest says which test is running: "tests/test_a.py::TestB::test_c[1] (call)".
        running = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        file, _, test = running.partition("::")
        module = file.rpartition("/")[2].removesuffix(".py")
        name = f"{module}.{test.replace('::', '.')}" if test else function
        if name is None:
            raise BadIntegration(
                f"{str(self._path)!r} is a folder, and nobody knows which test this is; name a file "
                "that ends in .json"
            )
        return self._path / f"{_UNFIT.sub('-', name)}.json"
