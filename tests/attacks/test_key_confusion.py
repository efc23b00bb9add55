"""Keys taken for what they are not: public ones for secrets, old ones for new, others' for ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from backstay.auth import JWTVerifier, Keyring, SigningKey
from backstay.errors import BadAuth
from backstay.testing import FakeClock
from tests.attacks.forging import Genuine, Part, decode, hmac_signed, joined, key_signed
from tests.attacks.stage import (
    OTHER_SECRET,
    SECRET,
    Stage,
    Standing,
    assert_problem,
    assert_refused,
    bearer,
    service,
)
from tests.auth.issuer import Issuer, Key, key_of
from tests.support import async_test

SHOP = "https://shop.example"
CURVES = {"EdDSA": "Ed25519", "ES256": "P-256", "ES384": "P-384"}


@cache
def key_pair(algorithm: str, number: int = 0) -> SigningKey:
    key = key_of(CURVES[algorithm], number)
    return SigningKey.from_pem(key.as_pem(private=True))  # type: ignore[union-attr]  # none is oct


def terms(*keys: SigningKey, **more: Any) -> dict[str, Any]:
    return {"ISSUER": SHOP, "KEYS": Keyring(*keys), **more}


@asynccontextmanager
async def with_keys(*keys: SigningKey, **more: Any) -> AsyncIterator[Stage]:
    clock = more.pop("clock", None)
    async with service(terms=terms(*keys, **more), clock=clock) as stage:
        yield stage


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    with Standing() as found:
        yield found


def guarded_by(own: str, standing: Standing) -> Stage:
    """A service whose tokens are signed with an algorithm."""
    if own.startswith("HS"):
        return standing.stage(own, terms={"ALGORITHM": own})
    return standing.stage(own, terms=terms(key_pair(own)))


# ------------------------------------------------------------------ a public key as a secret

Form = Callable[[dict[str, Any], Key], bytes]


def _pem(key: Key) -> bytes:
    return key.as_pem(private=False)  # type: ignore[union-attr]  # none of them is oct


FORMS: dict[str, Form] = {
    "PEM": lambda jwk, key: _pem(key),
    "PEM without the last line break": lambda jwk, key: _pem(key).strip(),
    "PEM in one line": lambda jwk, key: _pem(key).replace(b"\n", b""),
    "PEM with line breaks of Windows": lambda jwk, key: _pem(key).replace(b"\n", b"\r\n"),
    "PEM's inner lines": lambda jwk, key: b"\n".join(_pem(key).splitlines()[1:-1]),
    "DER": lambda jwk, key: key.as_der(private=False),  # type: ignore[union-attr]  # as above
    "the JWK as published": lambda jwk, key: json.dumps(jwk, separators=(",", ":")).encode(),
    "the JWK with spaces": lambda jwk, key: json.dumps(jwk).encode(),
    "the JWK Set": lambda jwk, key: json.dumps({"keys": [jwk]}, separators=(",", ":")).encode(),
    "its bytes": lambda jwk, key: decode(jwk["x"]) + decode(jwk.get("y", "")),
    "its bytes as a point": lambda jwk, key: b"\x04" + decode(jwk["x"]) + decode(jwk.get("y", "")),
    "x as written": lambda jwk, key: str(jwk["x"]).encode(),
    "its id": lambda jwk, key: str(jwk["kid"]).encode(),
    "its thumbprint": lambda jwk, key: key.thumbprint().encode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("named", ["HS256", "HS384", "HS512", "the key's own"])
@pytest.mark.parametrize("own", ["EdDSA", "ES256", "ES384"])
def test_a_public_key_is_no_secret(own: str, named: str, form: Form, standing: Standing) -> None:
    stage = guarded_by(own, standing)

    async def try_it() -> None:
        bob = Genuine.of(await stage.token("bob"))
        (jwk,) = (await stage.client.get("/.well-known/jwks.json")).json()["keys"]
        secret = form(jwk, key_of(CURVES[own]))
        hashed = named if named.startswith("HS") else "HS256"
        header = bob.headed(alg=named) if named == hashed else bob.header
        await assert_refused(stage, hmac_signed(header, bob.saying(sub="ada"), secret, hashed))

    standing.run(try_it)


@pytest.mark.parametrize("form", ["PEM", "PEM without the last line break", "the JWK as published"])
@async_test
async def test_a_service_does_not_start_with_a_public_key_for_a_secret(form: str) -> None:
    key = key_of("P-256")
    secret = FORMS[form](key.as_dict(private=False), key).decode()
    with pytest.raises((BadAuth, RuntimeError)):
        async with service(secret_key=secret):
            pass


# ------------------------------------------------------------------ algorithms exchanged


@pytest.mark.parametrize("said", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("done", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("own", ["HS256", "HS384", "HS512"])
def test_a_secret_has_one_algorithm(own: str, done: str, said: str, standing: Standing) -> None:
    stage = guarded_by(own, standing)

    async def try_it() -> None:
        bob = Genuine.of(await stage.token("bob"))
        token = hmac_signed(bob.headed(alg=said), bob.claims, SECRET, done)
        if own == done == said:
            assert await stage.is_in(token)
        else:
            await assert_refused(stage, token)

    standing.run(try_it)


SIGNERS = {
    "EdDSA": ("Ed25519", "EdDSA"),
    "Ed448": ("Ed448", "EdDSA"),
    "ES256": ("P-256", "ES256"),
    "ES384": ("P-384", "ES384"),
    "ES512": ("P-521", "ES512"),
    "RS256": ("RSA", "RS256"),
    "PS256": ("RSA", "PS256"),
}


@pytest.mark.parametrize("keeps_header", [True, False], ids=["our header", "its own header"])
@pytest.mark.parametrize("signer", SIGNERS)
@pytest.mark.parametrize("own", ["HS256", "EdDSA", "ES256"])
def test_a_strangers_key_signs_nothing(
    own: str, signer: str, keeps_header: bool, standing: Standing
) -> None:
    kind, algorithm = SIGNERS[signer]
    stage = guarded_by(own, standing)

    async def try_it() -> None:
        bob = Genuine.of(await stage.token("bob"))
        header = bob.header if keeps_header else bob.headed(alg=algorithm)
        forged = key_signed(header, bob.saying(sub="ada"), key_of(kind, 9), algorithm)
        await assert_refused(stage, forged)

    standing.run(try_it)


# Orders of the groups, for signatures that are numbers beyond them.
_ED25519 = 2**252 + 27742317777372353535851937790883648493
_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

SIGNATURES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "ES256, r and s are zero": ("ES256", lambda _: b"\0" * 64),
    "ES256, r and s are the order": ("ES256", lambda _: _P256.to_bytes(32) * 2),
    "ES256, r is zero": ("ES256", lambda found: b"\0" * 32 + found[32:]),
    "ES256, s is zero": ("ES256", lambda found: found[:32] + b"\0" * 32),
    "ES256, r and s are exchanged": ("ES256", lambda found: found[32:] + found[:32]),
    "ES256, in DER": ("ES256", lambda found: _der(found)),
    "ES256, half of it": ("ES256", lambda found: found[:32]),
    "ES256, numbers of 33 bytes": ("ES256", lambda found: b"\0" + found[:32] + b"\0" + found[32:]),
    "ES256, nothing": ("ES256", lambda _: b""),
    "ES256, ones": ("ES256", lambda _: (b"\0" * 31 + b"\1") * 2),
    "EdDSA, zeros": ("EdDSA", lambda _: b"\0" * 64),
    "EdDSA, the neutral point": ("EdDSA", lambda _: b"\1" + b"\0" * 63),
    "EdDSA, s and the order": (
        "EdDSA",
        lambda found: (
            found[:32] + (int.from_bytes(found[32:], "little") + _ED25519).to_bytes(32, "little")
        ),
    ),
    "EdDSA, half of it": ("EdDSA", lambda found: found[:32]),
    "EdDSA, nothing": ("EdDSA", lambda _: b""),
    "EdDSA, the sign of the point is another": (
        "EdDSA",
        lambda found: found[:31] + bytes([found[31] ^ 0x80]) + found[32:],
    ),
}


@pytest.mark.parametrize("attack", SIGNATURES.values(), ids=SIGNATURES)
def test_a_signature_that_is_none_is_refused(
    attack: tuple[str, Callable[[bytes], bytes]], standing: Standing
) -> None:
    own, change = attack
    stage = guarded_by(own, standing)

    async def try_it() -> None:
        found = Genuine.of(await stage.token("ada"))
        changed = change(decode(found.signature))
        await assert_refused(stage, joined(found.header, found.payload, changed))
        assert await stage.is_in(found.token)

    standing.run(try_it)


@async_test
async def test_the_other_signature_of_a_token_that_was_revoked_is_revoked() -> None:
    """ECDSA has two signatures for each (r, s): the second is (r, n - s), and anybody finds it."""
    async with with_keys(key_pair("ES256")) as stage:
        found = Genuine.of(await stage.token("ada"))
        signature = decode(found.signature)
        s = _P256 - int.from_bytes(signature[32:])
        twin = joined(found.header, found.payload, signature[:32] + s.to_bytes(32))
        await stage.client.post("/token/revoke", data={"token": found.token})
        await assert_refused(stage, twin)


# ------------------------------------------------------------------ keys of another time or place


@async_test
async def test_another_services_secret_is_none_here() -> None:
    async with service() as stage, service(secret_key=OTHER_SECRET) as other:
        theirs = Genuine.of(await other.token("ada"))
        await assert_refused(stage, theirs.token)
        ours = Genuine.of(await stage.token("bob"))
        await assert_refused(stage, joined(ours.header, theirs.payload, theirs.signature))
        await assert_refused(stage, hmac_signed(ours.header, theirs.payload, OTHER_SECRET))


@async_test
async def test_a_service_with_the_same_secret_and_another_name_is_another() -> None:
    async with service() as stage, service(terms={"ISSUER": "https://other.example"}) as other:
        await assert_refused(stage, await other.token("ada"))
        await assert_refused(other, await stage.token("ada"))


@async_test
async def test_a_token_for_another_audience_of_the_same_issuer_is_refused() -> None:
    async with (
        service(terms={"AUDIENCE": "shop"}) as stage,
        service(terms={"AUDIENCE": ["stock", "shop-admin"]}) as other,
    ):
        await assert_refused(stage, await other.token("ada"))


@async_test
async def test_a_key_that_has_retired_signs_nothing_any_more() -> None:
    clock = FakeClock()
    old = SigningKey.from_pem(
        key_pair("ES256").private_pem(), verifies_until=clock.now() + timedelta(hours=1)
    )
    new = SigningKey.from_pem(
        key_pair("EdDSA").private_pem(), signs_from=clock.now() + timedelta(minutes=50)
    )
    async with with_keys(old, new, clock=clock, ACCESS_TOKEN_EXPIRE_MINUTES=600) as stage:
        token = await stage.token("ada")
        assert await stage.is_in(token)
        await clock.advance(3601)
        await assert_refused(stage, token)
        ada = Genuine.of(token)
        claims = ada.saying(exp=ada.claims["exp"] * 2)
        forged = key_signed(ada.members, claims, key_of("P-256"), "ES256")
        await assert_refused(stage, forged)
        published = (await stage.client.get("/.well-known/jwks.json")).json()["keys"]
        assert [each["kid"] for each in published] == [new.kid]


@async_test
async def test_a_key_that_was_taken_out_of_the_keyring_signs_nothing_any_more() -> None:
    async with with_keys(key_pair("EdDSA", 1)) as before:
        token = await before.token("ada")
    async with with_keys(key_pair("EdDSA", 2)) as stage:
        await assert_refused(stage, token)
        found = Genuine.of(await stage.token("bob"))
        forged = key_signed(found.members, found.claims, key_of("Ed25519", 1), "EdDSA")
        await assert_refused(stage, forged)


@async_test
async def test_a_secret_that_was_taken_out_of_the_list_signs_nothing_any_more() -> None:
    async with service(secret_key=OTHER_SECRET) as before:
        token = await before.token("ada")
    async with service(secret_key=f"{SECRET},{OTHER_SECRET}") as meanwhile:
        assert await meanwhile.is_in(token)
    async with service(secret_key=SECRET) as stage:
        await assert_refused(stage, token)


@async_test
async def test_the_published_keys_have_no_private_half() -> None:
    async with with_keys(key_pair("EdDSA"), key_pair("ES256")) as stage:
        answer = await stage.client.get("/.well-known/jwks.json")
        members = {name for each in answer.json()["keys"] for name in each}
        assert members == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    async with service() as stage:
        assert_problem(await stage.client.get("/.well-known/jwks.json"), 404)


# ------------------------------------------------------------------ issuers that are trusted


@asynccontextmanager
async def trusting(**keys: Key) -> AsyncIterator[tuple[Stage, Issuer, Issuer]]:
    """A service that trusts two issuers, and they; of the first the keys are given."""
    clock = FakeClock()
    async with Issuer(clock) as one, Issuer(clock, "/two") as two:
        one.keys = {"one": key_of("P-256", 1), **keys}
        two.keys = {"two": key_of("P-256", 2)}
        trusted = [
            JWTVerifier(each.url, audience=SHOP, clock=clock, jwks_uri=each.jwks_uri)
            for each in (one, two)
        ]
        async with with_keys(key_pair("ES256"), clock=clock, TRUSTED_ISSUERS=trusted) as stage:
            yield stage, one, two


@async_test
async def test_a_trusted_issuer_speaks_for_itself_alone() -> None:
    own_kid = key_pair("ES256").kid
    async with trusting(**{own_kid: key_of("P-256", 5), "two": key_of("P-256", 1)}) as (
        stage,
        one,
        two,
    ):
        genuine = one.token(aud=SHOP)
        assert await stage.is_in(genuine)
        ours = Genuine.of(await stage.token("bob"))
        claims = one.claims(aud=SHOP, sub="mallory")
        mine, header = key_of("P-256", 1), {"alg": "ES256", "kid": "one", "typ": "at+jwt"}
        named_so, strange = one.keys[own_kid], key_of("P-256", 6)

        def signed(members: Part, said: Any, key: Key = mine) -> str:
            return key_signed(members, said, key, "ES256")

        await assert_refused(
            stage,
            # with the id of our key, under which it publishes one of its own
            signed(ours.members, ours.saying(sub="ada"), named_so),
            signed(dict(reversed(ours.members.items())), ours.saying(sub="ada"), named_so),
            # in our name, and in that of the other one
            signed(header, ours.saying(sub="ada")),
            signed(header, {**claims, "iss": two.url}),
            signed({**header, "kid": "two"}, {**claims, "iss": two.url}),
            signed(header, {**claims, "iss": [one.url, two.url]}),
            signed(header, {**claims, "iss": f"{one.url}/"}),
            signed(header, {**claims, "iss": None}),
            # for somebody else, or over
            signed(header, {**claims, "aud": "https://other.example"}),
            signed(header, {**claims, "aud": []}),
            signed(header, {**claims, "exp": claims["iat"] - 60}),
            # with a secret that everybody has, or none
            hmac_signed({**header, "alg": "HS256"}, claims, _pem(mine)),
            hmac_signed({**header, "alg": "HS256"}, claims, json.dumps(one.key_set())),
            joined({**header, "alg": "none"}, claims, ""),
            # with a key that it brings along, or points to
            signed({**header, "jwk": strange.as_dict(private=False)}, claims, strange),
            signed({**header, "jku": two.jwks_uri, "kid": "two"}, claims, key_of("P-256", 2)),
            # in another encoding
            signed(header, json.dumps(claims).encode("utf-16")),
            signed(json.dumps(header).encode("utf-16"), claims),
        )


@async_test
async def test_a_trusted_issuers_token_ends_nobodys_sessions_here() -> None:
    async with trusting() as (stage, one, _):
        ada = Genuine.of(await stage.token("ada"))
        theirs = one.token(
            aud=SHOP, sub="ada", sid=ada.claims["sid"], jti=ada.claims["jti"], iat_us=0
        )
        for path in ("/logout", "/logout/everywhere"):
            answer = await stage.client.post(path, headers=bearer(theirs))
            assert_problem(answer, 403)
        answer = await stage.client.post("/token/revoke", data={"token": theirs})
        assert answer.status_code == 200
        assert await stage.is_in(ada.token)


@async_test
async def test_strangers_tokens_make_nobody_ask_for_keys_again_and_again() -> None:
    async with trusting() as (stage, one, _):
        assert await stage.is_in(one.token(aud=SHOP))
        asked = one.key_requests
        for number in range(30):
            header = {"alg": "ES256", "kid": f"made up {number}", "typ": "at+jwt"}
            token = key_signed(header, one.claims(aud=SHOP), key_of("P-256", 8), "ES256")
            assert not await stage.is_in(token)
        assert one.key_requests <= asked + 1


def _der(signature: bytes) -> bytes:
    def number(part: bytes) -> bytes:
        stripped = part.lstrip(b"\0") or b"\0"
        body = (b"\0" if stripped[0] & 0x80 else b"") + stripped
        return bytes([2, len(body)]) + body

    body = number(signature[:32]) + number(signature[32:])
    return bytes([0x30, len(body)]) + body
