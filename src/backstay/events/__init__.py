"""What has happened: a bounded record of requests, tasks, jobs, widget calls and outgoing calls.

``add_events(app)`` switches it on; ``ctx.events`` reads it. It sees by ``backstay.observation``,
and writes to the app's own database. May import ``backstay.db``, ``backstay.web`` and the ground;
knows neither tasks, jobs nor widgets. Needs the extra ``db``.
"""

from backstay.events.event import Event, EventPage
from backstay.events.events import Events
from backstay.events.installation import add_events
from backstay.events.masking import Masking
from backstay.events.minute import BOUNDS_MS, Minute
from backstay.events.part import EventsPart
from backstay.events.questions import EventFilter
from backstay.events.store import EventStore, Keeping

__all__ = [
    "BOUNDS_MS",
    "Event",
    "EventFilter",
    "EventPage",
    "EventStore",
    "Events",
    "EventsPart",
    "Keeping",
    "Masking",
    "Minute",
    "add_events",
]
