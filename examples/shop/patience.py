"""When what is done for an order is tried again, when it waits, and when patience is at an end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx

from backstay import Context
from backstay.errors import CallRefused, CircuitBreakerError, StabilityTimeoutError, UpstreamError
from backstay.integration import EndpointsDeclaration
from backstay.tasks import Discard, Retry, Snooze
from examples.shop.integrations.circuits import OPEN_S, is_open

__all__ = ["BRIEFLY", "PATIENTLY", "brief", "may_pass", "waiting_for"]

WAIT_S = 15 * 60
"""How long a job may wait for a third party that is spared, unless the setting ``WAIT_S`` says
otherwise. Afterwards whoever ordered is told, and nothing stays in the dark for ever."""


def may_pass(error: Exception) -> bool:
    """Whether trying again may help: unless somebody says that it is our fault."""
    if not isinstance(error, UpstreamError):
        return True
    return error.answered >= 500 or error.answered == httpx.codes.TOO_MANY_REQUESTS


def may_pass_soon(error: Exception) -> bool:
    """The same, for what cannot wait long: not if somebody is left alone for a while."""
    return may_pass(error) and not isinstance(error, CallRefused)


# Short pauses, because people are watching. A shop would leave retry= out: ten attempts in half
# an hour.
PATIENTLY = Retry(attempts=8, base_s=0.1, max_s=0.3, on=may_pass)
BRIEFLY = Retry(attempts=3, base_s=0.1, on=may_pass_soon)


@contextmanager
def waiting_for(
    company: EndpointsDeclaration, ctx: Context, *, for_ever: bool = False
) -> Iterator[None]:
    """Have a durable job wait while a company is left alone: its circuit is open, or too many ask.

    That uses up no attempt, be it that no call was made, or that this was the one that tried. So
    an outage may last, and who waits does not end up in the dead letter list for it.

    Args:
        company: who is called in the block.
        ctx: the job's.
        for_ever: there is no end to its patience: what is owed to somebody is given back, however
            late.

    Raises:
        Snooze: it is to come again later.
        Discard: it has waited for too long.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, CallRefused) and not (may_pass(error) and is_open(company)):
            raise
        clock = ctx.app.clock
        limit_s = float(ctx.settings.get("WAIT_S", WAIT_S))
        if not for_ever and clock.now() - ctx.job.created_at > timedelta(seconds=limit_s):
            raise Discard(f"out of patience after {limit_s:g} s: {error}") from error
        # Not all at one moment: one of them is let through then, and the others come in vain.
        wait_s = error.retry_after_s if isinstance(error, CallRefused) else OPEN_S
        raise Snooze(wait_s * (1 + clock.random() / 2)) from error


def brief(error: BaseException | None) -> str:
    """An error in a few words, for people."""
    known: dict[type[Any], str] = {
        httpx.ConnectError: "unreachable",
        httpx.TimeoutException: "no answer in time",
        StabilityTimeoutError: "no answer in time",
        httpx.TransportError: "connection lost",
        CircuitBreakerError: "circuit open",
        CallRefused: "too many calls",
    }
    if isinstance(error, UpstreamError):
        return f"answered {error.answered}"
    return next((words for kind, words in known.items() if isinstance(error, kind)), str(error))
