"""Who calls: what the client says of itself, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from backstay.errors import ClientCannot

__all__ = ["Channel", "ClientContext", "LogLevel", "NoChannel"]

LogLevel = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
"""The severities of RFC 5424 §6.2.1, as MCP names them."""

_NOTHING: Mapping[str, Any] = {}


class Channel(Protocol):
    """The way back to the client while a call is running."""

    @property
    def wants_progress(self) -> bool:
        """Whether the client has asked for progress of this call."""

    async def progress(self, done: float, total: float | None, message: str | None) -> None:
        """Report progress."""

    async def log(self, level: LogLevel, data: Any, logger: str | None) -> None:
        """Send a log line, if the client wants any of that level."""

    async def elicit(
        self, message: str, schema: dict[str, Any], key: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Ask the user; the action and the content of the answer.

        Raises:
            ClientCannot: there is no way to ask.
        """

    async def sample(self, request: dict[str, Any]) -> str:
        """Have the client's model say something.

        Raises:
            ClientCannot: there is no way to ask.
        """

    async def roots(self) -> list[dict[str, Any]]:
        """Ask for the folders the client works in.

        Raises:
            ClientCannot: there is no way to ask.
        """

    def can(self, capability: str) -> bool:
        """Whether the client has declared a capability."""

    async def close_stream(self) -> None:
        """End the stream of this call; a client that can resumes it."""


class NoChannel:
    """Nobody to talk to: the program itself has called."""

    wants_progress = False

    async def progress(self, done: float, total: float | None, message: str | None) -> None:
        """Nobody listens."""

    async def log(self, level: LogLevel, data: Any, logger: str | None) -> None:
        """Nobody listens."""

    async def elicit(
        self, message: str, schema: dict[str, Any], key: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        raise ClientCannot(
            f"elicit({message!r}) has nobody to ask: this call comes from the program or runs in "
            "the background; pass what it asks for as an input"
        )

    async def sample(self, request: dict[str, Any]) -> str:
        raise ClientCannot(
            "sample() has no model to ask: this call comes from the program or runs in the "
            "background"
        )

    async def roots(self) -> list[dict[str, Any]]:
        raise ClientCannot(
            "roots() has no client to ask: this call comes from the program or runs in the "
            "background"
        )

    def can(self, capability: str) -> bool:
        """Nobody can do anything."""
        return False

    async def close_stream(self) -> None:
        """There is none."""


class ClientContext:
    """``ctx.client``: what the client said of itself and its user with this call.

    All of it is the client's word, good for manners and not for permissions: who the user is,
    ``ctx.user`` says.

    Args:
        meta: the ``_meta`` of the request.
        name: of the client's software, ``None`` if unknown.
        version: of the client's software, ``None`` if unknown.
        protocol_version: the revision of MCP it speaks, ``None`` for calls of the program's own.
        user_agent: the HTTP header, for clients that do not say more in ``meta``.
        channel: the way back to it.
    """

    __slots__ = ("_channel", "_user_agent", "name", "protocol_version", "raw_meta", "version")

    def __init__(
        self,
        meta: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        version: str | None = None,
        protocol_version: str | None = None,
        user_agent: str | None = None,
        channel: Channel | None = None,
    ) -> None:
        self.raw_meta: Mapping[str, Any] = _NOTHING if meta is None else meta
        self.name = name
        self.version = version
        self.protocol_version = protocol_version
        self._user_agent = user_agent
        self._channel: Channel = NoChannel() if channel is None else channel

    def _text(self, key: str) -> str | None:
        value = self.raw_meta.get(key)
        return value if isinstance(value, str) and value else None

    @property
    def locale(self) -> str | None:
        """The user's language (BCP 47), ``None`` if the client did not say."""
        return self._text("openai/locale") or self._text("webplus/i18n")

    @property
    def user_agent(self) -> str | None:
        """The client's software, as it names itself; ``None`` if it does not."""
        return self._text("openai/userAgent") or self._user_agent

    @property
    def user_location(self) -> Mapping[str, Any] | None:
        """Where the user roughly is: ``city``, ``region``, ``country``, ``timezone``,
        ``latitude``, ``longitude``, whichever the client tells. ``None`` if it does not.
        """
        value = self.raw_meta.get("openai/userLocation")
        return value if isinstance(value, Mapping) else None

    location = user_location

    @property
    def session(self) -> str | None:
        """The client's name for the conversation, ``None`` if it has none."""
        return self._text("openai/session")

    async def log(self, level: LogLevel, data: Any, *, logger: str | None = None) -> None:
        """Send the client a log line (``ctx.logger`` writes the server's log).

        Clients of 2026-07-28 get those they asked for with the call; others from the level they
        have set, and only while the call runs and its answer can be streamed.

        Args:
            level: how grave it is.
            data: anything that is JSON.
            logger: the name of what speaks, ``None`` for none.
        """
        await self._channel.log(level, data, logger)

    async def sample(
        self,
        prompt: str,
        *,
        max_tokens: int = 1_000,
        system_prompt: str | None = None,
        temperature: float | None = None,
    ) -> str:
        """Have the client's own model answer a prompt (deprecated by MCP 2026-07-28).

        As with ``ctx.elicit``, on 2026-07-28 ``execute`` runs again from its beginning when the
        answer is there, and clients of earlier revisions need a server with ``stateless=False``.

        Args:
            prompt: what to say to it.
            max_tokens: how long its answer may be.
            system_prompt: what it is told first, ``None`` for nothing.
            temperature: ``None`` for the client's choice.

        Raises:
            ClientCannot: the client has no such model for us, or cannot be asked from here.
        """
        request: dict[str, Any] = {"prompt": prompt, "max_tokens": max_tokens}
        if system_prompt is not None:
            request["system_prompt"] = system_prompt
        if temperature is not None:
            request["temperature"] = temperature
        return await self._channel.sample(request)

    async def roots(self) -> list[dict[str, Any]]:
        """The folders the client works in: ``uri`` and maybe ``name`` of each (deprecated by MCP
        2026-07-28).

        It is asked as ``sample`` asks.

        Raises:
            ClientCannot: the client does not tell, or cannot be asked from here.
        """
        return await self._channel.roots()

    def can(self, capability: str) -> bool:
        """Whether the client says that it can be asked for something.

        Args:
            capability: ``elicitation``, ``sampling`` or ``roots``.
        """
        return self._channel.can(capability)

    async def close_stream(self) -> None:
        """End the stream this call is answered on; the client resumes it (MCP 2025-11-25).

        For calls that last longer than connections do. Needs a server with ``stateless=False`` and
        ``resumable=True``; elsewhere it does nothing.
        """
        await self._channel.close_stream()

    def __repr__(self) -> str:
        return f"<ClientContext {self.name or 'unnamed'} {self.protocol_version or ''}>"
