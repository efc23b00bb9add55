"""Spans, metrics and structured logs of what an app does, in the forms that operators' tools read.

``add_telemetry(app)`` switches spans and metrics on. May import web, the ledger and what is below;
reads what higher rooms show of themselves (``cache``, ``tasks``, ``durable``) and imports none of
them. Of OpenTelemetry it uses the API alone: which SDK there is, if any, is the app's choice.
"""

from backstay.telemetry.dashboard import alert_rules, grafana_dashboard
from backstay.telemetry.guards import bearer_token, from_networks, from_this_machine
from backstay.telemetry.installation import add_metrics, add_telemetry
from backstay.telemetry.instruments import METRIC_NAMES
from backstay.telemetry.meters import Meters
from backstay.telemetry.metrics import Metrics
from backstay.telemetry.part import TelemetryPart
from backstay.telemetry.spans import Spans
from backstay.telemetry.structured_logs import configure_structlog, structlog_processor

__all__ = [
    "METRIC_NAMES",
    "Meters",
    "Metrics",
    "Spans",
    "TelemetryPart",
    "add_metrics",
    "add_telemetry",
    "alert_rules",
    "bearer_token",
    "configure_structlog",
    "from_networks",
    "from_this_machine",
    "grafana_dashboard",
    "structlog_processor",
]
