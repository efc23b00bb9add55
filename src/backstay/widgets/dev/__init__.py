"""``backstay widgets dev``: an app under development, and an inspector to look at its widgets in.

May know ``backstay.widgets.build``, Starlette, uvicorn and the ground. The app runs in a process of
its own, which is started anew when its code changes; the inspector stands beside it and stays. Both
listen on the loopback interface only. Nothing here is loaded where an app is served for real.
"""

from __future__ import annotations

from backstay.widgets.dev.session import Session, run_session

__all__ = ["Session", "run_session"]
