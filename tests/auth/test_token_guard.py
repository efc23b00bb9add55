"""Whose token it is decides who checks it."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.auth import VerifiedToken
from backstay.auth.token_guard import Kind
from backstay.errors import TokensUncheckable
from backstay.testing import FakeClock
from tests.auth.issuer import AUDIENCE, Issuer, encode, verifier_of
from tests.auth.service import FragileStore, People, service
from tests.support import async_test


class Trusting:
    """Takes any token at all, and remembers that it was asked."""

    def __init__(self, issuer: str | None = None) -> None:
        if issuer is not None:
            self.issuer = issuer
        self.asked: list[str] = []

    async def verify_token(self, token: str) -> VerifiedToken | None:
        self.asked.append(token)
        return VerifiedToken("stranger", issuer="elsewhere")


def people(*trusted: Any) -> Any:
    return type("Declared", (People,), {"TRUSTED_ISSUERS": trusted})


def says(issuer: object) -> str:
    return f"{encode({'alg': 'ES256'})}.{encode({'iss': issuer})}.AAAA"


async def identified(auth: Any, shown: str, **options: Any) -> Any:
    await auth.awake()
    return await auth._made.guard.identify(shown, **options)


@async_test
async def test_our_own_tokens_are_nobody_elses_to_judge() -> None:
    stranger = Trusting()
    _, auth = service(people(stranger))
    grant = await auth.issue("ada")
    found = await identified(auth, grant.access_token)
    assert (found.kind, found.token.subject) == (Kind.SESSION, "ada")
    forged = grant.access_token[:-4] + "AAAA"
    assert await identified(auth, forged) is None
    assert stranger.asked == []


@async_test
async def test_a_token_of_a_trusted_issuer_counts() -> None:
    async with Issuer(FakeClock()) as issuer:
        verifier = verifier_of(issuer)
        _, auth = service(people(verifier), clock=issuer.clock)
        found = await identified(auth, issuer.token())
        assert (found.kind, found.token.issuer) == (Kind.TRUSTED, issuer.url)
        assert found.token.audience == {AUDIENCE}
        assert await identified(auth, issuer.token(aud="https://other.example")) is None
        assert await identified(auth, issuer.token(iss="https://evil.example")) is None
        await auth.close()


@async_test
async def test_each_issuer_is_only_asked_about_his_own() -> None:
    one, other, anybody = Trusting("https://a.example"), Trusting("https://b.example"), Trusting()
    _, auth = service(people(one, other))
    assert await identified(auth, says("https://b.example")) is not None
    assert (len(one.asked), len(other.asked)) == (0, 1)
    others: tuple[object, ...] = ("https://c.example", None, 7, ["https://b.example"], {})
    for issuer in others:
        assert await identified(auth, says(issuer)) is None
    assert (len(one.asked), len(other.asked)) == (0, 1)
    _, auth = service(people(anybody))
    assert await identified(auth, says(7)) is not None


@pytest.mark.parametrize(
    "shown", ["", ".", "a.b.c", "a.!.c", "a." + "A" * 100_000 + ".c", "a.é.c", "\0"], ids=str
)
@async_test
async def test_what_is_no_token_breaks_nothing(shown: str) -> None:
    _, auth = service(people(Trusting("https://a.example")))
    assert await identified(auth, shown) is None


@async_test
async def test_without_trusted_issuers_theirs_do_not_count() -> None:
    async with Issuer(FakeClock()) as issuer:
        _, auth = service(clock=issuer.clock)
        assert await identified(auth, issuer.token()) is None
        assert issuer.requests == []


@async_test
async def test_an_api_key_counts_wherever_it_is_shown() -> None:
    _, auth = service()
    made = await auth.api_keys.create("warehouse", name="scanner", scopes=["stock"])
    for options in ({}, {"api_key_only": True}):
        found = await identified(auth, made.key, **options)
        assert (found.kind, found.token.subject) == (Kind.API_KEY, "warehouse")
    assert await identified(auth, made.key[:-1] + "!") is None


@async_test
async def test_a_token_shown_as_an_api_key_is_none() -> None:
    _, auth = service()
    grant = await auth.issue("ada")
    assert await identified(auth, grant.access_token, api_key_only=True) is None


@async_test
async def test_nobody_guesses_when_the_store_is_out_of_reach() -> None:
    store = FragileStore()
    _, auth = service(store=store)
    grant = await auth.issue("ada")
    _, elsewhere = service(store=store)
    store.down = True
    assert await identified(auth, grant.access_token) is not None
    with pytest.raises(TokensUncheckable):
        await identified(elsewhere, grant.access_token)
