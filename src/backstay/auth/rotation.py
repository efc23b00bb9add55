"""Whether a refresh token may be exchanged for the next one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from backstay.auth.port import RefreshRecord, Turn

__all__ = ["Family", "judge_turn"]


@dataclass(frozen=True, slots=True)
class Family:
    """How far a session has come. There is always one token of it that may be exchanged.

    Attributes:
        latest: the digest of that token.
        parent: of the token it was given for, ``None`` if it is the login's own.
        ended: whether the session was ended.
    """

    latest: bytes
    parent: bytes | None
    ended: bool


def judge_turn(record: RefreshRecord, family: Family, *, now: datetime, reuse_s: float) -> Turn:
    """What comes of exchanging a token now (RFC 9700 §4.14.2).

    A used token may be exchanged again within ``reuse_s``, as long as what it was exchanged for
    has not been used itself: a client that had got the answer would have no need to ask again. The
    token of the answer that was lost stops counting, so that there are never two that count, and
    whoever has a copy is found out as soon as either is used once more.

    Args:
        record: of the token.
        family: of its session.
        now: aware UTC.
        reuse_s: seconds after its exchange. 0: never, whatever the clocks say.
    """
    if family.ended:
        return Turn.REVOKED
    if record.used_at is not None:
        lost = family.parent == record.digest and reuse_s > 0
        if not lost or now >= record.used_at + timedelta(seconds=reuse_s):
            return Turn.REUSED
    return Turn.EXPIRED if record.expires_at <= now else Turn.DONE
