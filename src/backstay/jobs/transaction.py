"""Effects and completion in one transaction: ``@task(transactional=True)``."""

from __future__ import annotations

import asyncio
import logging

from backstay.errors import BadJob
from backstay.jobs.run import JobRun
from backstay.ledger.port import Ledger
from backstay.ledger.rows import Finish

__all__ = ["finish_together"]

logger = logging.getLogger("backstay.jobs")


async def finish_together(run: JobRun, ledger: Ledger, finish: Finish) -> bool | None:
    """Complete a job in the transaction of its ``ctx.db``, and commit both.

    Returns:
        ``True``: both are committed. ``False``: the claim was no longer current, and both are
        rolled back. ``None``: the job has opened no session, so there is nothing to commit with.

    Raises:
        Exception: the commit failed; nothing was written, and the attempt has failed.
    """
    if run.opened is None or not run.opened.has("db") or not run.opened.db.opened:
        return None
    from backstay.jobs.session import finish_in, finish_in_sync

    db = run.opened.db
    if db.opened_session is not None and db.opened_sync_session is not None:
        raise BadJob(
            f"{run.name} is transactional and used both ctx.db.session and ctx.db.sync_session, "
            "which are two transactions, and its completion can be in one of them only; use one"
        )
    if db.opened_session is not None:
        current = await finish_in(db.opened_session, ledger, finish)
    else:
        current = await asyncio.to_thread(finish_in_sync, db.opened_sync_session, ledger, finish)
    if current:
        await db.commit()
    else:
        await db.rollback()
        logger.warning(
            "the job %s of %s had been taken over by another worker, so what it wrote here was "
            "rolled back",
            run.id,
            run.name,
        )
    return current
