"""Jobs named by the beginning of their ids, as git names commits."""

from __future__ import annotations

import re
from uuid import UUID

from backstay.cli.refusal import FAILED, Refusal
from backstay.ledger.port import Ledger
from backstay.ledger.rows import JobFilter, JobRow

__all__ = ["pick", "short_id"]

_SHORTEST = 8
_SHOWN = 5


def short_id(job_id: UUID) -> str:
    """The beginning that tells a job from others of its process: the time, to 244 ns."""
    return str(job_id)[:18]


async def pick(ledger: Ledger, name: str) -> JobRow:
    """The job whose id begins so.

    Args:
        ledger: where.
        name: an id or at least 8 digits of its beginning, with or without hyphens.

    Raises:
        Refusal: it is no id, no job has it, or more than one.
    """
    digits = name.strip().lower().replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{1,32}", digits):
        raise Refusal(f"{name!r} is no job id", hint="ids are shown by: backstay jobs list")
    if len(digits) < _SHORTEST:
        raise Refusal(f"{name!r} is too short", hint=f"{_SHORTEST} digits are the least")
    if len(digits) == 32:
        job_id = UUID(digits)
        row = (await ledger.get([job_id])).get(job_id)
        if row is None:
            raise Refusal(
                f"there is no job {job_id}",
                hint="there never was, or its history has been pruned",
                code=FAILED,
            )
        return row
    # Ids sort by time, newest first, so those that begin so follow the last possible one.
    last = UUID(digits.ljust(32, "f"))
    rows = await ledger.find(JobFilter(), limit=_SHOWN + 1, before=last)
    found = [each for each in rows if each.id.hex.startswith(digits)]
    if not found:
        raise Refusal(f"no job's id begins with {name}", code=FAILED)
    if len(found) > 1:
        listed = "\n".join(f"  {each.id}  {each.state}  {each.task}" for each in found[:_SHOWN])
        more = "\n  …" if len(found) > _SHOWN else ""
        raise Refusal(
            f"{name} is ambiguous: it begins the ids of\n{listed}{more}",
            hint="give more of it",
        )
    return found[0]
