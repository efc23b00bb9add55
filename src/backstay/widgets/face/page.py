"""One self-contained HTML document out of a fragment, the bridge and the ready templates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from backstay.widgets.face.references import check_references, read_domains
from backstay.widgets.face.shape import Shape

__all__ = ["TEMPLATES", "compose", "policy", "template"]

TEMPLATES = ("albums", "carousel", "chart", "form", "list", "progress")
"""The ready templates' names, sorted."""

_VIEWPORT = (
    '<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">'
)


def template(name: str) -> str:
    """The source of a ready template: a fragment to hand to ``compose``, or to copy and change.

    What each wants ``execute`` to return is written at its top and in ``docs/widget-ui.md``.

    Args:
        name: one of ``TEMPLATES``.

    Raises:
        ValueError: there is no template of that name.
    """
    if name not in TEMPLATES:
        raise ValueError(f"no template is called {name!r}; there are: {', '.join(TEMPLATES)}")
    return _read(f"templates/{name}.html")


def policy(
    *,
    resource_domains: Sequence[str] = (),
    connect_domains: Sequence[str] = (),
    frame_domains: Sequence[str] = (),
) -> str:
    """The Content-Security-Policy of a page: nothing leaves and nothing comes but what is listed.

    The directives are those that MCP Apps hosts build from ``_meta.ui.csp`` (MCP Apps 2026-01-26,
    "Content Security Policy"), and the page's own comes on top: a browser enforces both. Inline
    scripts are allowed, since hosts put ``window.openai`` into a page as one; ``eval`` is not.
    ``base-uri`` is left to the host, some of which insert a ``<base>``.

    Args:
        resource_domains: where images, styles, scripts, fonts and media may come from
            (``https://cdn.example.com``, ``*.example.com``); a bare host means https.
        connect_domains: where scripts may send requests to.
        frame_domains: what may be shown in frames inside the page.

    Raises:
        ValueError: one of them is no domain.
    """
    resources = read_domains("resource_domains", resource_domains)
    connect = read_domains("connect_domains", connect_domains)
    return "; ".join(
        " ".join([directive, *sources])
        for directive, sources in {
            "default-src": ["'none'"],
            "script-src": ["'unsafe-inline'", *resources],
            "style-src": ["'unsafe-inline'", *resources],
            "img-src": ["data:", "blob:", *resources],
            "font-src": ["data:", *resources],
            "media-src": ["data:", "blob:", *resources],
            "connect-src": connect or ["'none'"],
            "frame-src": read_domains("frame_domains", frame_domains) or ["'none'"],
            "form-action": ["'none'"],
        }.items()
    )


def compose(
    html: str,
    *,
    title: str,
    bridge: bool = True,
    base: bool | None = None,
    locale: str = "en",
    strict_csp: bool = True,
    resource_domains: Sequence[str] = (),
    connect_domains: Sequence[str] = (),
    frame_domains: Sequence[str] = (),
    props: Mapping[str, Any] | None = None,
) -> str:
    """Make a page that a host can show as it is: one document that loads nothing from anywhere.

    Args:
        html: a fragment (the body's content, with its own ``<style>`` and ``<script>``), or a
            whole document, to which only what is missing is added.
        title: what the page is called; a whole document that has a title keeps it.
        bridge: put ``window.backstay`` in, before every other script.
        base: put the base styles and ``backstay.ui`` in, on which the templates stand. ``None``
            means for fragments and not for whole documents, which have styles of their own.
        locale: the language (BCP 47) until a host names one.
        strict_csp: put the ``policy`` in as a ``<meta>``, beside the one the host enforces.
        resource_domains: where the page may load from. The widget has to declare the same.
        connect_domains: where the page's scripts may send requests to. As above.
        frame_domains: what the page may show in frames. As above.
        props: what the page shows until a host brings a result: for previews.

    Raises:
        ValueError: the page refers to something outside that the policy would block, or a domain
            or the locale is none, or ``base`` is asked for without ``bridge``.
    """
    if not re.fullmatch(r"[A-Za-z]{1,8}([-_][A-Za-z0-9]{1,8})*", locale):
        raise ValueError(
            f'locale={locale!r} is no language tag; write one as BCP 47 does: "en", "pt-BR"'
        )
    if base and not bridge:
        raise ValueError(
            "base=True needs the bridge, which backstay.ui is a part of; leave bridge=True"
        )
    shape = Shape.of(html)
    check_references(
        html,
        read_domains("resource_domains", resource_domains),
        frames=read_domains("frame_domains", frame_domains),
    )
    if base is None:
        base = bridge and not shape.document
    head = [] if shape.charset else ['<meta charset="utf-8">']
    if not shape.viewport:
        head.append(_VIEWPORT)
    if strict_csp:
        content = policy(
            resource_domains=resource_domains,
            connect_domains=connect_domains,
            frame_domains=frame_domains,
        )
        head.append(f'<meta http-equiv="Content-Security-Policy" content="{content}">')
    if not shape.title:
        head.append(f"<title>{escape(title)}</title>")
    if base:
        head.append(f"<style>{_stripped('base.css')}</style>")
    if props is not None:
        head.append(
            f'<script type="application/json" id="backstay-props">{_inlined(props)}</script>'
        )
    if bridge:
        head.append(f"<script>{_stripped('bridge.js')}</script>")
    if base:
        head.append(f"<script>{_stripped('kit.js')}</script>")
    return shape.dress(html, head="\n".join(head), locale=locale.replace("_", "-"))


def _inlined(value: Mapping[str, Any]) -> str:
    """JSON that cannot end the script it stands in, nor begin a comment (HTML §4.12.1.3)."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@cache
def _stripped(name: str) -> str:
    """Our own script or sheet without what only its readers need.

    Whole-line comments, blank lines and indentation go; no line of ours continues a string.
    """
    text = re.sub(r"^[ \t]*/\*.*?\*/[ \t]*\n", "", _read(name), flags=re.MULTILINE | re.DOTALL)
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


@cache
def _read(name: str) -> str:
    return files("backstay.widgets.face").joinpath(name).read_text(encoding="utf-8")
