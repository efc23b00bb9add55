"""Finding a widget's face: the one page of HTML that hosts show."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backstay.errors import BadWidget
from backstay.widgets.face.page import TEMPLATES, compose, template
from backstay.widgets.metadata import APP_MIME_TYPE, Csp, resource_meta
from backstay.widgets.widget import BaseWidget

__all__ = ["Face", "find_face"]


class Face:
    """A page and what hosts must know of it.

    Attributes:
        uri: its address, with a part that changes when the page does: hosts keep pages for long.
        base_uri: the same without that part; it is served as well.
        widget: whose face it is.
        path: the file it comes from, ``None`` if from none.
        meta: its ``_meta``.
    """

    def __init__(
        self,
        widget: BaseWidget,
        source: str | Path,
        csp: Csp,
    ) -> None:
        self.widget = widget
        self.path = source if isinstance(source, Path) else None
        self._source = source
        self._csp = csp
        self._version = (0, 0)
        self.meta: dict[str, Any] = resource_meta(widget, csp)
        self.base_uri = f"ui://widget/{widget.identifier}.html"
        self._page = self._compose()
        digest = hashlib.sha256(self._page.encode()).hexdigest()[:12]
        self.uri = f"ui://widget/{widget.identifier}.{digest}.html"

    @property
    def page(self) -> str:
        """The whole document."""
        return self._page

    def reload(self) -> bool:
        """Read the file again if it has changed. For development; addresses stay as they are.

        Returns:
            Whether it had changed.
        """
        if self.path is None or _version_of(self.path) == self._version:
            return False
        before, self._page = self._page, self._compose()
        return before != self._page

    def _compose(self) -> str:
        if isinstance(self._source, Path):
            try:
                self._version = _version_of(self._source)
                text = self._source.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise BadWidget(
                    f"the page of the widget {self.widget.identifier!r}, {self._source}, cannot be "
                    f"read: {error}"
                ) from None
        else:
            text = self._source
        try:
            return compose(
                text,
                title=self.widget.title,
                locale=self.widget.default_locale,
                resource_domains=self._csp.domains.get("resource_domains", []),
                connect_domains=self._csp.domains.get("connect_domains", []),
                frame_domains=self._csp.domains.get("frame_domains", []),
            )
        except ValueError as error:
            raise BadWidget(f"the page of the widget {self.widget.identifier!r}: {error}") from None

    def listed(self) -> dict[str, Any]:
        """As ``resources/list`` tells it."""
        found: dict[str, Any] = {
            "uri": self.uri,
            "name": self.widget.identifier,
            "title": self.widget.title,
            "mimeType": APP_MIME_TYPE,
            "_meta": self.meta,
        }
        if self.widget.widget_description:
            found["description"] = self.widget.widget_description
        return found

    def contents(self, uri: str) -> dict[str, Any]:
        """As ``resources/read`` gives it."""
        return {
            "uri": uri,
            "mimeType": APP_MIME_TYPE,
            "text": self._page,
            "_meta": self.meta,
        }


def find_face(widget: BaseWidget, csp: Csp, folders: Sequence[Path] = ()) -> Face | None:
    """The face of a widget, ``None`` if it names none and none lies where one is looked for.

    Args:
        widget: the widget.
        csp: the domains it may reach.
        folders: where ``<identifier>/`` is looked for, beside the file the class is written in.

    Raises:
        BadWidget: it names a page or a template that is not there, or its React component has not
            been built.
    """
    name = widget.identifier
    home = _home_of(type(widget))
    if widget.html is not None and widget.template is not None:
        raise BadWidget(f"the widget {name!r} has both html and template; choose one")
    if widget.template is not None:
        if widget.template not in TEMPLATES:
            raise BadWidget(
                f"the widget {name!r} names the template {widget.template!r}; there are: "
                f"{', '.join(TEMPLATES)}"
            )
        return Face(widget, template(widget.template), csp)
    if widget.html is not None:
        html = widget.html
        if isinstance(html, str) and _is_markup(html):
            return Face(widget, html, csp)
        path = Path(html)
        if not path.is_absolute() and home is not None:
            path = home / path
        if not path.is_file():
            raise BadWidget(
                f"the widget {name!r} names the page {str(html)!r}, and there is no file {path}"
            )
        return Face(widget, path, csp)
    for folder in [*([] if home is None else [home]), *folders]:
        for path in (folder / f"{name}.html", folder / name / "index.html"):
            if path.is_file():
                return Face(widget, path, csp)
        built = folder / name / "dist" / "index.html"
        if built.is_file():
            return Face(widget, built, csp)
        for component in ("index.jsx", "index.tsx"):
            if (folder / name / component).is_file():
                raise BadWidget(
                    f"the widget {name!r} has {folder / name / component}, which has not been "
                    f"built: run  backstay widgets build {folder}"
                )
    return None


def _version_of(path: Path) -> tuple[int, int]:
    # The size too: a file that is emptied and written anew may be so within one tick of the clock.
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _is_markup(html: str) -> bool:
    return "<" in html or "\n" in html


def _home_of(kind: type) -> Path | None:
    try:
        return Path(inspect.getfile(kind)).parent
    except (TypeError, OSError):
        return None
