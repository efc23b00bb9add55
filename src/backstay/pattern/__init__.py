"""``base_pattern``: one call that turns a FastAPI app into a service.

Stands above all other doors and wires any of them onto an app. What guards requests by itself
lives in ``backstay.web``; here is what needs to know several doors, health checks above all.
"""

from backstay.pattern.health import HealthCheck
from backstay.pattern.health_routes import HealthcheckResponse
from backstay.pattern.wiring import base_pattern
from backstay.web.body_limits import body_limits

__all__ = ["HealthCheck", "HealthcheckResponse", "base_pattern", "body_limits"]
