"""Rows are masked, and no larger than a row may be."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.events import Masking
from backstay.events.rows import MAX_FACTS_BYTES, event_row, event_rows, facts_json, minute_rows
from tests.events.journal import a_minute, seen

MASKING = Masking()
CANARY = "kanarienvogel"


def test_a_row_has_what_has_happened() -> None:
    row = event_row(seen(3), MASKING)
    assert row.pop("id").version == 7
    assert json.loads(row.pop("facts")) == seen(3).facts
    assert row == {
        "kind": "request",
        "name": "GET /items/{item_id}",
        "correlation_id": "work-3",
        "started_us": int(seen(3).started_at.timestamp()) * 1_000_000,
        "duration_us": 12_000,
        "outcome": "ok",
        "status": 200,
        "error": None,
    }


def test_the_name_of_an_error_stays_and_its_message_is_masked() -> None:
    row = event_row(seen(error=("TokenExpired", f"password={CANARY} of bob")), MASKING)
    assert row["error"] == "TokenExpired: password=*** of bob"
    assert event_row(seen(error=("KeyError", "")), MASKING)["error"] == "KeyError"
    long = event_row(seen(error=("KeyError", "word " * 3_000)), MASKING)["error"]
    assert len(long) <= 1_000 + len("KeyError: ")


@given(
    st.dictionaries(
        st.sampled_from(["password", "Authorization", "api_key", "sessionToken"]),
        st.just(CANARY),
        min_size=1,
    )
)
def test_a_canary_is_in_no_column(secrets: dict[str, str]) -> None:
    text = "&".join(f"{name}={value}" for name, value in secrets.items())
    jwt = f"eyJhbGciOiJub25lIn0.{CANARY}.x"
    row = event_row(
        seen(
            name=f"GET /x?{text}",
            correlation_id=jwt,
            outcome=text[:60],
            error=("ValueError", f"Bearer {CANARY} {text}"),
            facts={**secrets, "query": text, "deep": [{"headers": list(secrets.items())}]},
        ),
        MASKING,
    )
    assert CANARY not in repr(row)


def test_what_the_columns_have_no_room_for_is_cut() -> None:
    row = event_row(
        seen(
            name="n" * 400,
            correlation_id="c" * 400,
            outcome="o" * 400,
            status=99_999,
            duration_s=-1,
        ),
        MASKING,
    )
    assert len(row["name"]) == 200
    assert len(row["correlation_id"]) == 128
    assert len(row["outcome"]) == 32
    assert row["status"] is None
    assert row["duration_us"] == 0


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=600)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=20), st.dictionaries(st.text(max_size=200), inner, max_size=20)
    ),
    max_leaves=25,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=200), json_values, max_size=60))
def test_facts_are_json_of_four_kilobytes_at_most(facts: dict[str, Any]) -> None:
    text = facts_json(facts, MASKING)
    assert len(text.encode()) <= MAX_FACTS_BYTES
    assert isinstance(json.loads(text), dict)
    assert "\0" not in text


def test_facts_that_fit_stay_when_others_do_not() -> None:
    facts = {"a": 1, **{f"long{each}": "wörter " * 100 for each in range(20)}, "z": 2}
    kept = json.loads(facts_json(facts, MASKING))
    assert kept["a"] == 1
    assert kept["z"] == 2
    assert kept["long0"].startswith("wörter")
    assert kept["long19"] == "…"


def test_facts_that_cannot_be_read_cost_nothing_but_themselves() -> None:
    class Broken(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("dictionary changed size during iteration")

    rows = event_rows([seen(facts=Broken(a=1)), seen()], MASKING)
    assert json.loads(rows[0]["facts"]) == {"…": "the facts could not be read: RuntimeError"}
    assert json.loads(rows[1]["facts"]) == seen().facts


def test_an_event_that_cannot_be_written_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    rows = event_rows([seen(1), seen(2, name=None), seen(3)], MASKING)
    assert [each["correlation_id"] for each in rows] == ["work-1", "work-3"]
    assert "cannot be written, and is dropped" in caplog.text


@pytest.mark.parametrize("name", [f"GET /x?token={CANARY}", f"eyJhbGci.{CANARY}"])
def test_names_of_minutes_are_masked_too(name: str) -> None:
    (row,) = minute_rows([a_minute(name=name)], MASKING)
    assert CANARY not in repr(row)
    assert row["count"] == 1
