"""How many of the things that happen are kept one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from zlib import crc32

from backstay.clock import Clock
from backstay.errors import BadEvents
from backstay.observation import Kind

__all__ = ["OBSERVED", "SETTING", "Sampling"]

SETTING = "BACKSTAY_EVENTS"

OBSERVED = (Kind.REQUEST, Kind.TASK, Kind.JOB, Kind.WIDGET, Kind.CALL)
"""What is kept without being recorded by anybody. Fills of the cache are too many, and too dull."""

_OFF = {"off", "no", "false"}
_ON = {"on", "yes", "true"}
_HASHES = 2**32


@dataclass(frozen=True, slots=True)
class Sampling:
    """Whether anything is kept, and how much of each kind.

    Attributes:
        on: whether anything is.
        shares: from each kind to the part of it that is kept, between 0 and 1.
    """

    on: bool
    shares: Mapping[Kind, float]

    @classmethod
    def of(cls, sample: object, *, on: bool = True, setting: Any = None) -> Sampling:
        """What was said where the app is made, and by whoever runs it, who has the last word.

        Args:
            sample: a share for every kind, or one for each of some; the others are kept whole.
            on: ``False`` keeps nothing.
            setting: ``"off"``, ``"on"``, or a share of every kind (``"0.1"``); ``None`` if it has
                no value.

        Raises:
            BadEvents: something is none of these.
        """
        if isinstance(sample, Mapping):
            unknown = [each for each in sample if each not in OBSERVED]
            if unknown:
                raise BadEvents(
                    f"sample= names {unknown[0]!r}; the kinds are {', '.join(map(repr, map(str, OBSERVED)))}"
                )
            shares = {kind: _share(sample.get(kind, 1.0), f"sample[{kind!s}]") for kind in OBSERVED}
        else:
            shares = dict.fromkeys(OBSERVED, _share(sample, "sample"))
        said = str(setting).strip().lower() if setting is not None else ""
        if said in _OFF:
            on = False
        elif said in _ON:
            on = True
        elif said:
            on, shares = True, dict.fromkeys(OBSERVED, _said_share(said, setting))
        return cls(on, MappingProxyType(shares))

    def takes(self, kind: Kind, correlation_id: str | None, clock: Clock) -> bool:
        """Whether to keep one that did not fail.

        What belongs together is kept together: with equal shares, a request and its tasks and
        calls, on whatever machine, are all kept or none of them.
        """
        share = self.shares[kind]
        if share >= 1.0:
            return True
        if share <= 0.0:
            return False
        if correlation_id is None:
            return clock.random() < share
        return crc32(correlation_id.encode("utf-8", "replace")) < share * _HASHES


def _share(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise BadEvents(f"{what} is the part that is kept, between 0 and 1; got {value!r}")
    return float(value)


def _said_share(said: str, setting: object) -> float:
    try:
        share = float(said)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise BadEvents(
            f'the setting {SETTING} is "off", "on", or the part that is kept, such as "0.1"; '
            f"got {setting!r}"
        )
    return share
