"""Putting a server into an app: its routes, its life, and what the app tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from backstay.app import Backstay
from backstay.errors import BadWidget
from backstay.state.part import StatePart
from backstay.web.installation import install
from backstay.widgets.office import Office
from backstay.widgets.part import Startable, WidgetsPart
from backstay.widgets.protected_resource import MetadataEndpoint, metadata_path

__all__ = ["Mountable", "mount"]


class Mountable(Office, Startable, Protocol):
    """A server that can be put into an app."""

    @property
    def resource_metadata(self) -> Mapping[str, Any] | None:
        """What RFC 9728 has it tell, ``None`` if it asks for no tokens of an issuer."""

    @property
    def endpoint(self) -> ASGIApp:
        """What answers."""

    def belongs_to(self, app: Backstay) -> None:
        """It lives in that app."""


def mount(server: Mountable, app: Starlette, path: str) -> None:
    """What ``WidgetMCPServer.mount`` does."""
    if not path.startswith("/") or "{" in path:
        raise BadWidget(f"a server is mounted at a path such as /mcp; got {path!r}")
    bare = path.rstrip("/")
    paths = [bare, f"{bare}/"] if bare else ["/"]
    taken = {getattr(route, "path", None) for route in app.routes}
    for each in paths:
        if each in taken:
            raise BadWidget(f"the app has a route at {each!r} already; mount the server elsewhere")
    backstay = install(app)
    if not backstay.has(StatePart.attribute):
        # First: what others do at their end may still want to store something.
        backstay.add(StatePart(backstay), first=True)
    if backstay.has(WidgetsPart.attribute):
        part = backstay.part(WidgetsPart.attribute)
        assert isinstance(part, WidgetsPart)
    else:
        part = WidgetsPart()
        backstay.add(part)
    server.belongs_to(backstay)
    part.servers.append(server)
    endpoint = _Door(server)
    # Both spellings, as routes of their own: a redirect from one to the other loses the body with
    # some clients and the token with others. First, so that a catch-all route hides neither.
    routes: list[BaseRoute] = [Route(each, endpoint, include_in_schema=False) for each in paths]
    if server.resource_metadata is not None:
        where = metadata_path(str(server.resource_metadata["resource"]))
        routes.append(
            Route(where, MetadataEndpoint(server.resource_metadata), include_in_schema=False)
        )
    app.router.routes[:0] = routes


class _Door:
    """The endpoint, made when somebody knocks or the app starts: it loads the SDK."""

    def __init__(self, server: Mountable) -> None:
        self._server = server
        self._endpoint: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._endpoint is None:
            self._endpoint = self._server.endpoint
        await self._endpoint(scope, receive, send)
