"""Engines that break one promise each, and whether the suite notices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

import pytest

from backstay.ledger import Ledger
from backstay.ledger.sqlite import SqliteLedger
from backstay.testing.ledger_conformance.stage import LedgerHome

__all__ = ["Broken", "changed", "notices"]


class Broken:
    """A good engine; a subclass breaks it in one place."""

    def __init__(self, ledger: Ledger) -> None:
        self.good = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self.good, name)


def changed(values: Any, **fields: Any) -> Any:
    """Copies of dataclasses or named tuples, each with some fields changed."""
    if isinstance(values, (list, tuple)) and not hasattr(values, "_replace"):
        return [changed(each, **fields) for each in values]
    if hasattr(values, "_replace"):
        return values._replace(**fields)
    return replace(values, **fields)


def notices(
    suite: type[LedgerHome], test: str, broken: Callable[[Ledger], Any] | None, **home: Any
) -> bool:
    """Whether a test of the suite fails for a broken engine. ``None``: for a good one."""

    class Home(suite):  # type: ignore[misc,valid-type]
        patience_s = 2.0

        def new_ledger(self, now: Callable[[], datetime] | None) -> Ledger:
            ledger: Ledger
            try:
                ledger = super().new_ledger(now)
            except NotImplementedError:
                ledger = SqliteLedger("memory://", now=now)
            return ledger if broken is None else cast("Ledger", broken(ledger))

    made = Home()
    for name, value in home.items():
        setattr(made, name, value)
    try:
        getattr(made, test)()
    except (Exception, pytest.fail.Exception):
        return True
    return False
