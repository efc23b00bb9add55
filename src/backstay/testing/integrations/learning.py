"""What is secret about a call: found where calls keep secrets, and learned by a redaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backstay.integration.http.carried_secrets import CARRIED
from backstay.integration.http.endpoint import Endpoint
from backstay.testing.integrations.redaction import Redaction

__all__ = ["learn_answer", "learn_call", "learn_request", "learn_sent"]


def learn_call(
    redaction: Redaction, endpoint: Endpoint, instance: Any, args: Any, kwargs: Mapping[str, Any]
) -> None:
    """Learn what is secret before a call is made.

    Args:
        redaction: learns it.
        endpoint: what is called.
        instance: of which instance: its credentials, its auth, the password in its address.
        args: positional arguments.
        kwargs: named ones; those with the name of a secret are secrets.
    """
    if instance.credentials is not None:
        redaction.learn_all(instance.credentials)
    auth = instance.auth
    if isinstance(auth, tuple):
        redaction.learn_all(auth)
    elif hasattr(auth, "__dict__"):
        redaction.learn_from(vars(auth), certain=True)
    arguments = dict(list(endpoint.bind(args, kwargs).items())[1:])
    redaction.learn_from(arguments, certain=True)


def learn_request(redaction: Redaction, request: Mapping[str, Any], headers: Any) -> None:
    """Learn what a request says under the names of secrets.

    Args:
        redaction: learns it.
        request: as tapes have it.
        headers: all of the client's request, of httpx's kind.
    """
    redaction.learn_headers(headers.multi_items())
    for name, value in request.get("query", ()):
        redaction.learn_from(value, name, certain=True)
    _learn_body(redaction, request.get("body", {}), certain=True)


def learn_sent(redaction: Redaction, request: Any, asked: str) -> None:
    """Learn what auth and hooks have put into a request on its way.

    Args:
        redaction: learns it.
        request: as it went out, of httpx's kind; ``None`` if it did not.
        asked: its URL before.
    """
    if request is None:
        return
    carried = request.extensions.get(CARRIED)
    redaction.learn_headers(request.headers.multi_items(), getattr(carried, "headers", ()))
    before = asked.partition("?")[2]
    for name, value in request.url.params.multi_items():
        if carried is not None and f"{name}=" not in before:
            redaction.learn_all([value])
        else:
            redaction.learn_from(value, name, certain=True)


def learn_answer(redaction: Redaction, answer: Mapping[str, Any]) -> None:
    """Learn what an answer says under the names of secrets.

    Args:
        redaction: learns it.
        answer: as tapes have it.
    """
    redaction.learn_headers(answer.get("headers", ()))
    _learn_body(redaction, answer.get("body", {}), certain=False)


def _learn_body(redaction: Redaction, body: Mapping[str, Any], *, certain: bool) -> None:
    if "json" in body:
        redaction.learn_from(body["json"], certain=certain)
    for name, value in body.get("form", ()):
        redaction.learn_from(value, name, certain=certain)
    for part in body.get("parts", ()):
        redaction.learn_from(part.get("text", ""), part.get("name", ""), certain=certain)
