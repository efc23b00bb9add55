"""Tokens that nobody has given: made, changed, taken apart, put together, put elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc import jwe
from joserfc.jwk import OctKey

from tests.attacks.forging import Genuine, decode, encode, hmac_signed, joined, key_signed
from tests.attacks.stage import (
    GUARDED,
    OTHER_SECRET,
    SECRET,
    Stage,
    Standing,
    assert_problem,
    assert_refused,
    bearer,
    service,
)
from tests.auth.issuer import key_of
from tests.support import async_test

Attack = Callable[[Genuine, Genuine], str | bytes]
"""What an attacker makes of his own token (bob's) and one that he has seen (ada's)."""

NONE = (
    *("none", "None", "NONE", "nOnE", "none ", " none", "none\0", "n\u043ene", "", "null"),
    *(None, 0, False, ["none"], {"alg": "none"}, ["HS256", "none"], "HS256\0", "hs256", "HS256 "),
)


def _without_alg(alg: Any, end: str | None) -> Attack:
    return lambda bob, ada: joined(
        bob.headed(alg=alg), bob.saying(sub="ada"), bob.signature if end is None else end
    )


WITHOUT_ALG: dict[str, Attack] = {
    f"alg {alg!r}, {what}": _without_alg(alg, end)
    for alg in NONE
    for what, end in (("no signature", ""), ("somebody's signature", None))
}

SIGNATURES: dict[str, Attack] = {
    "the signature is stripped": lambda bob, ada: f"{ada.header}.{ada.payload}.",
    "the signature and its dot are stripped": lambda bob, ada: f"{ada.header}.{ada.payload}",
    "the signature is another token's": lambda bob, ada: joined(
        ada.header, ada.payload, bob.signature
    ),
    "the payload is another token's": lambda bob, ada: joined(
        bob.header, ada.payload, bob.signature
    ),
    "a claim is changed": lambda bob, ada: joined(bob.header, bob.saying(sub="ada"), bob.signature),
    "scopes are added": lambda bob, ada: joined(
        bob.header, bob.saying(scope="articles orders"), bob.signature
    ),
    "a role is added": lambda bob, ada: joined(
        bob.header, bob.saying(roles=["admin"]), bob.signature
    ),
    "the end is put off": lambda bob, ada: joined(
        bob.header, bob.saying(exp=bob.claims["exp"] + 1), bob.signature
    ),
    "the payload is written with spaces": lambda bob, ada: joined(
        bob.header, json.dumps(bob.claims, indent=1).encode(), bob.signature
    ),
    "the signature lacks its last character": lambda bob, ada: ada.token[:-1],
    "the signature lacks its first half": lambda bob, ada: joined(
        ada.header, ada.payload, ada.signature[20:]
    ),
    "one bit of the signature is another": lambda bob, ada: joined(
        ada.header, ada.payload, bytes([decode(ada.signature)[0] ^ 1]) + decode(ada.signature)[1:]
    ),
    "the unused bits of the signature are set": lambda bob, ada: (
        ada.token[:-1] + _neighbour(ada.token[-1])
    ),
    "the signature has a character more": lambda bob, ada: f"{ada.token}A",
    "the signature is twice there": lambda bob, ada: ada.token + ada.signature,
    "the signature is padded": lambda bob, ada: f"{ada.token}=",
    "the signature is in upper case": lambda bob, ada: joined(
        ada.header, ada.payload, ada.signature.upper()
    ),
    "the signature is in hexadecimal": lambda bob, ada: joined(
        ada.header, ada.payload, decode(ada.signature).hex()
    ),
    "the signature is zeros": lambda bob, ada: joined(
        bob.header, bob.saying(sub="ada"), b"\0" * 32
    ),
    "the signature has a line break in it": lambda bob, ada: f"{ada.token[:-9]}\n{ada.token[-9:]}",
    "the signature has a foreign character in it": lambda bob, ada: (
        f"{ada.token[:-9]}!{ada.token[-9:]}"
    ),
    "the signature is a dot": lambda bob, ada: f"{ada.header}.{ada.payload}..",
}

SECRETS = {
    "nothing": "",
    "a space": " ",
    "the word secret": "secret",
    "changeme": "changeme",
    "the example of FastAPI's tutorial": (
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"
    ),
    "the example of jwt.io": "a-string-secret-at-least-256-bits-long",
    "another service's": OTHER_SECRET,
    "the right one in lower case": SECRET.lower(),
    "the right one and a line break": f"{SECRET}\n",
    "half of the right one": SECRET[:32],
}
SIGNED_OTHERWISE: dict[str, Attack] = {
    f"signed with {what}": lambda bob, ada, secret=secret: hmac_signed(
        bob.header, bob.saying(sub="ada"), secret
    )
    for what, secret in SECRETS.items()
} | {
    "signed with the id of the key": lambda bob, ada: hmac_signed(
        bob.header, bob.saying(sub="ada"), bob.members["kid"]
    ),
    "half of a signature": lambda bob, ada: hmac_signed(bob.header, bob.saying(sub="ada"), SECRET)[
        :-22
    ],
}


def _headed(**changes: Any) -> Attack:
    """Signed with the right secret, by somebody who has it for something else; another header."""
    return lambda bob, ada: hmac_signed(bob.headed(**changes), bob.saying(sub="ada"), SECRET)


def _own_key(**members: Any) -> Attack:
    """Signed with the attacker's own key, which the token brings along or points to."""

    def attack(bob: Genuine, ada: Genuine) -> str:
        key = key_of("P-256", 7)
        found = {
            name: key.as_dict(private=False) if value is ... else value
            for name, value in members.items()
        }
        header = bob.headed(alg="ES256", **found)
        return key_signed(header, bob.saying(sub="ada"), key, "ES256")

    return attack


