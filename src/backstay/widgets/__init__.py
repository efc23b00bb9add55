"""Tools with a face for AI clients, over MCP, beside an app's routes.

May know the MCP SDK, pydantic, Starlette, ``backstay.tasks``, ``backstay.state``,
``backstay.auth``, ``backstay.web`` and the ground. Write a class below ``BaseWidget``, give it to
``WidgetMCPServer`` and mount that in your app. Needs the extra ``widgets``.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from backstay.errors import MissingExtra, ValidationError

try:
    from pydantic import ConfigDict, Field
except ImportError as missing:  # pragma: no cover  # FastAPI brings it
    raise MissingExtra("widgets", "pydantic") from missing

from backstay.widgets.client import ClientContext
from backstay.widgets.content import Audio, Embedded, Image, Link, Message, Result, Text
from backstay.widgets.context import Answer, UserContext, WidgetContext
from backstay.widgets.files import FileReference
from backstay.widgets.guards import auth_required, no_auth, optional_auth
from backstay.widgets.widget import BaseWidget

if TYPE_CHECKING:
    from backstay.widgets.server import WidgetMCPServer

__all__ = [
    "Answer",
    "Audio",
    "BaseWidget",
    "ClientContext",
    "ConfigDict",
    "Embedded",
    "Field",
    "FileReference",
    "Image",
    "Link",
    "Message",
    "Result",
    "Text",
    "UserContext",
    "ValidationError",
    "WidgetContext",
    "WidgetMCPServer",
    "auth_required",
    "no_auth",
    "optional_auth",
]


def __getattr__(name: str) -> Any:
    # Whoever only writes widgets needs neither the SDK nor what stands on it, so it is asked for
    # where a server is wanted; and loaded where one starts to serve.
    if name != "WidgetMCPServer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for package in ("mcp", "mcp_types"):
        try:
            found = find_spec(package)
        except ImportError:
            found = None
        if found is None:
            raise MissingExtra("widgets", package)
    from backstay.widgets.server import WidgetMCPServer

    globals()[name] = WidgetMCPServer
    return WidgetMCPServer


def __dir__() -> list[str]:
    return [*__all__]
