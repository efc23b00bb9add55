"""What one app's limits have in common: who counts them, and what answers say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from backstay.app import Backstay
from backstay.limits.limiter import Limiter
from backstay.limits.memory import MemoryCounts
from backstay.limits.subject import By

__all__ = ["AppLimits", "limits_of"]

_WITHOUT_A_PART: Final = "backstay_limits"


@dataclass(frozen=True, slots=True)
class AppLimits:
    """What ``add_limits(app)`` was told.

    Attributes:
        limiter: counts.
        by: who is counted by limits that do not say.
        headers: whether answers say how it stands.
        legacy_headers: whether they say it in the old way, too.
    """

    limiter: Limiter
    by: By = "user"
    headers: bool = True
    legacy_headers: bool = False


def limits_of(app: Backstay) -> AppLimits:
    """An app's. One that was not given to ``add_limits`` counts in memory, from its first limit on."""
    if app.has("limits"):
        found: AppLimits = app.part("limits").app_limits  # type: ignore[attr-defined]  # the part named "limits" is LimitsPart
        return found
    found_without: AppLimits | None = getattr(app.app_state, _WITHOUT_A_PART, None)
    if found_without is None:
        found_without = AppLimits(Limiter(MemoryCounts(app.clock), clock=app.clock))
        setattr(app.app_state, _WITHOUT_A_PART, found_without)
    return found_without
