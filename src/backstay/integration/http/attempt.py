"""One call of an endpoint while it is under way, from its first request to its end."""

from __future__ import annotations

import contextlib
import json
from traceback import walk_tb
from types import TracebackType
from typing import Any, Final, Literal

from pydantic import ValidationError

from backstay.clock import Clock
from backstay.errors import BadAnswer, MaxRetriesExceededError, UpstreamError
from backstay.integration.http.answer_rules import is_response
from backstay.integration.http.api import ApiHTTP
from backstay.integration.http.client_errors import is_of_client
from backstay.integration.http.origin import origin_of_url, request_of
from backstay.integration.http.statistics import CallStatistics
from backstay.integration.http.watching import Sending, current_sending
from backstay.integration.outgoing import OutgoingCall, current_call
from backstay.observation import Observation

__all__ = ["Attempt"]

_STUMBLED: Final = (AttributeError, LookupError, TypeError, ValidationError)
"""What code raises that takes an error's body for what it had hoped for."""


class Attempt:
    """One call under way: it knows what it is while it is entered, and is counted when it ends.

    Entered once for a call that answers once, and for each item of one that yields: between those
    other code runs.

    Args:
        api: its way. An attribute, too.
        call: what patterns and the client know of it. An attribute, too.
        sending: what goes along with its requests.
        seen: what observers see, ``None`` if there are none.
        statistics: where it is counted.
        clock: tells the time.
    """

    def __init__(
        self,
        api: ApiHTTP,
        call: OutgoingCall,
        *,
        sending: Sending,
        seen: Observation | None,
        statistics: CallStatistics,
        clock: Clock,
    ) -> None:
        self.call = call
        self.api = api
        self._sending = sending
        self._seen = seen
        self._statistics = statistics
        self._clock = clock
        self._begun = clock.monotonic()
        self._error: BaseException | None = None
        self._ended = False
        self._tokens: list[Any] = []
        call.begin_attempt()

    def __enter__(self) -> None:
        self._tokens.append((current_call, current_call.set(self.call)))
        self._tokens.append((current_sending, current_sending.set(self._sending)))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._tokens:
            variable, token = self._tokens.pop()
            with contextlib.suppress(ValueError):  # closed from another context, which has its own
                variable.reset(token)
        if error is not None:
            self._error = error
        if not self.api.endpoint.is_stream:
            self.end()

    def read_error(self, error: Exception) -> Any:
        """What the call returns though its method raised: an answer that is declared.

        Raises:
            Exception: the error itself, or one that says what could not be read.
        """
        rules, call = self.api.rules, self.call
        # Where retries have ended, what they ended with.
        last = error.__cause__ if isinstance(error, MaxRetriesExceededError) else error
        answer: Any = getattr(last, "response", None)
        if is_response(answer) and rules.is_error(answer.status_code) and self._is_ours(answer):
            if rules.error_model(answer.status_code) in rules.returned:
                return answer
        elif is_response(call.answer):
            is_of_json = _is_of_json(last)
            if rules.is_error(call.status) and (is_of_json or isinstance(last, _STUMBLED)):
                return call.answer
            if is_of_json:
                raise rules.unreadable(last, call.status) from error
        if is_of_client(error):
            error.add_note(f"calling {self.api.endpoint.label}")
        raise error

    def _is_ours(self, answer: Any) -> bool:
        """Not of another integration that this one called."""
        request = request_of(answer)
        return request is None or origin_of_url(request.url) == self._sending.origin

    def end(self) -> None:
        """It is over. Twice is as good as once."""
        if self._ended:
            return
        self._ended = True
        call, error = self.call, self._error
        status = call.status
        if isinstance(error, BadAnswer | UpstreamError) and error.answered:
            status = error.answered
        if isinstance(error, Exception) or (error is None and self.api.rules.is_error(status)):
            outcome: Literal["ok", "failed", "cancelled"] = "failed"
        else:
            outcome = "ok" if error is None else "cancelled"
        self._statistics.record(
            self.api.endpoint.name,
            duration_s=self._clock.monotonic() - self._begun,
            outcome=outcome,
            status=status,
            attempts=call.attempts,
        )
        if self._seen is not None:
            self._seen.facts["attempts"] = call.attempts
            self._seen.end(outcome, status=status, error=error)
        self._error = None


def _is_of_json(error: object) -> bool:
    """Whether a JSON document could not be read, for whatever reason."""
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return True
    if not isinstance(error, ValueError | RecursionError):
        return False
    # Numbers of thousands of digits, or brackets by the thousands: raised below the decoder.
    frames = [frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__)]
    return any(name in {"json", "json.decoder"} for name in frames)
