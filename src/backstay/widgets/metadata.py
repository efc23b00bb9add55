"""Both metadata dialects from one declaration: MCP Apps' ``ui`` and ChatGPT's ``openai/…``.

Hosts differ in where they look, and a host that finds nothing shows a blank frame, so everything
is said everywhere it may be said: the page's address on the tool in three spellings, the domains
it may reach on the resource both when it is listed and when it is read. Never on the tool: there
it is not read, and some hosts refuse it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from backstay.errors import BadWidget

if TYPE_CHECKING:
    from backstay.widgets.widget import BaseWidget

__all__ = ["APP_MIME_TYPE", "Csp", "UI_EXTENSION", "resource_meta", "tool_annotations", "tool_meta"]

UI_EXTENSION = "io.modelcontextprotocol/ui"
"""The MCP Apps extension (2026-01-26)."""

APP_MIME_TYPE = "text/html;profile=mcp-app"
"""What MCP Apps call a page."""

_DOMAINS = {
    "connect_domains": "connectDomains",
    "resource_domains": "resourceDomains",
    "frame_domains": "frameDomains",
    "base_uri_domains": "baseUriDomains",
    "redirect_domains": None,  # of ChatGPT's dialect alone
}
_PERMISSIONS = {
    "camera": "camera",
    "microphone": "microphone",
    "geolocation": "geolocation",
    "clipboard_write": "clipboardWrite",
}


class Csp:
    """The domains a page may reach.

    Args:
        domains: by kind, in snake case or camel case: ``connect_domains``, ``resource_domains``,
            ``frame_domains``, ``base_uri_domains``, ``redirect_domains``.
        where: whose they are, for messages.

    Raises:
        BadWidget: a kind nobody knows, or something that is no origin.
    """

    def __init__(self, domains: Mapping[str, Sequence[str]] | None, where: str) -> None:
        spelled = {camel: snake for snake, camel in _DOMAINS.items() if camel}
        self.domains: dict[str, list[str]] = {}
        for kind, origins in (domains or {}).items():
            name = spelled.get(kind, kind)
            if name not in _DOMAINS:
                raise BadWidget(
                    f"widget_csp of {where} has {kind!r}; it knows {', '.join(sorted(_DOMAINS))}"
                )
            if isinstance(origins, str):
                raise BadWidget(f"{kind} of {where} is a list of origins; got {origins!r}")
            for origin in origins:
                if "://" not in origin or any(c in origin for c in " ;,'\"\n\r\t"):
                    raise BadWidget(
                        f"{kind} of {where} has {origin!r}, which is no origin such as "
                        "https://cdn.example.com"
                    )
            self.domains[name] = list(dict.fromkeys(origins))

    def with_more(self, more: Mapping[str, Sequence[str]]) -> Csp:
        """The same and what the server allows every page."""
        merged = Csp(None, "")
        merged.domains = {name: list(found) for name, found in self.domains.items()}
        for name, origins in more.items():
            if origins:
                have = merged.domains.setdefault(name, [])
                have.extend(each for each in origins if each not in have)
        return merged

    def ui(self) -> dict[str, list[str]]:
        """As MCP Apps write it."""
        return {
            camel: self.domains[snake]
            for snake, camel in _DOMAINS.items()
            if camel and self.domains.get(snake)
        }

    def openai(self) -> dict[str, list[str]]:
        """As ChatGPT reads it; the first two are always there, empty meaning none."""
        found = {
            "connect_domains": self.domains.get("connect_domains", []),
            "resource_domains": self.domains.get("resource_domains", []),
        }
        for name in ("frame_domains", "redirect_domains"):
            if self.domains.get(name):
                found[name] = self.domains[name]
        return found


def tool_meta(
    widget: BaseWidget | None,
    page: str | None,
    security: list[dict[str, Any]] | None,
    file_params: Sequence[str],
    *,
    visibility: Sequence[str] = ("model", "app"),
) -> dict[str, Any]:
    """The ``_meta`` of a tool.

    Args:
        widget: what is declared, ``None`` for a plain tool.
        page: the address of its page, ``None`` if it has none.
        security: who may call it, as ``Guard.announced`` says.
        file_params: its arguments that are references to files.
        visibility: of a plain tool.
    """
    found: dict[str, Any] = {}
    seen_by = list(widget.visibility if widget is not None else visibility)
    if not seen_by or not set(seen_by) <= {"model", "app"}:
        raise BadWidget(f"visibility is of 'model' and 'app'; got {seen_by!r}")
    if widget is not None and page is not None:
        found["ui"] = {"resourceUri": page, "visibility": seen_by}
        found["ui/resourceUri"] = page  # where hosts of before 2026 look
        found["openai/outputTemplate"] = page
        found["openai/resultCanProduceWidget"] = True
        found["openai/widgetAccessible"] = widget.widget_accessible
    elif seen_by != ["model", "app"]:
        found["ui"] = {"visibility": seen_by}
    if widget is not None:
        found["openai/toolInvocation/invoking"] = widget.invoking
        found["openai/toolInvocation/invoked"] = widget.invoked
    if "model" not in seen_by:
        found["openai/visibility"] = "private"
    if widget is None and "app" in seen_by and seen_by != ["model", "app"]:
        found["openai/widgetAccessible"] = True
    if file_params:
        found["openai/fileParams"] = list(file_params)
    if security is not None:
        found["securitySchemes"] = security
    return found


def resource_meta(widget: BaseWidget, csp: Csp) -> dict[str, Any]:
    """The ``_meta`` of a page, for ``resources/list`` and for the item that ``resources/read`` gives."""
    ui: dict[str, Any] = {"prefersBorder": widget.widget_prefers_border}
    if domains := csp.ui():
        ui["csp"] = domains
    for permission in widget.widget_permissions:
        if permission not in _PERMISSIONS:
            raise BadWidget(
                f"widget_permissions of {widget.identifier!r} are of "
                f"{', '.join(_PERMISSIONS)}; got {permission!r}"
            )
        ui.setdefault("permissions", {})[_PERMISSIONS[permission]] = {}
    found: dict[str, Any] = {
        "openai/widgetPrefersBorder": widget.widget_prefers_border,
        "openai/widgetCSP": csp.openai(),
    }
    if widget.widget_domain:
        ui["domain"] = widget.widget_domain
        found["openai/widgetDomain"] = widget.widget_domain
    if widget.widget_description:
        found["openai/widgetDescription"] = widget.widget_description
    return {"ui": ui, **found}


def tool_annotations(
    title: str,
    *,
    read_only: bool | None = None,
    destructive: bool | None = None,
    idempotent: bool | None = None,
    open_world: bool | None = None,
) -> dict[str, Any]:
    """A tool's hints (MCP 2025-11-25, ToolAnnotations); what was not said is left out."""
    hints = {
        "readOnlyHint": read_only,
        "destructiveHint": destructive,
        "idempotentHint": idempotent,
        "openWorldHint": open_world,
    }
    return {"title": title, **{name: value for name, value in hints.items() if value is not None}}
