"""What a job has to know to make a call on somebody's behalf, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backstay.widgets.client import Channel, ClientContext
from backstay.widgets.context import UserContext

__all__ = ["JobCaller", "dump_caller"]


def dump_caller(
    user: UserContext | None, session: str | None, client: ClientContext
) -> dict[str, Any]:
    """Who calls, for the row of a job. Never the token: what it has proven is enough.

    Args:
        user: on whose behalf.
        session: whose state it has, where there is no user.
        client: what the client says of itself.
    """
    found: dict[str, Any] = {
        "session": session,
        "meta": {key: value for key, value in client.raw_meta.items() if _is_hint(key)},
        "client": {
            "name": client.name,
            "version": client.version,
            "protocol_version": client.protocol_version,
            "user_agent": client.user_agent,
        },
    }
    if user is not None:
        found["user"] = {
            "subject": user.subject,
            "scopes": sorted(user.scopes),
            "claims": dict(user.claims),
            "client_id": user.client_id,
            "issuer": user.issuer,
        }
    return found


def _is_hint(key: str) -> bool:
    """Whether a key of ``_meta`` says something of the user's surroundings, not of the request."""
    return not key.startswith("io.modelcontextprotocol/") and key not in {
        "progressToken",
        "progress_token",
    }


class JobCaller:
    """A job as a caller: on behalf of whoever has made the task.

    Args:
        dumped: what ``dump_caller`` gave.
        channel: the way to the task.
    """

    def __init__(self, dumped: Mapping[str, Any], channel: Channel) -> None:
        user = dumped.get("user")
        self.user: UserContext | None = None
        if user is not None:
            self.user = UserContext(
                user["subject"],
                scopes=frozenset(user["scopes"]),
                claims=user["claims"],
                client_id=user["client_id"],
                issuer=user["issuer"],
            )
        self.session: str | None = dumped["session"]
        self.channel = channel
        self._dumped = dumped

    def client(self) -> ClientContext:
        """What the client said of itself when it made the task."""
        return ClientContext(self._dumped["meta"], channel=self.channel, **self._dumped["client"])
