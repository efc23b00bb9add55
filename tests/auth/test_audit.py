"""What happened is written down, short and printable, and without anything secret."""

import asyncio
import json
import logging
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.auth.audit import Audit, AuditEvent
from backstay.errors import BadAuth
from backstay.log import JsonFormatter, correlation_id
from backstay.testing import FakeClock

JWT = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJjYW5hcnkifQ."
    "c2lnbmF0dXJlY2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5"
)
API_KEY = "bsk_abcdefghijklmnop_" + "K" * 20 + "-_" + "k" * 21 + "_0A1b2C"
REFRESH = "bsr_" + "R" * 43


def test_an_event_says_what_when_whose_and_from_where(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    token = correlation_id.set("abc")
    try:
        with caplog.at_level(logging.INFO, "backstay.audit"):
            event = Audit(clock=clock).record(
                "login", subject="ann", client="192.0.2.1", session="s1", detail="by password"
            )
    finally:
        correlation_id.reset(token)
    assert event == AuditEvent(
        name="login",
        at=clock.now(),
        subject="ann",
        client="192.0.2.1",
        session="s1",
        correlation_id="abc",
        detail="by password",
    )
    [record] = caplog.records
    assert record.name == "backstay.audit"
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        'login subject="ann" client="192.0.2.1" session="s1" detail="by password"'
    )
    line = json.loads(JsonFormatter().format(record))
    assert line["event"] == "login"
    assert line["subject"] == "ann"
    assert line["client"] == "192.0.2.1"
    assert line["session"] == "s1"
    assert line["correlation_id"] == "abc"
    assert line["at"] == "2027-01-01T00:00:00+00:00"
    with pytest.raises(FrozenInstanceError):
        event.subject = "eve"  # type: ignore[misc]  # what is tried


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("login", logging.INFO),
        ("login_refused", logging.WARNING),
        ("refresh_refused", logging.WARNING),
        ("refresh_reused", logging.WARNING),
        ("throttled", logging.WARNING),
        ("token_refreshed", logging.INFO),
        ("session_ended", logging.INFO),
        ("sessions_ended", logging.INFO),
        ("token_revoked", logging.INFO),
        ("api_key_created", logging.INFO),
        ("api_key_revoked", logging.INFO),
    ],
)
def test_what_was_refused_is_a_warning(
    name: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "backstay.audit"):
        Audit().record(name)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, name)]


@pytest.mark.parametrize(
    ("subject", "written"),
    [
        ("ann\nlogin subject=root", r"ann\nlogin subject=root"),
        ("ann\r\n\x1b[2J\x00", r"ann\r\n\x1b[2J\x00"),
        ("\u2028\u2029\x85\u202e", r"\u2028\u2029\x85\u202e"),
        ("\ud800", r"\ud800"),
        ("Grüße 👋", "Grüße 👋"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200),
        ("\n" * 150, r"\n" * 99 + "\\…"),
    ],
    ids=ascii,
)
def test_no_name_breaks_a_line(
    subject: str, written: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "backstay.audit"):
        event = Audit().record("login_refused", subject=subject)
    assert event.subject == written
    assert caplog.records[0].subject == written  # type: ignore[attr-defined]  # an extra
    caplog.records[0].getMessage().encode()


@given(st.text(), st.text(), st.text())
def test_whatever_is_written_is_one_short_printable_line(
    subject: str, client: str, detail: str
) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]  # as a test's own
    logger = logging.getLogger("backstay.audit")
    logger.addHandler(handler)
    try:
        event = Audit().record("login_refused", subject=subject, client=client, detail=detail)
    finally:
        logger.removeHandler(handler)
    assert len(lines) == 1
    assert lines[0].isprintable()
    assert all(len(each or "") <= 200 for each in (event.subject, event.client, event.detail))


def test_no_name_pretends_to_be_two_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "backstay.audit"):
        Audit().record("login", subject='ann" client="10.0.0.1', client="192.0.2.1")
    assert caplog.records[0].getMessage() == (
        r'login subject="ann\" client=\"10.0.0.1" client="192.0.2.1"'
    )


@pytest.mark.parametrize("canary", [JWT, JWT.rpartition(".")[0] + ".", API_KEY, REFRESH])
@pytest.mark.parametrize("around", ["{}", "Bearer {}", "my key is {} ok?", "x" * 150 + " {}"])
def test_tokens_that_somebody_took_for_a_name_are_not_written(
    canary: str, around: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[AuditEvent] = []
    audit = Audit()
    audit.add_sink(heard.append)
    text = around.format(canary)
    with caplog.at_level(logging.INFO, "backstay.audit"):
        audit.record("login_refused", subject=text, client=text, session=text, detail=text)
    written = repr(heard) + caplog.text + JsonFormatter().format(caplog.records[0])
    for part in (canary[:24], canary[-24:], "".join(canary.split(".")[1:2]) or canary):
        assert part not in written
    assert "***" in written


@pytest.mark.parametrize(
    "subject",
    ["ann", "google-oauth2|1234567890", "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "e" * 100],
)
def test_names_that_only_look_odd_are_written(subject: str) -> None:
    assert Audit().record("login", subject=subject).subject == subject


def test_sinks_hear_of_everything_and_harm_nobody(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def broken(event: AuditEvent) -> None:
        raise RuntimeError("no disk")

    audit = Audit()
    audit.add_sink(broken)
    audit.add_sink(lambda event: heard.append(event.name))
    logging.getLogger("backstay.audit").setLevel(logging.CRITICAL)
    try:
        audit.record("login")
        audit.record("login_refused")
    finally:
        logging.getLogger("backstay.audit").setLevel(logging.NOTSET)
    assert heard == ["login", "login_refused"]
    audit.record("login")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "no disk" in caplog.text


def test_a_sink_that_nobody_would_await_is_refused() -> None:
    async def later(event: AuditEvent) -> None:
        raise AssertionError

    class Later:
        async def __call__(self, event: AuditEvent) -> None:
            raise AssertionError

    for sink in (later, Later(), None, "print"):
        with pytest.raises(BadAuth, match="not async"):
            Audit().add_sink(sink)  # type: ignore[arg-type]  # what is tried
    assert asyncio.iscoroutinefunction(later)
