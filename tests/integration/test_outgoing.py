"""A call knows what was sent in it and what may be sent again."""

import pytest

from backstay.integration.outgoing import OutgoingCall


def watched(method: str, *, key: str | None = None) -> OutgoingCall:
    call = OutgoingCall(object(), "bank.pay", method, idempotency_key=key)
    call.is_watched = True
    call.begin_attempt()
    return call


def test_nothing_sent_may_be_repeated_and_what_is_unsafe_may_not() -> None:
    call = watched("POST")
    assert call.may_repeat
    call.sent("GET", has_key=False)
    call.sent("POST", has_key=True)
    assert call.may_repeat
    call.sent("POST", has_key=False)
    assert (call.may_repeat, call.sent_unsafe, call.requests_in_attempt) == (False, True, 3)
    call.begin_attempt()
    assert (call.may_repeat, call.requests_in_attempt) == (True, 0)
    assert (call.requests, call.attempts) == (3, 2)


@pytest.mark.parametrize(
    ("method", "key", "may"),
    [("GET", None, True), ("PUT", None, True), ("POST", None, False), ("PATCH", "k", True)],
)
def test_where_nobody_says_what_is_sent_the_declaration_decides(
    method: str, key: str | None, may: bool
) -> None:
    call = OutgoingCall(object(), "bank.pay", method, idempotency_key=key)
    assert call.may_repeat is may
    assert call.is_repeatable is may


def test_an_answer_says_when_to_try_again() -> None:
    class Answer:
        headers = {"retry-after": "7"}

    call = watched("GET")
    call.answered(503, Answer())
    assert (call.status, call.retry_after) == (503, "7")
    assert isinstance(call.answer, Answer)
    call.answered(503, retry_after="8")
    assert (call.retry_after, call.answer) == ("8", None)
    call.begin_attempt()
    assert (call.status, call.retry_after) == (None, None)


def test_what_branches_did_was_done_and_the_answer_is_that_of_the_one_that_counts() -> None:
    call = watched("POST")
    call.sent("GET", has_key=False)
    first, second = call.branch(), call.branch()
    second.begin_attempt()
    for each, status in ((first, 200), (second, 500)):
        assert each.is_watched
        assert each.requests_in_attempt == 0
        each.sent("POST", has_key=False)
        each.answered(status, retry_after=str(status))
    assert (first.attempts, second.attempts) == (1, 2)
    call.merge(first, is_result=True)
    call.merge(second, is_result=False)
    assert (call.status, call.retry_after) == (200, "200")
    assert (call.attempts, call.requests, call.unsafe_requests) == (2, 3, 2)
