"""An observer for tests: it writes down what an app does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette

from backstay.observation import Kind, Observation
from backstay.web import install


@dataclass(frozen=True)
class Seen:
    """What was seen, as it was at its end."""

    kind: Kind
    name: str
    outcome: str
    correlation_id: str | None
    status: int | None
    error: str | None
    link: str | None
    facts: dict[str, Any] = field(hash=False)


class Watcher:
    """Sees everything there is.

    Args:
        parent: what it says that work is a part of.
    """

    kinds = frozenset(Kind)

    def __init__(self, parent: str | None = None) -> None:
        self.parent = parent
        self.seen: list[Seen] = []
        self.open = 0

    def begin(self, seen: Observation) -> object:
        self.open += 1
        return None

    def end(self, seen: Observation, mark: object) -> None:
        self.open -= 1
        error = None if seen.error is None else type(seen.error).__name__
        self.seen.append(
            Seen(
                seen.kind,
                seen.name,
                seen.outcome,
                seen.correlation_id,
                seen.status,
                error,
                seen.link,
                dict(seen.facts),
            )
        )

    def link(self) -> str | None:
        return self.parent

    def of(self, kind: Kind) -> list[Seen]:
        """Those of one kind."""
        return [each for each in self.seen if each.kind is kind]


def watched(app: Starlette, parent: str | None = None) -> Watcher:
    """A watcher of that app."""
    watcher = Watcher(parent)
    install(app).add_observer(watcher)
    return watcher
