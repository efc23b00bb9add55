"""What a declared integration with another service looks like from here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from fastapi import FastAPI

from backstay.errors import BadIntegration, BadPattern

if TYPE_CHECKING:
    from backstay.integration.page.installation import Access

__all__ = [
    "DocumentedIntegration",
    "Integration",
    "read_integration_docs",
    "read_integrations",
    "use_integrations",
]


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
        if isinstance(each, type):
            raise TypeError(
                f"useintegration= is a list of integrations; {each.__qualname__} is a class of "
                f"them: give an instance, {each.__qualname__}(base_url=...)"
            )
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


def read_integration_docs(given: Access) -> Access:
    """Who may see the page about integrations, looked over.

    Raises:
        BadPattern: it is none of what is possible.
    """
    if given is None or isinstance(given, bool):
        return given
    from backstay.integration.page.installation import read_access

    try:
        return read_access(given)
    except BadIntegration:
        raise BadPattern(
            "integration_docs= is None (in debug mode), True (everybody), False (nobody) or a "
            f"dependency that decides; got {given!r}"
        ) from None


def use_integrations(
    app: FastAPI, integrations: Sequence[DocumentedIntegration], *, docs: Access
) -> None:
    """Let integrations live as long as the app, and add the page about them.

    Args:
        app: the app.
        integrations: as ``read_integrations`` returned them. Those that are declared with
            ``EndpointsDeclaration`` are opened and closed with the app; others see to that
            themselves.
        docs: who may see the page, ``False`` to leave it away; see ``add_docintegration``.
    """
    from backstay.integration import EndpointsDeclaration, add_integrations
    from backstay.integration.page import add_docintegration

    ours = [each for each in integrations if isinstance(each, EndpointsDeclaration)]
    if ours:
        add_integrations(app, ours)
    if docs is not False:
        add_docintegration(app, integrations, access=docs)
