"""Whether the ledger can be reached: said once when it cannot, and once when it can again."""

from __future__ import annotations

import logging

__all__ = ["Outage"]

logger = logging.getLogger("backstay.jobs")


class Outage:
    """What a worker's loops know together about the ledger being out of reach."""

    def __init__(self) -> None:
        self._lasts = False

    def noticed(self, error: Exception) -> None:
        """It cannot be reached."""
        if not self._lasts:
            self._lasts = True
            logger.error("the ledger is out of reach; the worker keeps trying: %s", error)

    def over(self) -> None:
        """It can."""
        if self._lasts:
            self._lasts = False
            logger.info("the ledger is back")
