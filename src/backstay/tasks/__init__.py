"""Background work: tasks with precise timing, run so that none can harm another.

May know FastAPI, ``backstay.web``, the rooms that keep durable work (``backstay.jobs``,
``backstay.ledger``) and the ground. ``add_tasks(app)`` switches it on, the parameter
``tasks: Tasks`` uses it, ``@task`` makes a function one that can be scheduled durably.
"""

from backstay.jobs.connection import connect
from backstay.jobs.definition import Call, Rate, TaskFunction, Unique, task
from backstay.jobs.durable import Chain, DurableScheduler, Group
from backstay.jobs.failure import JobFailure
from backstay.jobs.job import Job, JobStatus
from backstay.jobs.outcome import Cancel, Discard, RetryLater, Snooze
from backstay.jobs.part import Queue
from backstay.jobs.router import jobs_router
from backstay.jobs.secret import Secret
from backstay.ledger.rows import State
from backstay.retry import Retry
from backstay.tasks.config import TaskConfig
from backstay.tasks.handle import Task, TaskErrorHandler
from backstay.tasks.installation import Tasks, add_tasks
from backstay.tasks.outcome import Cancelled, Failed, Outcome, Skipped, Succeeded

__all__ = [
    "Call",
    "Cancel",
    "Cancelled",
    "Chain",
    "Discard",
    "DurableScheduler",
    "Failed",
    "Group",
    "Job",
    "JobFailure",
    "JobStatus",
    "Outcome",
    "Queue",
    "Rate",
    "Retry",
    "RetryLater",
    "Secret",
    "Skipped",
    "Snooze",
    "State",
    "Succeeded",
    "Task",
    "TaskConfig",
    "TaskErrorHandler",
    "TaskFunction",
    "Tasks",
    "Unique",
    "add_tasks",
    "connect",
    "jobs_router",
    "task",
]
