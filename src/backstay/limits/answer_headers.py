"""What an answer says about limits: draft-ietf-httpapi-ratelimit-headers-10."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from math import ceil

from backstay.limits.limit import Limit
from backstay.limits.port import Count, Verdict

__all__ = ["Policy", "legacy_headers", "retry_after_s"]


class Policy:
    """How the limits of one ``rate_limit`` are called in headers, and how they stand.

    Args:
        name: printable ASCII without quotation marks and backslashes (RFC 9651 §3.3.3).
        limits: the limits. Several are told apart by their windows: ``"login-minute"``.
    """

    __slots__ = ("_names", "policy")

    def __init__(self, name: str, limits: Sequence[Limit]) -> None:
        names = [name] if len(limits) == 1 else [f"{name}-{each.window}" for each in limits]
        self._names = tuple(f'"{each}"' for each in names)
        self.policy = ", ".join(
            f"{quoted};q={each.amount};w={each.window_s}"
            for quoted, each in zip(self._names, limits, strict=True)
        )

    def standing(self, counts: Iterable[Count]) -> str:
        """The value of ``RateLimit``: what remains, and in how many seconds there is more."""
        return ", ".join(
            [
                f"{name};r={each.remaining};t={ceil(each.reset_s)}"
                if each.reset_s > 0
                else f"{name};r={each.remaining}"
                for name, each in zip(self._names, counts, strict=True)
            ]
        )

    def headers(self, counts: Iterable[Count]) -> list[tuple[bytes, bytes]]:
        """Both headers, as ASGI has them."""
        return [
            (b"ratelimit-policy", self.policy.encode("ascii")),
            (b"ratelimit", self.standing(counts).encode("ascii")),
        ]


def legacy_headers(verdict: Verdict, now: datetime) -> dict[str, str]:
    """``X-RateLimit-*``, which nobody has ever specified, of the limit that has least left.

    The reset is a time in seconds since 1970, as GitHub's is.
    """
    least = min(verdict.counts, key=lambda each: (each.remaining, -each.reset_s))
    return {
        "x-ratelimit-limit": str(least.limit.amount),
        "x-ratelimit-remaining": str(least.remaining),
        "x-ratelimit-reset": str(ceil(now.timestamp() + least.reset_s)),
    }


def retry_after_s(verdict: Verdict) -> int:
    """The value of ``Retry-After`` (RFC 9110 §10.2.3): whole seconds, never too early."""
    return max(1, ceil(verdict.retry_after_s))