HEADERS: dict[str, Attack] = {
    "a type of ID tokens": _headed(typ="id+jwt"),
    "a type of refresh tokens": _headed(typ="refresh+jwt"),
    "a type of logout tokens": _headed(typ="logout+jwt"),
    "a type of client assertions": _headed(typ="client-authentication+jwt"),
    "a type of DPoP proofs": _headed(typ="dpop+jwt"),
    "a type of security events": _headed(typ="secevent+jwt"),
    "the general type": _headed(typ="JWT"),
    "the type in upper case": _headed(typ="AT+JWT"),
    "no type": _headed(typ=...),
    "a type that is a list": _headed(typ=["at+jwt"]),
    "what is critical is known": _headed(crit=["exp"], exp=1),
    "what is critical is unknown": _headed(crit=["http://example.com/x"]),
    "what is critical is empty": _headed(crit=[]),
    "b64 is false": _headed(b64=False, crit=["b64"]),
    "b64 is false and not critical": _headed(b64=False),
    "it is compressed": _headed(zip="DEF"),
    "a type of content": _headed(cty="JWT"),
    "one member more": _headed(extra=1),
    "no kid": _headed(kid=...),
    "a kid that is nothing": _headed(kid=None),
    "a kid that is a list": _headed(kid=["a"]),
    "a kid that is an object": _headed(kid={"$ne": ""}),
    "a kid of another case": lambda bob, ada: hmac_signed(
        bob.headed(kid=bob.members["kid"].swapcase()), bob.claims, SECRET
    ),
    "a kid with a zero byte": lambda bob, ada: hmac_signed(
        bob.headed(kid=bob.members["kid"] + "\0"), bob.claims, SECRET
    ),
    "a kid that is very long": _headed(kid="k" * 5000),
    "a kid that is an empty file": lambda bob, ada: hmac_signed(
        bob.headed(kid="../../../../dev/null"), bob.saying(sub="ada"), ""
    ),
    "a kid that is a file everybody has": lambda bob, ada: hmac_signed(
        bob.headed(kid="/etc/hostname"), bob.saying(sub="ada"), _hostname()
    ),
    "a kid that is SQL": lambda bob, ada: hmac_signed(
        bob.headed(kid="x' UNION SELECT 'key' --"), bob.saying(sub="ada"), "key"
    ),
    "a kid that is a command": _headed(kid="|id"),
    "a kid that is a URL": _headed(kid="http://127.0.0.1:9/key"),
    "the members in another order": lambda bob, ada: hmac_signed(
        dict(reversed(bob.members.items())), bob.claims, SECRET
    ),
    "the header with spaces": lambda bob, ada: hmac_signed(
        json.dumps(bob.members, indent=1).encode(), bob.claims, SECRET
    ),
    "alg twice, the good one last": lambda bob, ada: hmac_signed(
        b'{"alg":"none",' + json.dumps(bob.members).encode()[1:], bob.claims, SECRET
    ),
    "alg twice, the good one first": lambda bob, ada: hmac_signed(
        json.dumps(bob.members).encode()[:-1] + b',"alg":"none"}', bob.claims, SECRET
    ),
    "kid twice": lambda bob, ada: hmac_signed(
        b'{"kid":"x",' + json.dumps(bob.members).encode()[1:], bob.claims, SECRET
    ),
    "alg escaped": lambda bob, ada: hmac_signed(
        decode(bob.header).replace(b'"alg"', b'"\\u0061lg"'), bob.claims, SECRET
    ),
    "a byte order mark": lambda bob, ada: hmac_signed(
        b"\xef\xbb\xbf" + decode(bob.header), bob.claims, SECRET
    ),
    "the header padded": lambda bob, ada: hmac_signed(f"{bob.header}==", bob.payload, SECRET),
    "the header in UTF-16": lambda bob, ada: hmac_signed(
        decode(bob.header).decode().encode("utf-16"), bob.claims, SECRET
    ),
    "the header is a list": lambda bob, ada: hmac_signed(b'["HS256"]', bob.claims, SECRET),
    "the header is a text": lambda bob, ada: hmac_signed(b'"HS256"', bob.claims, SECRET),
    "the header is null": lambda bob, ada: hmac_signed(b"null", bob.claims, SECRET),
    "the header is empty": lambda bob, ada: hmac_signed("", bob.claims, SECRET),
    "the header is no JSON": lambda bob, ada: hmac_signed(b"{alg:HS256}", bob.claims, SECRET),
    "the header is nested deeply": lambda bob, ada: hmac_signed(b"[" * 5000, bob.claims, SECRET),
    "the key in it": _own_key(jwk=..., kid=...),
    "the key in it, of the right id": _own_key(jwk=...),
    "a URL of keys": _own_key(jku="http://127.0.0.1:9/keys.json"),
    "a URL of keys on the service itself": _own_key(jku="http://testserver/keys.json"),
    "a URL of certificates": _own_key(x5u="http://127.0.0.1:9/cert.pem"),
    "a certificate": _own_key(x5c=["MIIB"]),
    "the thumbprint of a certificate": _own_key(x5t="AAAA"),
    "a secret in it": lambda bob, ada: hmac_signed(
        bob.headed(jwk={"kty": "oct", "k": encode(b"mine")}), bob.saying(sub="ada"), "mine"
    ),
}

