"""What the running app has been told about itself: its zone, its manager, its debug mode.

Each function answers for the app whose request, task or job is running, or for the one it is
given; ``None`` without either. Nothing is kept between calls, so several apps in one process, and
tests, do not see each other's.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from backstay.context import current_work

__all__ = ["AUTH_JWT", "CACHE_STATUS", "DATABASE_MANAGER", "DEBUG", "SECRET_KEY", "TIMEZONE"]


def TIMEZONE(app: Any = None) -> tzinfo | None:  # noqa: N802 - the name apps know it by
    """The zone the app thinks in: ``app.state.TIMEZONE``.

    Args:
        app: the app. ``None`` means the one whose work is running.

    Returns:
        ``None`` if no app's work is running, or it was given no zone.
    """
    found: tzinfo | None = _told("TIMEZONE", app)
    return found


def DEBUG(app: Any = None) -> bool | None:  # noqa: N802 - as above
    """Whether the app is being developed: ``app.state.DEBUG``, else ``app.debug``.

    Args:
        app: as for ``TIMEZONE``.
    """
    found = _told("DEBUG", app)
    return found if found is not None or app is None else bool(getattr(app, "debug", False))


def CACHE_STATUS(app: Any = None) -> bool | None:  # noqa: N802 - as above
    """Whether answers are cached: ``app.state.CACHE_STATUS``. ``app`` is as for ``TIMEZONE``."""
    found: bool | None = _told("CACHE_STATUS", app)
    return found


def DATABASE_MANAGER(app: Any = None) -> Any:  # noqa: N802 - as above
    """The ``MainDatabaseManager`` of the app: ``app.state.DATABASE_MANAGER``.

    Args:
        app: as for ``TIMEZONE``.
    """
    return _told("DATABASE_MANAGER", app)


def AUTH_JWT(app: Any = None) -> Any:  # noqa: N802 - as above
    """What guards the app (``backstay.auth.AuthPart``): ``app.state.auth_jwt``.

    Args:
        app: as for ``TIMEZONE``.
    """
    return _told("auth_jwt", app)


def SECRET_KEY(app: Any = None) -> str | None:  # noqa: N802 - as above
    """The app's secret key: ``app.state.SECRET_KEY``. ``app`` is as for ``TIMEZONE``."""
    found: str | None = _told("SECRET_KEY", app)
    return found


def _told(name: str, app: Any) -> Any:
    if app is not None:
        state = app.state
    else:
        work = current_work.get()
        state = None if work is None else work.app.app_state
    return getattr(state, name, None)
