"""What stands behind a FastAPI service's routes.

The root holds only the ground: the words every door shares. Doors are imported by name,
``from backstay.tasks import Tasks, add_tasks``, and bring their third parties with them;
importing ``backstay`` alone loads nothing outside the standard library.
"""

from backstay.app import Backstay
from backstay.context import Context, Moment, Origin, Progress, User, current_context
from backstay.errors import BackstayError

__all__ = [
    "Backstay",
    "BackstayError",
    "Context",
    "Moment",
    "Origin",
    "Progress",
    "User",
    "__version__",
    "current_context",
]

__version__ = "0.1.0"
