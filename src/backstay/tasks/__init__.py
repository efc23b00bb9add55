"""Background work: tasks with precise timing, run so that none can harm another.

May know FastAPI, ``backstay.web`` and the ground. ``add_tasks(app)`` switches it on, the
parameter ``tasks: Tasks`` uses it.
"""

from backstay.retry import Retry
from backstay.tasks.config import TaskConfig
from backstay.tasks.installation import Tasks, add_tasks
from backstay.tasks.outcome import Cancelled, Failed, Outcome, Skipped, Succeeded
from backstay.tasks.task import Task, TaskErrorHandler

__all__ = [
    "Cancelled",
    "Failed",
    "Outcome",
    "Retry",
    "Skipped",
    "Succeeded",
    "Task",
    "TaskConfig",
    "TaskErrorHandler",
    "Tasks",
    "add_tasks",
]
