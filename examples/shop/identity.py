"""Who is asking, for whatever depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from backstay import Context
from examples.shop.models import Role

__all__ = ["ADMIN", "Account", "account_of"]

ADMIN: Role = "admin"


@dataclass(frozen=True)
class Account:
    """Whoever is logged in.

    Attributes:
        email: by which the account is known.
        is_admin: whether everybody's orders are his business.
        may_order: whether the token is for placing orders.
    """

    email: str
    is_admin: bool
    may_order: bool


def account_of(ctx: Context) -> Account | None:
    """Whoever is logged in; ``None`` for guests, and for programs, whose API keys are no accounts."""
    user = ctx.user
    if user is None or "sid" not in user.claims:  # only what came from a login has a session
        return None
    is_admin = ADMIN in user.claims.get("roles", ())
    return Account(user.subject, is_admin, may_order=user.has_scope("orders:write"))
