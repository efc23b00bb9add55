"""What Grafana and Prometheus can be given: a dashboard, and rules for alerts."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

__all__ = ["alert_rules", "grafana_dashboard"]


def grafana_dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana imports it (11 or newer).

    It asks for the data source, and shows the scrape job, instances and routes chosen in it.
    Grafana's provisioning takes it as a file: ``json.dump(grafana_dashboard(), file)``.
    """
    dashboard: dict[str, Any] = json.loads(_file("backstay.json"))
    return dashboard


def alert_rules() -> str:
    """A file of rules for Prometheus (``rule_files``), in YAML."""
    return _file("alerts.yml")


def _file(name: str) -> str:
    return files("backstay.telemetry").joinpath("grafana", name).read_text("utf-8")
