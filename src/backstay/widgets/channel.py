"""The way back to the client of an MCP request, whichever revision it speaks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import LOG_LEVEL_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from backstay.errors import ClientCannot
from backstay.widgets.call import CapabilityMissing
from backstay.widgets.client import LogLevel
from backstay.widgets.questions import Questions, folders, said, sampling

__all__ = ["LEVELS", "SessionChannel"]

logger = logging.getLogger("backstay.widgets")

_REQUESTS: Mapping[str, tuple[type[Any], type[Any]]] = {
    "sampling/createMessage": (types.CreateMessageRequest, types.CreateMessageResult),
    "roots/list": (types.ListRootsRequest, types.ListRootsResult),
}

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""From the least to the gravest (RFC 5424 §6.2.1)."""


class SessionChannel:
    """Speaks to a client through the SDK's session.

    Args:
        request: what the SDK knows of the request that is being served.
        least: the least level of log lines this session wants, ``None`` for all.
        answers: what the user has answered in earlier rounds of this call, by question.
        wants_progress: whether the request carries a progress token.

    Attributes:
        questions: what the call has asked.
    """

    def __init__(
        self,
        request: ServerRequestContext[Any, Any],
        *,
        least: LogLevel | None,
        answers: Mapping[str, Any],
        wants_progress: bool,
    ) -> None:
        self._request = request
        self._least = least
        self.questions = Questions(answers)
        self.wants_progress = wants_progress
        self._modern = request.protocol_version in MODERN_PROTOCOL_VERSIONS

    async def progress(self, done: float, total: float | None, message: str | None) -> None:
        """Report progress; a client that has gone is no error of the tool's."""
        try:
            await self._request.session.report_progress(done, total, message)
        except (MCPError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            logger.debug("a progress report could not be sent", exc_info=True)

    async def log(self, level: LogLevel, data: Any, logger: str | None) -> None:
        """Send a log line, if the client wants any of that level."""
        least: str | None = self._least
        if self._modern:
            # Since 2026-07-28 a request asks for its own log lines, or gets none.
            meta = self._request.meta or {}
            least = str(meta.get(LOG_LEVEL_META_KEY))
            if least not in LEVELS:
                return
        if least is not None and LEVELS.index(level) < LEVELS.index(least):
            return
        await self._request.session.send_notification(
            types.LoggingMessageNotification(
                params=types.LoggingMessageNotificationParams(level=level, data=data, logger=logger)
            ),
            related_request_id=self._request.request_id,
        )

    async def elicit(
        self, message: str, schema: dict[str, Any], key: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Ask the user: by an interim result, or on the open connection."""
        doing = f"elicit({message!r})"
        if self._modern:
            self._require(doing, "elicitation")
            return self.questions.elicit(message, schema, key)
        self._require_connection(doing)
        self._require(doing, "elicitation")
        try:
            answer = await self._request.session.elicit_form(
                message, schema, related_request_id=self._request.request_id
            )
        except NoBackChannelError as error:
            raise ClientCannot(f"{doing} cannot ask: {error}") from None
        except (MCPError, ValidationError) as error:
            raise ClientCannot(f"{doing}: the client could not ask: {error}") from None
        return answer.action, dict(answer.content or {})

    async def sample(self, request: dict[str, Any]) -> str:
        """Have the client's model say something: by an interim result, or on the connection."""
        self._require_way("sample()", "sampling")
        if self._modern:
            return self.questions.sample(request)
        return said(await self._send("sampling/createMessage", sampling(request)))

    async def roots(self) -> list[dict[str, Any]]:
        """Ask for the folders the client works in: by an interim result, or on the connection."""
        self._require_way("roots()", "roots")
        if self._modern:
            return self.questions.roots()
        return folders(await self._send("roots/list", {}))

    def can(self, capability: str) -> bool:
        """Whether the client has declared it."""
        return getattr(self._request.session.client_capabilities, capability, None) is not None

    # ------------------------------------------------------------------ asking

    async def _send(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """A request to the client on the open connection, and its answer."""
        kind, answer = _REQUESTS[method]
        try:
            result = await self._request.session.send_request(
                kind.model_validate({"method": method, "params": params}),
                answer,
                metadata=ServerMessageMetadata(related_request_id=self._request.request_id),
            )
        except (MCPError, ValidationError) as error:
            raise ClientCannot(f"{method}: the client did not answer: {error}") from None
        told: dict[str, Any] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        return told

    def _require_way(self, doing: str, capability: str) -> None:
        if not self._modern:
            self._require_connection(doing)
        self._require(doing, capability)

    def _require(self, doing: str, capability: str) -> None:
        if not self.can(capability):
            raise CapabilityMissing(
                f"{doing} cannot ask: the client does not offer {capability}; take what you need "
                "as an input",
                {capability: {}},
            )

    def _require_connection(self, doing: str) -> None:
        if not self._request.session.can_send_request:
            raise ClientCannot(
                f"{doing} cannot ask: a client of MCP {self._request.protocol_version} is asked on "
                "an open connection, which this server does not keep; make it with "
                "WidgetMCPServer(..., stateless=False)"
            )

    async def close_stream(self) -> None:
        """End the stream, if the transport lets clients resume."""
        if self._request.close_sse_stream is not None:
            await self._request.close_sse_stream()
