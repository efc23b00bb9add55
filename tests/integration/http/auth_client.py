"""A client with one of backstay's ways of saying who it is, as integrations have it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

from backstay.integration.http.auth.client_auth import ClientAuth
from backstay.integration.http.carried_secrets import stay_home

__all__ = ["BOTH", "auth_client"]

BOTH = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])


async def _before(request: Any) -> None:
    stay_home(request)


def auth_client(module: ModuleType, auth: ClientAuth, **options: Any) -> Any:
    """A client that leaves secrets at home, and reads no certificates."""
    options.setdefault("verify", False)
    return module.AsyncClient(
        auth=auth.for_client(module), event_hooks={"request": [_before]}, timeout=10, **options
    )
