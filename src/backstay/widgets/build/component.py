"""The React components that are faces, and where their pages go."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from backstay.errors import BadWidget

__all__ = ["Component", "ENTRIES", "find_components"]

ENTRIES = ("index.jsx", "index.tsx")
"""What a component's file is called."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(frozen=True, slots=True)
class Component:
    """A face written in React.

    Attributes:
        identifier: of the widget, which is the folder's name.
        entry: the file whose default export is the component.
    """

    identifier: str
    entry: Path

    @property
    def page(self) -> Path:
        """Where the built page goes, and where a server looks for it."""
        return self.entry.parent / "dist" / "index.html"

    @property
    def sources(self) -> frozenset[Path]:
        """Every file of its folder but what was built or installed there."""
        home = self.entry.parent
        return frozenset(
            path
            for path in home.rglob("*")
            if not {"dist", "node_modules"} & set(path.relative_to(home).parts) and path.is_file()
        )


def find_components(folder: Path, only: Collection[str] = ()) -> list[Component]:
    """The components in a folder, sorted: ``<folder>/<identifier>/index.jsx`` or ``index.tsx``.

    Folders whose names begin with ``.`` or ``_`` are left out.

    Args:
        folder: where.
        only: the identifiers wanted; empty for all.

    Raises:
        BadWidget: there is no such folder, a folder has both files or is called what no widget
            can be, or one that is wanted is not there.
    """
    if not folder.is_dir():
        raise BadWidget(
            f"there is no folder {folder}; React faces are in <folder>/<identifier>/index.jsx"
        )
    found: list[Component] = []
    for home in sorted(folder.iterdir()):
        if home.name.startswith((".", "_")) or home.name == "node_modules":
            continue
        entries = [home / name for name in ENTRIES if (home / name).is_file()]
        if not entries:
            continue
        if len(entries) > 1:
            raise BadWidget(f"{home} has both index.jsx and index.tsx; keep one of them")
        if not _IDENTIFIER.fullmatch(home.name):
            raise BadWidget(
                f"the folder {home} is called what no widget can be: a widget's identifier is 1 to "
                "128 out of letters, digits and _-."
            )
        found.append(Component(home.name, entries[0]))
    if not only:
        return found
    if missing := sorted(set(only) - {each.identifier for each in found}):
        there = ", ".join(each.identifier for each in found) or "none"
        raise BadWidget(
            f"{folder} has no React face {missing[0]!r}; there are: {there}. It would be "
            f"{folder / missing[0] / 'index.jsx'}"
        )
    return [each for each in found if each.identifier in only]
