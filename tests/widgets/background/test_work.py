"""Who calls, on its way through a job's row."""

from __future__ import annotations

import json

from backstay.widgets import ClientContext, UserContext
from backstay.widgets.background.work import JobCaller, dump_caller
from backstay.widgets.client import NoChannel

ADA = UserContext(
    "ada",
    scopes=frozenset({"photos", "orders"}),
    claims={"email": "ada@example.com"},
    client_id="a-client",
    issuer="https://id.example.com",
)


def test_a_caller_comes_out_of_the_row_as_it_went_in() -> None:
    client = ClientContext(
        {"openai/locale": "fr"}, name="Host", version="2", protocol_version="2026-07-28"
    )
    row = json.loads(json.dumps(dump_caller(ADA, "a-session", client)))
    caller = JobCaller(row, NoChannel())
    assert caller.user == ADA
    assert caller.session == "a-session"
    found = caller.client()
    assert (found.name, found.version, found.locale) == ("Host", "2", "fr")
    assert found.protocol_version == "2026-07-28"


def test_nobody_stays_nobody() -> None:
    caller = JobCaller(dump_caller(None, None, ClientContext()), NoChannel())
    assert caller.user is None
    assert caller.session is None


def test_what_belongs_to_the_request_alone_is_not_written_down() -> None:
    meta = {
        "progressToken": 7,
        "io.modelcontextprotocol/clientCapabilities": {},
        "openai/subject": "someone",
    }
    assert dump_caller(None, None, ClientContext(meta))["meta"] == {"openai/subject": "someone"}
