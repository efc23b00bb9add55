"""When a company counts as down."""

from __future__ import annotations

from backstay.integration import ApiHTTP, EndpointsDeclaration, sp
from backstay.integration.stability.pattern import patterns_of

__all__ = ["DOWN", "OPEN_S", "circuit_breaker", "is_open"]

DOWN = (500, 502, 503)
"""What they answer who cannot do their work. 504 is not among these: the gateway says that of a
card's bank, and is well itself. No answer at all counts in any case."""

OPEN_S = 2.0
"""How long whoever is down is left alone. Short, because people are watching; a shop would take the
usual 10 s, or more."""


def of_host(api: ApiHTTP, *arguments: object) -> str:
    """What has one circuit: a company, whatever it is asked for."""
    return api.url.netloc


def circuit_breaker(*, fail_threshold: int = 5, fail_rate: float = 0.65) -> sp.CircuitBreaker:
    """For all endpoints of one company: if it is down for one, it is down for the others.

    Args:
        fail_threshold: failures within 5 s that it takes at least.
        fail_rate: the share of failures that it takes. These companies fail once in four calls on a
            good day, and that is no reason to stop asking.
    """
    return sp.CircuitBreaker(
        fail_threshold,
        reset_timeout=OPEN_S,
        window=5,
        fail_rate=fail_rate,
        failure_on=DOWN,
        key=of_host,
    )


def is_open(company: EndpointsDeclaration) -> bool:
    """Whether a company is left alone, as far as this process knows."""
    return any(
        circuit["state"] == "open"
        for endpoint in company.endpoints().values()
        for pattern in patterns_of(endpoint.func)
        if pattern.name == "CircuitBreaker"
        for circuit in pattern.live(company.owner)
    )