SHAPES: dict[str, Attack] = {
    "nothing": lambda bob, ada: "",
    "dots": lambda bob, ada: "..",
    "many dots": lambda bob, ada: "." * 4000,
    "one part": lambda bob, ada: ada.payload,
    "four parts": lambda bob, ada: f"{ada.token}.{ada.signature}",
    "an empty fourth part": lambda bob, ada: f"{ada.token}.",
    "an empty first part": lambda bob, ada: f".{ada.token}",
    "the parts in another order": lambda bob, ada: joined(ada.payload, ada.header, ada.signature),
    "encrypted with the secret (JWE)": lambda bob, ada: _encrypted(ada.token),
    "encrypted, a good token within": lambda bob, ada: _encrypted(json.dumps(ada.claims)),
    "a token within a token": lambda bob, ada: hmac_signed(bob.header, ada.token.encode(), SECRET),
    "a JWS in JSON": lambda bob, ada: json.dumps(
        {"protected": ada.header, "payload": ada.payload, "signature": ada.signature}
    ),
    "two tokens": lambda bob, ada: f"{ada.token} {bob.token}",
    "two tokens with a comma": lambda bob, ada: f"{ada.token},{bob.token}",
    "the word Bearer before it": lambda bob, ada: f"Bearer {ada.token}",
    "quoted": lambda bob, ada: f'"{ada.token}"',
    "percent-encoded": lambda bob, ada: ada.token.replace(".", "%2E"),
    "encoded once more": lambda bob, ada: encode(ada.token.encode()),
    "a zero byte behind it": lambda bob, ada: f"{ada.token}\0",
    "a zero byte before it": lambda bob, ada: f"\0{ada.token}",
    "a line break behind it": lambda bob, ada: f"{ada.token}\n",
    "a vertical tab behind it": lambda bob, ada: f"{ada.token}\v",
    "a no-break space behind it": lambda bob, ada: ada.token.encode() + b"\xa0",
    "a zero-width space in it": lambda bob, ada: (
        ada.token[:9].encode() + "\u200b".encode() + ada.token[9:].encode()
    ),
    "full-width letters": lambda bob, ada: "\uff45\uff59\uff2a".encode() + ada.token[3:].encode(),
    "a soft hyphen in it": lambda bob, ada: (
        ada.token[:9].encode() + b"\xad" + ada.token[9:].encode()
    ),
    "bytes that are no text": lambda bob, ada: b"\xff\xfe\x80",
    "a megabyte": lambda bob, ada: "A" * 2**20,
    "a megabyte in three parts": lambda bob, ada: joined(ada.header, "A" * 2**20, ada.signature),
    "a good token, too long": lambda bob, ada: hmac_signed(
        ada.header, ada.saying(more="x" * 8000), SECRET
    ),
    "the word null": lambda bob, ada: "null",
    "the word undefined": lambda bob, ada: "undefined",
    "an asterisk": lambda bob, ada: "*",
    "SQL": lambda bob, ada: "' OR '1'='1",
    "the payload is a list": lambda bob, ada: hmac_signed(bob.header, b"[]", SECRET),
    "the payload is a text": lambda bob, ada: hmac_signed(bob.header, b'"ada"', SECRET),
    "the payload is empty": lambda bob, ada: hmac_signed(bob.header, "", SECRET),
    "the payload is no UTF-8": lambda bob, ada: hmac_signed(bob.header, b'{"sub":"\xff"}', SECRET),
    "the payload is UTF-16": lambda bob, ada: hmac_signed(
        bob.header, json.dumps(bob.claims).encode("utf-16-be"), SECRET
    ),
    "the payload has a byte order mark": lambda bob, ada: hmac_signed(
        bob.header, b"\xef\xbb\xbf" + json.dumps(bob.claims).encode(), SECRET
    ),
    "the payload is nested deeply": lambda bob, ada: hmac_signed(
        bob.header, b'{"sub":' + b"[" * 5000, SECRET
    ),
    "an API key that is none": lambda bob, ada: "bsk_" + "a" * 16 + "_" + "A" * 43 + "_000000",
    "a refresh token that is none": lambda bob, ada: "bsr_" + "A" * 43,
}

