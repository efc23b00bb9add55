"""A call of a declared endpoint while it is under way: what patterns and clients tell each other.

Stands below both the patterns, which know no HTTP, and the declarations, which know no patterns.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import ContextVar
from typing import Any

__all__ = ["IDEMPOTENT", "OutgoingCall", "current_call"]

IDEMPOTENT = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "QUERY", "TRACE"})
"""Methods that may be repeated (RFC 9110 §9.2.2, and QUERY)."""


class OutgoingCall:
    """One call of one endpoint. Its client says what was sent and what came back.

    Clients ask ``current_call`` each time: while copies of a call race each other, each copy has an
    ``OutgoingCall`` of its own.

    Attributes:
        owner: the instance of the integration; patterns remember for each of them by itself.
        name: of the endpoint, the same in every process: ``"payments.charge"``.
        method: as the endpoint is declared, in capitals.
        idempotency_key: what is sent along with requests that are not idempotent, ``None`` for
            nothing.
        is_watched: whether its client says what it sends. Otherwise everything may have been sent.
        attempts: how many there were.
        requests: how many were sent, in all attempts.
        status: of the last answer in this attempt, ``None`` before there is one.
        answer: that answer as the client gave it, ``None`` if the client does not say.
        retry_after: what that answer says of when to try again (RFC 9110 §10.2.3), ``None`` for
            nothing.
        unsafe_requests: how many were sent in this attempt that may not be sent again.
    """

    __slots__ = (
        "_attempts_before",
        "_requests_before",
        "_sent_before",
        "answer",
        "attempts",
        "idempotency_key",
        "is_watched",
        "method",
        "name",
        "owner",
        "requests",
        "retry_after",
        "status",
        "unsafe_requests",
    )

    def __init__(
        self, owner: Hashable, name: str, method: str, *, idempotency_key: str | None = None
    ) -> None:
        self.owner = owner
        self.name = name
        self.method = method
        self.idempotency_key = idempotency_key
        self.is_watched = False
        self.attempts = 0
        self.requests = 0
        self.status: int | None = None
        self.answer: Any = None
        self.retry_after: str | None = None
        self.unsafe_requests = 0
        self._sent_before = 0
        # What a branch begins with; the rest is what it did.
        self._attempts_before = 0
        self._requests_before = 0

    def begin_attempt(self) -> None:
        """The endpoint's code is about to run, once more or for the first time."""
        self.attempts += 1
        self.status = self.answer = None
        self.retry_after = None
        self.unsafe_requests = 0
        self._sent_before = self.requests

    def sent(self, method: str, *, has_key: bool) -> None:
        """A request is on its way.

        Args:
            method: in capitals.
            has_key: it carries an idempotency key.
        """
        self.requests += 1
        if method not in IDEMPOTENT and not has_key:
            self.unsafe_requests += 1

    def answered(self, status: int, answer: Any = None, *, retry_after: str | None = None) -> None:
        """There is an answer.

        Args:
            status: its HTTP status.
            answer: it itself, ``None`` if it is not at hand.
            retry_after: its header of that name, ``None`` to look for it in ``answer``.
        """
        if retry_after is None:
            get = getattr(getattr(answer, "headers", None), "get", None)
            retry_after = get("retry-after") if callable(get) else None
        self.status = status
        self.answer = answer
        self.retry_after = retry_after

    def forget_answer(self) -> None:
        """What the call returns from now on is not read as that answer."""
        self.status = None
        self.answer = None
        self.retry_after = None

    @property
    def sent_unsafe(self) -> bool:
        """Whether something was sent in this attempt that may not be sent again."""
        return self.unsafe_requests > 0

    @property
    def requests_in_attempt(self) -> int:
        """How many were sent in this attempt."""
        return self.requests - self._sent_before

    @property
    def is_repeatable(self) -> bool:
        """Whether the endpoint, as it is declared, may run more than once."""
        return self.method in IDEMPOTENT or self.idempotency_key is not None

    @property
    def may_repeat(self) -> bool:
        """Whether nothing was sent in this attempt that may not be sent again."""
        return not self.unsafe_requests if self.is_watched else self.is_repeatable

    def branch(self) -> OutgoingCall:
        """The same call, for code that runs once more or beside a copy of itself.

        It knows nothing yet of answers and of what was sent; ``merge`` brings that back.
        """
        branch = OutgoingCall(
            self.owner, self.name, self.method, idempotency_key=self.idempotency_key
        )
        branch.is_watched = self.is_watched
        branch.attempts = branch._attempts_before = self.attempts
        branch.requests = branch._requests_before = branch._sent_before = self.requests
        return branch

    def merge(self, branch: OutgoingCall, *, is_result: bool) -> None:
        """That code has ended: what it did was done. Once for each branch.

        Args:
            branch: what it had.
            is_result: how it ended is how the call ends as far as one knows, so its answer is the
                call's.
        """
        self.is_watched = self.is_watched or branch.is_watched
        self.attempts += branch.attempts - branch._attempts_before
        self.requests += branch.requests - branch._requests_before
        self.unsafe_requests += branch.unsafe_requests
        if is_result:
            self.take_answer(branch)

    def take_answer(self, branch: OutgoingCall) -> None:
        """The answer that a branch has is the call's, though none is ``None``."""
        self.status = branch.status
        self.answer = branch.answer
        self.retry_after = branch.retry_after


current_call: ContextVar[OutgoingCall | None] = ContextVar("backstay_outgoing_call", default=None)
"""The call of a declared endpoint that is running, ``None`` outside any."""
