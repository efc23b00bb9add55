"""What patterns know an instance of an integration by."""

from __future__ import annotations

from typing import Any

__all__ = ["Owner"]


class Owner:
    """What patterns know an instance by: it does not hold it, so nothing is kept alive by it.

    Attributes:
        name: of the instance, for people and for states shared by processes.
        shared_states: what the app it belongs to has in common with other processes, while that app
            is open; ``None`` otherwise.
    """

    __slots__ = ("__weakref__", "name", "shared_states")

    def __init__(self, name: str) -> None:
        self.name = name
        self.shared_states: Any = None

    def __repr__(self) -> str:
        return self.name