ATTACKS = WITHOUT_ALG | SIGNATURES | SIGNED_OTHERWISE | HEADERS | SHAPES

Headers = list[tuple[bytes, bytes]]

ELSEWHERE: dict[str, Callable[[str], dict[str, Any]]] = {
    "in the query as access_token": lambda token: {"params": {"access_token": token}},
    "in the query as token": lambda token: {"params": {"token": token}},
    "in the query as Authorization": lambda token: {"params": {"Authorization": f"Bearer {token}"}},
    "in a cookie": lambda token: {"headers": {"Cookie": f"access_token={token}"}},
    "in a cookie that is a header": lambda token: {
        "headers": {"Cookie": f'Authorization="Bearer {token}"'}
    },
    "in a form": lambda token: {"data": {"access_token": token}},
    "in JSON": lambda token: {"json": {"access_token": token, "title": "x"}},
    "in the password of Basic": lambda token: {"auth": ("bearer", token)},
    "in the name of Basic": lambda token: {"auth": (token, "")},
    "as Proxy-Authorization": lambda token: {"headers": {"Proxy-Authorization": f"Bearer {token}"}},
    "as X-Forwarded-Authorization": lambda token: {
        "headers": {"X-Forwarded-Authorization": f"Bearer {token}"}
    },
    "as X-Access-Token": lambda token: {"headers": {"X-Access-Token": token}},
    "as X-Auth-Token": lambda token: {"headers": {"X-Auth-Token": token}},
    "as an API key": lambda token: {"headers": {"X-API-Key": token}},
    "as a protocol of WebSockets": lambda token: {
        "headers": {"Sec-WebSocket-Protocol": f"bearer, {token}"}
    },
    "as an id of the request": lambda token: {"headers": {"X-Request-ID": token[:60]}},
    "without a scheme": lambda token: {"headers": {"Authorization": token}},
    "with the scheme Token": lambda token: {"headers": {"Authorization": f"Token {token}"}},
    "with the scheme JWT": lambda token: {"headers": {"Authorization": f"JWT {token}"}},
    "with the scheme DPoP": lambda token: {"headers": {"Authorization": f"DPoP {token}"}},
    "without a space": lambda token: {"headers": {"Authorization": f"Bearer{token}"}},
    "with a colon": lambda token: {"headers": {"Authorization": f"Bearer: {token}"}},
    "with a tab": lambda token: {"headers": {"Authorization": f"Bearer\t{token}"}},
    "with a parameter": lambda token: {"headers": {"Authorization": f'Bearer token="{token}"'}},
    "with a scheme in full-width letters": lambda token: {
        "headers": [(b"authorization", "\uff22earer ".encode() + token.encode())]
    },
    "twice": lambda token: {"headers": [("Authorization", f"Bearer {token}")] * 2},
    "first of two": lambda token: {
        "headers": [("Authorization", f"Bearer {token}"), ("Authorization", "Bearer x")]
    },
    "last of two": lambda token: {
        "headers": [("Authorization", "Basic eA=="), ("Authorization", f"Bearer {token}")]
    },
    "in a header with an underscore": lambda token: {
        "headers": {"Authorization_": f"Bearer {token}"}
    },
}


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    with Standing() as found:
        yield found


