"""Passwords are hashed beside the event loop, a few at a time, and strangers take as long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.base import HasherProtocol
from pwdlib.hashers.bcrypt import BcryptHasher

from backstay.auth.passwords import Passwords
from backstay.errors import BadAuth
from tests.support import async_test


def quick(time_cost: int = 1) -> Argon2Hasher:
    """Argon2id as cheap as it can be."""
    return Argon2Hasher(time_cost=time_cost, memory_cost=8, parallelism=1)


@contextmanager
def passwords(*hashers: HasherProtocol, **options: int) -> Iterator[Passwords]:
    made = Passwords(PasswordHash(hashers or (quick(),)), **options)
    try:
        yield made
    finally:
        made.close()


class Plain(HasherProtocol):
    """Keeps passwords as they are, counts its work, and can be held up."""

    def __init__(self) -> None:
        self.work: list[tuple[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0

    @classmethod
    def identify(cls, hash: str | bytes) -> bool:
        return str(hash).startswith("plain:")

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        return f"plain:{bytes(password, 'utf-8') if isinstance(password, str) else password!r}"

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        with self.lock:
            self.work.append((str(password), str(hash)))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.gate.wait(20)
        with self.lock:
            self.at_once -= 1
        return self.hash(password) == hash

    def check_needs_rehash(self, hash: str | bytes) -> bool:
        return False


@async_test
async def test_a_password_is_right_or_wrong() -> None:
    with passwords() as made:
        known = await made.hash("correct horse")
        assert known.startswith("$argon2id$")
        assert "correct" not in known
        assert await made.verify("correct horse", known)
        assert not await made.verify("Correct horse", known)
        assert not await made.verify("correct horse ", known)
        assert not await made.verify("", known)
        assert await made.hash("correct horse") != known, "each has a salt of its own"


@async_test
async def test_by_default_it_is_argon2id_with_what_rfc_9106_recommends() -> None:
    made = Passwords()
    known = await made.hash("correct horse")
    assert known.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert await made.verify_and_update("correct horse", known) == (True, None)
    made.close()


@async_test
async def test_a_stranger_costs_the_same_work_as_a_wrong_password() -> None:
    hasher = Plain()
    with passwords(hasher) as made:
        known = await made.hash("right")
        work = {}
        for what, password, hash in [
            ("wrong", "wrong", known),
            ("stranger", "wrong", None),
            ("right", "right", known),
            ("unknown kind", "wrong", "$5$rounds=1000$x$y"),
            ("no hash", "wrong", ""),
            ("too long", "x" * 2000, known),
            ("too long, stranger", "x" * 2000, None),
            ("empty", "", known),
        ]:
            hasher.work.clear()
            assert await made.verify(password, hash) == (what == "right"), what
            work[what] = len(hasher.work)
            assert all(len(each) < 100 for each, _ in hasher.work)
        assert set(work.values()) == {1}
        for hash in (known, None):  # two forms of one password: both are tried, for everybody
            hasher.work.clear()
            assert not await made.verify("A\u030angström", hash)
            assert len(hasher.work) == 2


@async_test
async def test_what_stands_in_for_a_strangers_hash_is_made_like_any_other() -> None:
    hasher = Plain()
    with passwords(hasher) as made:
        assert not await made.verify("x", None)
        assert hasher.work[0][1].startswith("plain:")
    with passwords(quick(time_cost=4)) as made:
        assert not await made.verify("x", None)
        assert made._dummy is not None
        assert "t=4" in made._dummy
        assert not await made.verify("nobody's password", None), "nobody has it"
        somebodys = await made.hash("nobody's password")
        for password in ("", "x" * 2000):
            assert not await made.verify(password, somebodys)


@async_test
async def test_the_first_to_ask_waits_no_longer_for_a_stranger() -> None:
    with passwords(Plain()) as made:
        await made.verify("x", "plain:b'x'")
        assert made._dummy is not None, "it is made whoever is asked for"


@async_test
async def test_a_stored_hash_that_nobody_knows_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with passwords() as made:
        assert await made.verify_and_update("x", "$1$canary$hash") == (False, None)
    assert "none of the hashers knows" in caplog.text
    assert "canary" not in caplog.text


@async_test
async def test_a_hash_made_in_another_way_is_replaced_at_the_next_login() -> None:
    with passwords(quick(time_cost=1)) as before, passwords(quick(time_cost=2)) as made:
        old = await before.hash("right")
        assert await made.verify_and_update("wrong", old) == (False, None)
        good, new = await made.verify_and_update("right", old)
        assert good
        assert new is not None
        assert "t=2" in new
        assert await made.verify_and_update("right", new) == (True, None)
        assert await made.verify("right", old), "it is good as long as it is stored"
        assert await made.verify_and_update("right", None) == (False, None)


@async_test
async def test_hashes_of_bcrypt_are_taken_over_if_it_is_given() -> None:
    bcrypt = BcryptHasher(rounds=4)
    old = bcrypt.hash("right")
    with passwords() as made:
        assert not await made.verify("right", old)
    with passwords(quick(), bcrypt) as made:
        assert not await made.verify("wrong", old)
        assert not await made.verify("right" * 100, old), "more than bcrypt takes, and no error"
        good, new = await made.verify_and_update("right", old)
        assert good
        assert new is not None
        assert new.startswith("$argon2id$")


@async_test
async def test_a_login_is_good_even_if_its_new_hash_cannot_be_made() -> None:
    long = "right" * 100
    with passwords(BcryptHasher(rounds=4), quick()) as made:
        assert await made.verify_and_update(long, quick().hash(long)) == (True, None)
        with pytest.raises(ValueError, match="72"):
            await made.hash(long)


@async_test
async def test_a_password_is_one_however_it_was_typed() -> None:
    with passwords() as made:
        known = await made.hash("Ångström ﬁ")
        for typed in ("A\u030angstro\u0308m fi", "\u212bngström ﬁ"):
            assert await made.verify_and_update(typed, known) == (True, None)
        assert not await made.verify("Angstrom fi", known)


@async_test
async def test_a_hash_of_the_bare_text_counts_and_is_replaced() -> None:
    with passwords() as made:
        bare = quick().hash("A\u030angström")  # by somebody who took it as it came
        assert await made.verify("A\u030angström", bare)
        good, new = await made.verify_and_update("A\u030angström", bare)
        assert good
        assert new is not None
        assert await made.verify_and_update("Ångström", new) == (True, None)


@given(st.text(max_size=50), st.text(max_size=50))
@settings(max_examples=50, deadline=None)
def test_whatever_is_in_a_password_it_is_right_or_wrong(one: str, other: str) -> None:
    async def play() -> None:
        with passwords() as made:
            known = await made.hash(f"x{one}")
            assert await made.verify(f"x{one}", known)
            assert not await made.verify(f"y{other}", known)
            assert not await made.verify(other, None)

    asyncio.run(play())


@pytest.mark.parametrize(
    "password", ["\0", "a\0b", "\ud800", "😀" * 256, "\ufdfa" * 1024], ids=ascii
)
@async_test
async def test_odd_passwords_are_whole(password: str) -> None:
    with passwords() as made:
        known = await made.hash(password)
        assert await made.verify(password, known)
        assert not await made.verify(password + "x", known)
        assert not await made.verify(password[:-1] + "y", known)


@async_test
async def test_one_that_is_too_long_or_empty_is_not_hashed() -> None:
    with passwords(max_length=20) as made:
        assert await made.verify("x" * 20, await made.hash("x" * 20))
        with pytest.raises(ValueError, match="20 characters at most"):
            await made.hash("x" * 21)
        with pytest.raises(ValueError, match="must not be empty"):
            await made.hash("")


@async_test
async def test_a_megabyte_costs_what_a_short_one_costs() -> None:
    hasher = Plain()
    with passwords(hasher) as made:
        assert not await made.verify("x" * 1_000_000, "plain:b'x'")
        [(tried, _)] = hasher.work
        assert len(tried) < 100


@async_test
async def test_the_event_loop_goes_on_and_a_few_are_checked_at_a_time() -> None:
    hasher = Plain()
    hasher.gate.clear()
    with passwords(hasher, max_parallel=3) as made:
        tasks = [asyncio.create_task(made.verify("x", "plain:b'x'")) for _ in range(12)]
        while hasher.at_once < 3:
            await asyncio.sleep(0.001)
        assert not any(task.done() for task in tasks)
        hasher.gate.set()
        assert all(await asyncio.gather(*tasks))
        assert hasher.most_at_once == 3


@async_test
async def test_requests_that_are_given_up_leave_their_places_to_others() -> None:
    hasher = Plain()
    hasher.gate.clear()
    with passwords(hasher, max_parallel=2) as made:
        for _ in range(5):
            tasks = [asyncio.create_task(made.verify("x", None)) for _ in range(10)]
            while hasher.at_once < 2:
                await asyncio.sleep(0.001)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        begun = len(hasher.work)
        assert begun == 2, "a thread that has begun is not replaced"
        hasher.gate.set()
        assert await made.verify("x", "plain:b'x'")
        assert hasher.most_at_once == 2
        assert len(hasher.work) == begun + 1, "those that waited are not checked for nobody"


@pytest.mark.parametrize("options", [{"max_parallel": 0}, {"max_length": -1}, {"max_length": True}])
def test_numbers_that_could_not_work_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(BadAuth, match=next(iter(options))):
        Passwords(PasswordHash((quick(),)), **options)


def test_it_serves_one_event_loop_after_another() -> None:
    with passwords() as made:
        known = asyncio.run(made.hash("x"))
        assert asyncio.run(made.verify("x", known))
