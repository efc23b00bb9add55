"""Whatever happens to a session, a token that was used is never good again."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from backstay.auth.memory_store import MemoryAuthStore
from backstay.auth.port import AuthStore, RefreshRecord, Turn
from backstay.auth.rotation import Family, judge_turn
from tests.auth.auth_stores import EVERY_STORE, a_store

START = datetime(2027, 1, 1, tzinfo=UTC)
LIFE_S = 100
REUSE_S = 10

RECORD = RefreshRecord(
    digest=b"1" * 32,
    session="s",
    subject="ann",
    scopes=(),
    issued_at=START,
    expires_at=START + timedelta(seconds=LIFE_S),
    begun_at=START,
)
USED = replace(RECORD, used_at=START + timedelta(seconds=5))
GOING_ON = Family(RECORD.digest, None, ended=False)
ONE_FURTHER = Family(b"2" * 32, RECORD.digest, ended=False)
TWO_FURTHER = Family(b"3" * 32, b"2" * 32, ended=False)
OVER = Family(RECORD.digest, None, ended=True)


@pytest.mark.parametrize(
    ("record", "family", "at_s", "reuse_s", "turn"),
    [
        pytest.param(RECORD, GOING_ON, 0, 0, Turn.DONE, id="fresh"),
        pytest.param(RECORD, GOING_ON, LIFE_S - 0.000001, 0, Turn.DONE, id="just in time"),
        pytest.param(RECORD, GOING_ON, LIFE_S, 0, Turn.EXPIRED, id="just too late"),
        pytest.param(RECORD, OVER, 0, 0, Turn.REVOKED, id="session over"),
        pytest.param(RECORD, OVER, LIFE_S, 0, Turn.REVOKED, id="session over, token too"),
        pytest.param(USED, OVER, 6, REUSE_S, Turn.REVOKED, id="session over, used"),
        pytest.param(USED, ONE_FURTHER, 5, 0, Turn.REUSED, id="at once"),
        pytest.param(USED, ONE_FURTHER, 4, 0, Turn.REUSED, id="a clock is behind"),
        pytest.param(USED, ONE_FURTHER, 14.9, REUSE_S, Turn.DONE, id="answer lost"),
        pytest.param(USED, ONE_FURTHER, 15, REUSE_S, Turn.REUSED, id="answer lost long ago"),
        pytest.param(USED, TWO_FURTHER, 6, REUSE_S, Turn.REUSED, id="the client went on"),
        pytest.param(USED, ONE_FURTHER, LIFE_S, 1000, Turn.EXPIRED, id="answer lost, expired"),
        pytest.param(USED, TWO_FURTHER, LIFE_S, 0, Turn.REUSED, id="used and expired"),
    ],
)
def test_what_comes_of_a_token(
    record: RefreshRecord, family: Family, at_s: float, reuse_s: float, turn: Turn
) -> None:
    now = START + timedelta(seconds=at_s)
    assert judge_turn(record, family, now=now, reuse_s=reuse_s) is turn


@dataclass
class Session:
    """What is true of a session: one token counts, and the one before it for a while."""

    live: bytes
    parent: bytes | None = None
    parent_used_at: datetime = START
    ended: bool = False


class Families(RuleBasedStateMachine):
    """Sessions as clients and thieves use them, and which of their tokens must be good."""

    tokens = Bundle("tokens")

    def __init__(self, store: AuthStore, run: asyncio.Runner) -> None:
        super().__init__()
        self.store = store
        self.run = run.run
        self.now = START
        self.sessions: dict[str, Session] = {}
        self.given: dict[bytes, RefreshRecord] = {}

    @initialize()
    def begin_afresh(self) -> None:
        """The store is one for all examples."""
        self.run(self.store.end_sessions("ann", now=self.now))

    def new_token(self, session: str) -> RefreshRecord:
        token = replace(
            RECORD,
            digest=uuid.uuid4().bytes,
            session=session,
            issued_at=self.now,
            expires_at=self.now + timedelta(seconds=LIFE_S),
        )
        self.given[token.digest] = token
        return token

    @rule(target=tokens)
    def login(self) -> bytes:
        first = self.new_token(uuid.uuid4().hex)
        self.run(self.store.add_refresh(first))
        self.sessions[first.session] = Session(first.digest)
        return first.digest

    @rule(target=tokens, token=tokens, reuse_s=st.sampled_from([0, 0, REUSE_S]))
    def exchange(self, token: bytes, reuse_s: float) -> bytes:
        name = self.given[token].session
        session = self.sessions[name]
        answer_lost = (
            token == session.parent
            and reuse_s > 0
            and self.now < session.parent_used_at + timedelta(seconds=reuse_s)
        )
        good = (
            not session.ended
            and self.now < self.given[token].expires_at
            and (token == session.live or answer_lost)
        )
        new = self.new_token(name)
        done = self.run(
            self.store.rotate_refresh(
                token, replace(new, session="?"), now=self.now, reuse_s=reuse_s
            )
        )
        assert (done.turn is Turn.DONE) == good
        if session.ended:
            assert done.turn in {Turn.REVOKED, Turn.UNKNOWN}
        if good:
            if token == session.live:
                session.parent, session.parent_used_at = token, self.now
            session.live = new.digest
        return new.digest

    @rule(token=tokens)
    def end_session(self, token: bytes) -> None:
        name = self.given[token].session
        session = self.sessions[name]
        counted = not session.ended and self.now < self.given[session.live].expires_at
        assert self.run(self.store.end_session(name, now=self.now)) == counted
        session.ended = True

    @rule()
    def end_all(self) -> None:
        self.run(self.store.end_sessions("ann", now=self.now))
        for each in self.sessions.values():
            each.ended = True

    @rule(seconds=st.sampled_from([0.000001, 1, REUSE_S, LIFE_S / 2, LIFE_S]))
    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def prune(self) -> None:
        self.run(self.store.prune(now=self.now))

    @invariant()
    def what_is_told_is_what_goes_on(self) -> None:
        found = self.run(self.store.sessions("ann", now=self.now))
        assert {each.session: each.digest for each in found} == {
            name: session.live
            for name, session in self.sessions.items()
            if not session.ended and self.now < self.given[session.live].expires_at
        }


def play(store: AuthStore, runner: asyncio.Runner, *, examples: int) -> None:
    run_state_machine_as_test(
        lambda: Families(store, runner),
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_families_in_memory_keep_their_promises() -> None:
    with asyncio.Runner() as runner:
        play(MemoryAuthStore(), runner, examples=100)


@pytest.mark.parametrize("kind", EVERY_STORE[1:])
def test_families_in_a_database_keep_their_promises(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with asyncio.Runner() as runner:
        entered = a_store(kind, tmp_path_factory.mktemp("families"))
        store = runner.run(entered.__aenter__())
        try:
            play(store, runner, examples=12)
        finally:
            runner.run(entered.__aexit__(None, None, None))
