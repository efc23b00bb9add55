"""What a declared integration with another service looks like from here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

__all__ = ["DocumentedIntegration", "Integration", "read_integrations"]


class Integration(Protocol):
    """Another service, and what is documented of it."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def docs(self) -> Any:
        """Its documented endpoints."""


class DocumentedIntegration(Protocol):
    """How an app uses another service."""

    @property
    def integration(self) -> Integration:
        """The service."""

    @property
    def base_url(self) -> str:
        """Where it is."""


def read_integrations(
    given: Iterable[DocumentedIntegration] | None,
) -> tuple[DocumentedIntegration, ...]:
    """The integrations, looked over.

    Args:
        given: them; ``None`` for none.

    Raises:
        TypeError: one is something else.
    """
    if given is None:
        return ()
    found = tuple(given)
    for each in found:
        missing = [name for name in ("integration", "base_url") if not hasattr(each, name)]
        if not missing:
            missing = [
                f"integration.{name}"
                for name in ("name", "docs")
                if not hasattr(each.integration, name)
            ]
        if missing:
            raise TypeError(
                f"useintegration= is a list of integrations; {each!r} of type "
                f"{type(each).__qualname__} has no {', no '.join(missing)}"
            )
    return found
