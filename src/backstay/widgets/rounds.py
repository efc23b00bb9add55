"""Calls that take several rounds: what was answered is kept between them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from backstay.errors import BadState

if TYPE_CHECKING:
    from backstay.state.state import State

__all__ = ["Rounds"]


class Rounds:
    """Answers of the user's to calls that take several rounds (MCP 2026-07-28).

    What travels to the client and back is a ticket that says nothing; the answers are kept here,
    for ten minutes, under whoever the call belongs to. So any worker can go on with it, nothing a
    client sends back has to be believed, and there is no key to share.

    Args:
        state: where they are kept.
    """

    _KEEP_S = 600.0

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    async def answers(
        self, ticket: str | None, owner: str, new: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """What has been answered so far, the new answers included.

        In a round with a ticket only questions that were asked may be answered; a ticket of
        somebody else's call is none. A client that knows beforehand what will be asked may answer
        at once: it could as well have waited for the question.

        Raises:
            MCPError: there is no such ticket.
        """
        if ticket is None:
            return dict(new or {})
        state = self._state()
        found = await state.get(ticket[:100])
        if not isinstance(found, dict) or found.get("owner") != owner:
            raise MCPError(
                INVALID_PARAMS,
                "requestState is unknown, of another call, or older than ten minutes: call the "
                "tool again without it",
            )
        answers = dict(found["answers"])
        answers.update({key: new[key] for key in found["asked"] if new and key in new})
        return answers

    async def ask(
        self, owner: str, answers: Mapping[str, Any], questions: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Keep what there is until the next round; the interim result that asks for more.

        Args:
            owner: whose call it is.
            answers: what has been answered.
            questions: requests of the protocol, by key.

        Raises:
            MCPError: the answers are such that they cannot be kept.
        """
        ticket = secrets.token_urlsafe(24)
        kept = {"owner": owner, "answers": dict(answers), "asked": list(questions)}
        try:
            await self._state().set(ticket, kept, ttl=self._KEEP_S)
        except BadState:
            raise MCPError(
                INVALID_PARAMS,
                "the answers so far are too large to keep, or have text that is no Unicode; send "
                "less",
            ) from None
        return {
            "resultType": "input_required",
            "inputRequests": {key: dict(each) for key, each in questions.items()},
            "requestState": ticket,
        }