@pytest.fixture(scope="module")
def seen(standing: Standing) -> tuple[Genuine, Genuine]:
    """Bob's token and ada's."""
    stage = standing.stage()
    return Genuine.of(standing.run(stage.token, "bob")), Genuine.of(
        standing.run(stage.token, "ada")
    )


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_forged_token_opens_nothing(
    attack: Attack, standing: Standing, seen: tuple[Genuine, Genuine]
) -> None:
    standing.run(assert_refused, standing.stage(), attack(*seen))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_forged_token_is_no_key_and_takes_nothing_back(
    attack: Attack, standing: Standing, seen: tuple[Genuine, Genuine]
) -> None:
    stage, forged = standing.stage(), attack(*seen)
    raw = forged.encode() if isinstance(forged, str) else forged

    async def try_it() -> None:
        answer = await stage.send("a dependency", headers=[(b"X-API-Key", raw)])
        assert_problem(answer, 401)
        assert_problem(await stage.refresh(raw), 400)
        answer = await stage.client.post("/token/revoke", data={"token": raw})
        assert answer.status_code in (200, 400)
        await _assert_nothing_happened(stage, seen)

    standing.run(try_it)


@pytest.mark.parametrize("place", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_good_token_counts_in_its_place_alone(
    place: Callable[[str], dict[str, Any]], standing: Standing, seen: tuple[Genuine, Genuine]
) -> None:
    stage = standing.stage()

    async def try_it() -> None:
        for route in GUARDED:
            assert_problem(await stage.send(route, **place(seen[1].token)), 401)
        await _assert_nothing_happened(stage, seen)

    standing.run(try_it)


@async_test
async def test_what_is_refused_here_is_taken_without_the_forgery() -> None:
    """Otherwise these attacks would fail for want of skill."""
    async with service() as stage:
        found = Genuine.of(await stage.token("bob"))
        by_hand = hmac_signed(found.members, found.saying(sub="mallory"), SECRET)
        answer = await stage.client.get("/me", headers=bearer(by_hand))
        assert (answer.status_code, answer.json()["sub"]) == (200, "mallory")
        for scheme in ("bearer", "BEARER", "bEaReR", "Bearer "):
            headers = {"Authorization": f"{scheme} {found.token}"}
            assert (await stage.client.get("/me", headers=headers)).status_code == 200


async def _assert_nothing_happened(stage: Stage, seen: tuple[Genuine, Genuine]) -> None:
    await stage.assert_untouched()
    for each in seen:
        assert await stage.is_in(each.token)


def _neighbour(character: str) -> str:
    """Another one that stands for the same bits, but for those that do not count."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return letters[letters.index(character) ^ 1]


def _hostname() -> str:
    with open("/etc/hostname") as file:
        return file.read()


def _encrypted(text: str) -> str:
    key = OctKey.import_key(SECRET[:32])
    return jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, text, key)
