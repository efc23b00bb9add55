"""What may stand in for the other side: the one seam for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from backstay.integration.http.api import ApiHTTP
from backstay.integration.http.endpoint import Caller, Endpoint

__all__ = ["StandIn"]


class StandIn(Protocol):
    """Answers instead of endpoints' methods."""

    def call(
        self,
        endpoint: Endpoint,
        instance: Caller,
        api: ApiHTTP,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Do what ``endpoint.func(api, *args, **kwargs)`` does.

        Returns:
            What the method would return: something to be awaited, or an async iterator of one that
            yields. It is read as a real answer is.
        """
