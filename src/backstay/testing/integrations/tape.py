"""A tape: recorded exchanges in one file, and which of them were asked for."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal

from backstay.errors import BadIntegration
from backstay.testing.integrations.block import Miss
from backstay.testing.integrations.exchange import Exchange, differences, nearest
from backstay.testing.integrations.redaction import Redaction

__all__ = ["Redact", "Tape", "load"]

Redact = Callable[[dict[str, Any]], dict[str, Any]]
"""Gets a request (which has a ``method``) or an answer (``status`` or ``error``) as a tape has it,
other secrets removed, and returns what is kept of it. The same of a request has to become the same."""

_VERSION: Final = 1
_SHOWN: Final = 20
"""Lines of a difference that are shown."""


class Tape:
    """Recorded exchanges, in memory. ``as`` of ``record_integration`` and ``replay_integration``.

    Attributes:
        path: of its file, ``None`` for none.
        mode: whether it records, replays, or does nothing.
        exchanges: what is on it. While it records, with all secrets.
        misses: what was asked for and is not on it, a message each.
    """

    def __init__(
        self,
        path: Path | None,
        mode: Literal["record", "replay", "none"],
        *,
        exchanges: Iterable[Exchange] = (),
        redaction: Redaction | None = None,
        redact: Redact | None = None,
        headers: Iterable[str] = (),
        ignore: Iterable[str] = (),
        repeat_last: bool = False,
    ) -> None:
        self.path = path
        self.mode = mode
        self.exchanges = list(exchanges)
        self.misses: list[str] = []
        self.redaction = Redaction() if redaction is None else redaction
        self.headers = frozenset(each.lower() for each in headers)
        self._redact = redact
        self._ignore = frozenset(ignore)
        self._repeat_last = repeat_last
        self._lock = Lock()
        self._used: set[int] = set()
        self._left: defaultdict[str, list[Exchange]] = defaultdict(list)
        self._last: dict[str, Exchange] = {}
        for each in self.exchanges:
            self._left[each.key(self._ignore)].append(each)

    def __repr__(self) -> str:
        return f"<Tape {self.path}: {len(self.exchanges)} exchanges, mode {self.mode!r}>"

    # ------------------------------------------------------------------ recording

    def add(self, exchange: Exchange) -> None:
        """Note a request; its answer may come later."""
        with self._lock:
            self.exchanges.append(exchange)

    def remove(self, exchange: Exchange) -> None:
        """It came to nothing that could be replayed."""
        with self._lock:
            self.exchanges.remove(exchange)

    def cleaned(self, exchange: Exchange) -> Exchange:
        """Without secrets, as far as they are known by now."""
        clean = exchange.redacted(self.redaction)
        if self._redact is not None:
            given = self._redact({**clean.request})
            clean.request = _checked(given)
            if clean.answer:
                clean.answer = _checked(self._redact({**clean.answer}))
            # Whatever the function has put there.
            clean = clean.redacted(self.redaction)
        return clean

    def save(self) -> None:
        """Write the file, all of it or nothing; secrets are removed before.

        Exchanges are sorted, so that a file does not change with the order of what ran at the same
        time; those with the same request stay in the order they came.
        """
        assert self.path is not None
        known = [each for each in self.exchanges if each.answer]
        clean = sorted(map(self.cleaned, known), key=lambda each: each.key())
        content = {"backstay_tape": _VERSION, "exchanges": [each.as_json() for each in clean]}
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        try:
            data = f"{text}\n".encode()
        except UnicodeEncodeError:  # half of a pair, which JSON may have and UTF-8 may not
            data = f"{json.dumps(content, indent=2, sort_keys=True, allow_nan=False)}\n".encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file() and self.path.read_bytes() == data:
            return
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            draft.write_bytes(data)
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)

    # ------------------------------------------------------------------ replaying

    def take(self, asked: Exchange) -> Exchange:
        """The next exchange with that request.

        Args:
            asked: the request, secrets removed.

        Raises:
            Miss: there is none; the message has the nearest one and how it differs.
        """
        key = asked.key(self._ignore)
        with self._lock:
            left = self._left.get(key)
            if left:
                found = self._last[key] = left.pop(0)
                self._used.add(id(found))
                return found
            if self._repeat_last and key in self._last:
                return self._last[key]
            miss = self._explain(asked, key)
            self.misses.append(miss)
        raise Miss(miss)

    @property
    def unused(self) -> list[str]:
        """What is on it and was not asked for, a line each."""
        if self.mode != "replay":
            return []
        return [str(each) for each in self.exchanges if id(each) not in self._used]

    def assert_all_used(self) -> None:
        """Make sure that everything on it was asked for, and nothing else.

        Raises:
            AssertionError: something was not; the message has it.
        """
        told = [f"  not asked for: {each}" for each in self.unused]
        told += [f"  not on it: {each}" for each in self.misses]
        if told:
            raise AssertionError(
                f"the tape {self.path} was not played as it is:\n" + "\n".join(told)
            )

    def _explain(self, asked: Exchange, key: str) -> str:
        remedy = f'record it anew with tape({str(self.path)!r}, mode="record")'
        if key in self._last:
            times = sum(each.key(self._ignore) == key for each in self.exchanges)
            return (
                f"{asked} is on the tape {self.path} {times} times and was asked for once more; "
                f"{remedy}, or say repeat_last=True"
            )
        near = nearest(asked, self.exchanges)
        if near is None:
            return f"{asked} is not on the tape {self.path}, which is empty; {remedy}"
        lines = differences(asked, near)
        more = [f"... and {len(lines) - _SHOWN} more lines"] if len(lines) > _SHOWN else []
        told = "\n".join(f"  {each}" for each in [*lines[:_SHOWN], *more])
        return (
            f"{asked} is not on the tape {self.path}; {remedy}, or name in ignore= what differs each "
            f"time. The nearest is {near}; recorded (-) and asked for (+):\n{told}"
        )


def load(path: Path) -> list[Exchange]:
    """The exchanges of a file.

    Raises:
        BadIntegration: there is none, or it is no tape.
    """
    try:
        content = json.loads(path.read_bytes())
        if content["backstay_tape"] != _VERSION:
            raise BadIntegration(
                f"the tape {path} is of version {content['backstay_tape']!r}, and {_VERSION} can be read; "
                "record it anew"
            )
        return [Exchange.from_json(each) for each in content["exchanges"]]
    except FileNotFoundError:
        raise BadIntegration(
            f'there is no tape {path}; record it with tape({str(path)!r}, mode="record")'
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, BadIntegration):
            raise
        raise BadIntegration(f"{path} is no tape: {type(error).__name__}: {error}") from error


def _checked(given: object) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise BadIntegration(f"redact= returns what is kept, a dictionary; got {given!r:.100}")
    return given
