"""What a call has asked, and what was answered in its earlier rounds (MCP 2026-07-28)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from backstay.widgets.call import QuestionOpen

__all__ = ["Questions", "folders", "said", "sampling"]


class Questions:
    """The questions of one call.

    Args:
        answers: what has been answered so far, by key.

    Attributes:
        answers: the same.
        open: what was asked and has no answer yet, by key, as requests of the protocol. What is
            asked at the same time travels together.
    """

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.open: dict[str, dict[str, Any]] = {}
        self._asked = 0
        self._named: set[str] = set()

    def ask(self, method: str, params: dict[str, Any], key: str | None = None) -> Any:
        """The client's answer, if it is there.

        Args:
            method: of the request to the client.
            params: of the same.
            key: the question's name. ``None``: one is made of its place in the call and of what
                it asks, so that an answer is never taken for that to another question.

        Raises:
            QuestionOpen: it is not.
            ValueError: two questions of the call have that key.
        """
        if key is None:
            self._asked += 1
            text = json.dumps([method, params], sort_keys=True, default=str)
            key = f"question-{self._asked}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        elif key in self._named:
            raise ValueError(f"two questions of this call have the key {key!r}; use each once")
        else:
            self._named.add(key)
        if key in self.answers:
            return self.answers[key]
        self.open[key] = {"method": method, "params": params}
        raise QuestionOpen(key, str(params.get("message", method)), params)

    def elicit(
        self, message: str, schema: dict[str, Any], key: str | None
    ) -> tuple[str, dict[str, Any]]:
        """What the user answered: the action and what was filled in. Raises as ``ask`` does."""
        params = {"mode": "form", "message": message, "requestedSchema": schema}
        found = self.ask("elicitation/create", params, key)
        action = found.get("action") if isinstance(found, Mapping) else None
        content = found.get("content") if isinstance(found, Mapping) else None
        return str(action), dict(content) if isinstance(content, Mapping) else {}

    def sample(self, request: Mapping[str, Any]) -> str:
        """What the client's model said. Raises as ``ask`` does."""
        return said(self.ask("sampling/createMessage", sampling(request)))

    def roots(self) -> list[dict[str, Any]]:
        """The folders the client works in. Raises as ``ask`` does."""
        return folders(self.ask("roots/list", {}))


def sampling(request: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of ``sampling/createMessage`` for what ``ctx.client.sample`` was given."""
    params: dict[str, Any] = {
        "messages": [{"role": "user", "content": {"type": "text", "text": request["prompt"]}}],
        "maxTokens": request["max_tokens"],
    }
    if (system := request.get("system_prompt")) is not None:
        params["systemPrompt"] = system
    if (temperature := request.get("temperature")) is not None:
        params["temperature"] = temperature
    return params


def said(answer: Any) -> str:
    """The text of a ``CreateMessageResult``; empty if it is something else."""
    content = answer.get("content") if isinstance(answer, Mapping) else None
    if isinstance(content, Mapping) and content.get("type") == "text":
        return str(content.get("text", ""))
    return ""


def folders(answer: Any) -> list[dict[str, Any]]:
    """The roots of a ``ListRootsResult``."""
    found = answer.get("roots") if isinstance(answer, Mapping) else None
    return [dict(each) for each in found or () if isinstance(each, Mapping)]
