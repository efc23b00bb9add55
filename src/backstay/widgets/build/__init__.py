"""React faces: each ``<folder>/<identifier>/index.jsx`` built by Vite to one self-contained page.

May know ``backstay.errors`` and the standard library. ``project/`` is what Node is given: the locked
versions of Vite and React, and the script that builds. Nothing of it runs where widgets are served:
they serve the page that was built.
"""

from __future__ import annotations

from backstay.widgets.build.builder import Builder, Outcome, Problem
from backstay.widgets.build.component import Component, find_components

__all__ = ["Builder", "Component", "Outcome", "Problem", "find_components"]
