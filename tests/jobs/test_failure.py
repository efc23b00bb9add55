"""How a failure is written down: short enough for a row, whole enough for people."""

import json
from datetime import UTC, datetime
from uuid import uuid4

from pydantic import TypeAdapter

from backstay.jobs.failure import JobFailure, describe

AT = datetime(2027, 1, 1, tzinfo=UTC)


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_an_entry_has_kind_message_attempt_and_time() -> None:
    assert describe("WorkerLost", "it died", attempt=2, at=AT) == {
        "type": "WorkerLost",
        "message": "it died",
        "attempt": 2,
        "at": "2027-01-01T00:00:00+00:00",
    }


def test_an_exception_brings_its_traceback_with_its_causes() -> None:
    try:
        try:
            raise LookupError("inner")
        except LookupError as inner:
            raise ConnectionError("outer") from inner
    except ConnectionError as error:
        entry = describe("ConnectionError", "outer", attempt=1, at=AT, error=error)
    assert "inner" in entry["traceback"]
    assert entry["traceback"].rstrip().endswith("ConnectionError: outer")
    assert __file__ in entry["traceback"]


def test_long_messages_and_tracebacks_are_cut_and_say_so() -> None:
    error = raised(ValueError("x" * 100_000))
    entry = describe("ValueError", str(error), attempt=1, at=AT, error=error)
    assert len(entry["message"]) == 2_000
    assert entry["message"][-1] in "…?"
    assert len(entry["traceback"]) <= 8_000


def test_the_end_of_a_traceback_is_what_is_kept() -> None:
    def deeper(depth: int) -> None:
        if depth == 0:
            raise ValueError("at the bottom")
        deeper(depth - 1)

    try:
        deeper(300)
    except ValueError as caught:
        entry = describe("ValueError", "at the bottom", attempt=1, at=AT, error=caught)
    assert "at the bottom" in entry["traceback"]


def test_umlauts_stay_and_what_no_encoding_has_does_not_lose_the_entry() -> None:
    entry = describe("Fehler", "größer als 5 €: \N{SNOWMAN}", attempt=1, at=AT)
    assert entry["message"] == "größer als 5 €: \N{SNOWMAN}"
    broken = describe("Fehler", "half a pair \ud83d and \x00", attempt=1, at=AT)
    assert json.loads(json.dumps(broken))["message"].startswith("half a pair ")


def test_a_failure_travels_as_json_itself() -> None:
    failure = JobFailure(
        job_id=uuid4(),
        task="pay",
        queue="default",
        args={"order": 17},
        attempt=1,
        max_attempts=3,
        error_type="ConnectionError",
        message="no route",
        traceback="",
        state="retrying",
        at=AT,
        correlation_id="c",
    )
    adapter = TypeAdapter(JobFailure)
    assert adapter.validate_json(adapter.dump_json(failure)) == failure
