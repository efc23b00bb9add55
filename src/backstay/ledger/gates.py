"""How many more may start: the arithmetic of limits, the same for every engine.

A rate's memory is a list of ``[slot, count]``: how many started in each twentieth of the period.
Slots that overlap the last period at all count in full, so no window of ``per_s`` seconds ever
sees more than ``rate`` starts; the price is that a slot's worth of time may be wasted.
"""

from __future__ import annotations

import json
import math

from backstay.ledger.rows import Gate

__all__ = ["Rates", "decode_rates", "encode_rates", "has_rate", "record", "room"]

Rates = list[tuple[int, int]]
"""Starts by slot, oldest first."""

_SLOTS = 20

# Shorter than any clock here can tell, and longer than any calendar goes: arithmetic overflows.
_SHORTEST_S, _LONGEST_S = 1e-6, 1e11


def decode_rates(text: str | None) -> Rates:
    """What ``encode_rates`` wrote; an unreadable memory is an empty one."""
    try:
        return [(int(slot), int(count)) for slot, count in json.loads(text or "[]")]
    except (ValueError, TypeError):
        return []


def encode_rates(rates: Rates) -> str:
    """As JSON, for a column."""
    return json.dumps(rates, separators=(",", ":"))


def has_rate(gate: Gate) -> bool:
    """Whether a gate's rate limits anything.

    A rule that was stored and makes no sense (damaged, or written behind the engine's back) limits
    nothing: to raise would keep every job of its queue from being claimed.
    """
    return (
        isinstance(gate.rate, int)
        and isinstance(gate.per_s, int | float)
        and _SHORTEST_S <= gate.per_s <= _LONGEST_S
    )


def room(gate: Gate, running: int, rates: Rates, now_s: float) -> tuple[int, float | None]:
    """How many jobs of a gate may start now.

    Args:
        gate: the rule.
        running: how many run.
        rates: recent starts.
        now_s: seconds since the epoch, by the ledger's clock.

    Returns:
        The number (a very large one if nothing limits it), and seconds until the rate
        allows one more if it is the rate that allows none now, else ``None``.
    """
    free = max(0, gate.limit - running) if isinstance(gate.limit, int) else math.inf
    wait_s: float | None = None
    if gate.rate is not None and has_rate(gate):
        slot_s = gate.per_s / _SLOTS
        rates = _believable(rates, slot_s, now_s)
        recent = [
            (slot, count) for slot, count in rates if (slot + 1) * slot_s > now_s - gate.per_s
        ]
        left = gate.rate - sum(count for _, count in recent)
        if left <= 0 and recent:
            wait_s = max(0.0, (recent[0][0] + 1) * slot_s + gate.per_s - now_s)
        free = min(free, max(0, left))
    return (10**9 if free == math.inf else int(free)), wait_s


def record(gate: Gate, rates: Rates, started: int, now_s: float) -> Rates:
    """The memory after ``started`` more have started. Forgets what no window sees any more."""
    if not started or not has_rate(gate):
        return rates
    slot_s = gate.per_s / _SLOTS
    current = math.floor(now_s / slot_s)
    rates = _believable(rates, slot_s, now_s)
    kept = [(slot, count) for slot, count in rates if (slot + 1) * slot_s > now_s - gate.per_s]
    if kept and kept[-1][0] >= current:
        slot, count = kept[-1]
        kept[-1] = (slot, count + started)
    else:
        kept.append((current, started))
    return kept


def _believable(rates: Rates, slot_s: float, now_s: float) -> Rates:
    """Without starts more than a period ahead: the clock has gone back since, and would keep the
    gate shut until it has caught up. A small step back is waited out, and never exceeds the rate.
    """
    latest = math.floor(now_s / slot_s) + _SLOTS
    return [(slot, count) for slot, count in rates if slot <= latest]
