"""Which of this service's tokens are good, and all the ways in which one is not."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OKPKey

from backstay.auth import BaseAuthJWT, Keyring, SigningKey
from backstay.auth.local_verifier import LocalVerifier
from backstay.auth.shared_secret import HASHES
from backstay.auth.token import BadToken
from backstay.auth.token_issuer import TokenBody, TokenIssuer
from backstay.auth.token_policy import read_policy
from backstay.testing import FakeClock
from tests.auth.issuer import encode
from tests.auth.service import OTHER_SECRET, SECRET

NOW = datetime(2027, 1, 1, tzinfo=UTC)
AT = int(NOW.timestamp())

CLAIMS = {
    "iss": "backstay",
    "sub": "ada",
    "aud": "backstay",
    "iat": AT - 6,
    "iat_us": (AT - 6) * 1_000_000 + 500_000,
    "nbf": AT - 6,
    "exp": AT + 600,
    "jti": "j",
    "sid": "s",
    "scope": "orders photos",
    "roles": ["admin"],
}

SECRET_KEY = SigningKey.from_secret(SECRET)
PAIR = SigningKey.generate("EdDSA")
RING = Keyring(SECRET_KEY, PAIR, SigningKey.generate("ES256"))


def verifier(ring: Keyring = RING, now: datetime = NOW, **attributes: Any) -> LocalVerifier:
    policy = read_policy(type("Declared", (BaseAuthJWT,), attributes))
    return LocalVerifier(ring, policy, FakeClock(now))


def signed(payload: Any = CLAIMS, key: SigningKey = SECRET_KEY) -> str:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return key.sign(data)


def saying(**changes: Any) -> str:
    """A token of ours but for the changes; ``None`` leaves a claim out."""
    claims = {**CLAIMS, **changes}
    return signed({name: value for name, value in claims.items() if value is not None})


def headed(header: Any, *, secret: bytes = SECRET.encode(), algorithm: str = "HS256") -> str:
    """A token with any header, signed by somebody who has a secret."""
    message = f"{header if isinstance(header, str) else encode(header)}.{encode(CLAIMS)}"
    return f"{message}.{encode(hmac.digest(secret, message.encode(), HASHES[algorithm]))}"


OURS = {"alg": "HS256", "kid": SECRET_KEY.kid, "typ": "at+jwt"}
PUBLIC = PAIR.public_jwk() or {}
PUBLIC_PEM = OKPKey.import_key({name: PUBLIC[name] for name in ("kty", "crv", "x")}).as_pem(
    private=False
)


@pytest.mark.parametrize("key", RING.keys, ids=lambda key: key.algorithm)
def test_a_good_token_says_who_it_stands_for(key: SigningKey) -> None:
    found = verifier().verify(signed(key=key))
    assert (found.subject, found.issuer) == ("ada", "backstay")
    assert found.scopes == {"orders", "photos"}
    assert found.expires_at == NOW + timedelta(minutes=10)
    assert found.claims == CLAIMS


def test_what_the_issuer_writes_the_verifier_reads() -> None:
    policy = read_policy(type("Declared", (BaseAuthJWT,), {"AUDIENCE": ["a", "b"]}))
    for key in RING.keys:
        token = TokenIssuer(Keyring(key), policy).write(
            "ада", session="s", scopes={"a"}, body=TokenBody({"x": "\ud800"}), issued_at=NOW
        )
        found = verifier(AUDIENCE="b").verify(token)
        assert (found.subject, found.claims["x"]) == ("ада", "\ud800")
        assert found.scopes == {"a"}


EXTENSIONS: dict[str, dict[str, Any]] = {
    "jwk": {"jwk": {"kty": "oct", "k": encode(SECRET.encode())}},
    "jku": {"jku": "https://evil.example/keys"},
    "x5u": {"x5u": "https://evil.example/cert"},
    "x5c": {"x5c": ["MIIB"]},
    "crit": {"crit": ["exp"]},
    "crit b64": {"crit": ["b64"], "b64": False},
    "b64": {"b64": True},
    "cty": {"cty": "JWT"},
    "zip": {"zip": "DEF"},
}

FORGED: dict[str, Callable[[], Any]] = {
    # nobody has signed it
    "alg none": lambda: f"{encode({'alg': 'none', 'typ': 'at+jwt'})}.{encode(CLAIMS)}.",
    "alg none and a signature": lambda: f"{encode({**OURS, 'alg': 'none'})}.{encode(CLAIMS)}.AAAA",
    **{
        f"alg {name}": partial(headed, {**OURS, "alg": name})
        for name in (
            "None",
            "NONE",
            "nOnE",
            "",
            "hs256",
            "HS256 ",
            "HS384",
            "HS512",
            "EdDSA",
            "ES256",
        )
    },
    "no alg": lambda: headed({"kid": SECRET_KEY.kid, "typ": "at+jwt"}),
    "alg null": lambda: headed({**OURS, "alg": None}),
    "alg a list": lambda: headed({**OURS, "alg": ["HS256"]}),
    "HS384 by the same secret": lambda: headed({**OURS, "alg": "HS384"}, algorithm="HS384"),
    "another secret": lambda: headed(OURS, secret=OTHER_SECRET.encode()),
    "an empty signature": lambda: signed().rpartition(".")[0] + ".",
    "no signature": lambda: signed().rpartition(".")[0],
    "a cut signature": lambda: signed()[:-4],
    "another token's signature": lambda: (
        signed().rpartition(".")[0] + "." + saying(sub="eve").rpartition(".")[2]
    ),
    "another payload": lambda: ".".join(
        [signed().split(".")[0], encode({**CLAIMS, "sub": "eve"}), signed().split(".")[2]]
    ),
    # algorithms and keys are confused
    "HS256 signed with the public key": lambda: headed(
        {"alg": "HS256", "kid": PAIR.kid, "typ": "at+jwt"}, secret=PUBLIC_PEM
    ),
    "HS256 signed with the public x": lambda: headed(
        {"alg": "HS256", "kid": PAIR.kid, "typ": "at+jwt"}, secret=PUBLIC["x"].encode()
    ),
    "EdDSA's header over a secret's signature": lambda: headed(PAIR.header),
    "a secret's header over EdDSA's signature": lambda: (
        signed().rpartition(".")[0] + "." + signed(key=PAIR).rpartition(".")[2]
    ),
    # the key is chosen by whoever sends it
    "no kid": lambda: headed({"alg": "HS256", "typ": "at+jwt"}),
    **{
        f"kid {name}": partial(headed, {**OURS, "kid": kid})
        for name, kid in {
            "unknown": "x",
            "a path": "../../../../dev/null",
            "SQL": "' UNION SELECT 'secret' --",
            "a command": "| whoami",
            "a URL": "https://evil.example/keys",
            "with a zero": SECRET_KEY.kid + "\0",
            "with a space": SECRET_KEY.kid + " ",
            "null": None,
            "a list": [SECRET_KEY.kid],
            "a number": 0,
        }.items()
    },
    "kid of /dev/null and an empty secret's signature": lambda: headed(
        {**OURS, "kid": "/dev/null"}, secret=b"\0" * 32
    ),
    "kid twice": lambda: headed(
        encode(f'{{"alg":"HS256","kid":"x","kid":"{SECRET_KEY.kid}","typ":"at+jwt"}}'.encode())
    ),
    "alg twice": lambda: headed(
        encode(f'{{"alg":"none","alg":"HS256","kid":"{SECRET_KEY.kid}","typ":"at+jwt"}}'.encode())
    ),
    **{
        f"{name} in the header": partial(headed, {**OURS, **extra})
        for name, extra in EXTENSIONS.items()
    },
    **{
        f"typ {kind}": partial(headed, {**OURS, "typ": kind})
        for kind in ("JWT", "jwt", "AT+JWT", "id_token", "refresh", "dpop+jwt", "logout+jwt", None)
    },
    "no typ": lambda: headed({"alg": "HS256", "kid": SECRET_KEY.kid}),
    "a header in another order": lambda: headed(
        {"typ": "at+jwt", "alg": "HS256", "kid": SECRET_KEY.kid}
    ),
    # it is no token at all
    "nothing": lambda: "",
    "dots": lambda: "..",
    "many dots": lambda: "." * 1000,
    "JWE": lambda: f"{encode({'alg': 'dir', 'enc': 'A256GCM'})}..AAAA.AAAA.AAAA",
    "JWE with our header": lambda: f"{SECRET_KEY.header}.AAAA.AAAA.AAAA.AAAA",
    "JSON": lambda: json.dumps({"payload": encode(CLAIMS), "signatures": []}),
    "a refresh token": lambda: "bsr_" + "x" * 43,
    "an API key": lambda: "bsk_aaaaaaaaaaaaaaaa_" + "x" * 43 + "_000000",
    "64 KB": lambda: f"{SECRET_KEY.header}.{'A' * 65_536}.AAAA",
    "64 KB that are signed": lambda: saying(x="x" * 49_152),
    "space in front": lambda: " " + signed(),
    "space behind": lambda: signed() + " ",
    "a new line behind": lambda: signed() + "\n",
    "a new line within": lambda: signed().replace(".", ".\n", 1),
    "padding": lambda: signed() + "=",
    "padding within": lambda: signed().replace(".", "=.", 1),
    "unicode digits": lambda: signed().translate({ord("0") + n: 0x0660 + n for n in range(10)}),
    "full-width dots": lambda: signed().replace(".", "\uff0e"),
    "a zero": lambda: signed() + "\0",
    "standard base64": lambda: (
        signed().rpartition(".")[0] + "." + base64.b64encode(b"\xfb\xff" * 16).decode().rstrip("=")
    ),
    "other bits behind the last byte": lambda: signed()[:-1] + _next(signed()[-1]),
    "bytes": lambda: signed().encode(),
    "None": lambda: None,
    "a number": lambda: 7,
}


def _next(character: str) -> str:
    """Another character of base64url that differs in the bits that are not used."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(character) ^ 1]


@pytest.mark.parametrize("make", FORGED.values(), ids=FORGED.keys())
def test_a_forged_token_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(BadToken):
        verifier().verify(make())


BAD_CLAIMS: dict[str, Callable[[], str]] = {
    **{
        f"no {name}": partial(saying, **{name: None})
        for name in (
            "iss",
            "sub",
            "aud",
            "exp",
            "iat",
            "iat_us",
            "jti",
            "sid",
        )
    },
    "iat_us a text": lambda: saying(iat_us="0"),
    "iat_us true": lambda: saying(iat_us=True),
    "iat_us a fraction": lambda: saying(iat_us=0.5),
    # not in time
    "ended": lambda: saying(exp=AT - 10),
    "ended a fraction ago": lambda: saying(exp=AT - 10.001),
    "begins later": lambda: saying(nbf=AT + 11),
    "issued later": lambda: saying(iat=AT + 11),
    "exp 0": lambda: saying(exp=0),
    "exp negative": lambda: saying(exp=-1),
    "exp before all calendars": lambda: saying(exp=-(10**15)),
    "exp after all calendars": lambda: saying(exp=10**20),
    "exp of 5000 digits": lambda: signed(
        json.dumps(CLAIMS).replace(str(AT + 600), "9" * 5000).encode()
    ),
    "exp 1e400": lambda: signed(json.dumps(CLAIMS).replace(str(AT + 600), "1e400").encode()),
    "exp NaN": lambda: saying(exp=float("nan")),
    "exp Infinity": lambda: saying(exp=float("inf")),
    "exp true": lambda: saying(exp=True),
    "exp text": lambda: saying(exp=str(AT + 600)),
    "exp a list": lambda: saying(exp=[AT + 600]),
    "nbf NaN": lambda: saying(nbf=float("nan")),
    "nbf text": lambda: saying(nbf="0"),
    "iat true": lambda: saying(iat=True),
    "iat text": lambda: saying(iat="now"),
    # for somebody else, or of somebody else
    "issuer of another app": lambda: saying(iss="shop"),
    "issuer with a slash": lambda: saying(iss="backstay/"),
    "issuer in capitals": lambda: saying(iss="Backstay"),
    "issuer a list": lambda: saying(iss=["backstay"]),
    "audience of another app": lambda: saying(aud="shop"),
    "audience a list of others": lambda: saying(aud=["shop", "bank"]),
    "audience an empty list": lambda: saying(aud=[]),
    "audience empty": lambda: saying(aud=""),
    "audience a list with a number": lambda: saying(aud=["backstay", 7]),
    "audience an object": lambda: saying(aud={"backstay": 1}),
    "audience that contains ours": lambda: saying(aud="backstay shop"),
    # of nobody
    "sub empty": lambda: saying(sub=""),
    "sub a number": lambda: saying(sub=7),
    "sub true": lambda: saying(sub=True),
    "sub a list": lambda: saying(sub=["ada"]),
    "sub an object": lambda: saying(sub={"$ne": ""}),
    "jti empty": lambda: saying(jti=""),
    "jti a number": lambda: saying(jti=7),
    "sid empty": lambda: saying(sid=""),
    "sid a list": lambda: saying(sid=["s"]),
    "scope a number": lambda: saying(scope=7),
    "scope a list of numbers": lambda: saying(scope=[7]),
    # no claims at all
    "sub twice": lambda: signed(json.dumps(CLAIMS).replace("{", '{"sub":"eve",', 1).encode()),
    "sub twice, once in escapes": lambda: signed(
        json.dumps(CLAIMS).replace("{", '{"\\u0073ub":"eve",', 1).encode()
    ),
    "a list": lambda: signed([CLAIMS]),
    "a text": lambda: signed("ada"),
    "null": lambda: signed(None),
    "nothing": lambda: signed(b""),
    "no JSON": lambda: signed(b"{"),
    "no text": lambda: signed(b"\xff\xfe{}"),
    "too deep": lambda: signed(b'{"a":' * 1000 + b"1" + b"}" * 1000),
    "text behind": lambda: signed(json.dumps(CLAIMS).encode() + b"x"),
}


@pytest.mark.parametrize("make", BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys())
def test_a_signed_token_that_does_not_say_what_it_must_is_refused(
    make: Callable[[], str],
) -> None:
    with pytest.raises(BadToken):
        verifier().verify(make())


@pytest.mark.parametrize(
    "token",
    [
        saying(aud=["shop", "backstay"]),
        saying(nbf=None),
        saying(exp=AT - 9.9),
        saying(nbf=AT + 10, iat=AT + 10),
        saying(scope=None),
    ],
    ids=["for others too", "without nbf", "ended within leeway", "begun within leeway", "no scope"],
)
def test_what_is_good_enough_is_good(token: str) -> None:
    assert verifier().verify(token).subject == "ada"


def test_without_leeway_a_token_ends_when_it_says() -> None:
    verifier(LEEWAY_SECONDS=0).verify(saying(exp=AT + 0.001))
    with pytest.raises(BadToken, match="it ended at"):
        verifier(LEEWAY_SECONDS=0).verify(saying(exp=AT))


def test_two_apps_with_one_secret_do_not_take_each_others_tokens() -> None:
    others: list[dict[str, Any]] = [{"ISSUER": "shop"}, {"AUDIENCE": "shop"}]
    for other in others:
        with pytest.raises(BadToken):
            verifier(**other).verify(signed())


def test_a_key_that_has_ended_ends_its_tokens() -> None:
    key = SigningKey.generate(verifies_until=NOW)
    ring = Keyring(SECRET_KEY, key)
    verifier(ring, NOW - timedelta(seconds=1)).verify(signed(key=key))
    with pytest.raises(BadToken, match="its header is none"):
        verifier(ring).verify(signed(key=key))


def test_it_knows_which_tokens_are_its_own_to_judge() -> None:
    assert verifier().claims_it(signed())
    assert verifier().claims_it(f"{SECRET_KEY.header}.x.y")
    assert not verifier().claims_it(headed({**OURS, "kid": "x"}))
    assert not verifier().claims_it("")


def test_why_it_is_refused_does_not_show_the_token() -> None:
    for make in (*FORGED.values(), *BAD_CLAIMS.values()):
        token = make()
        with pytest.raises(BadToken) as raised:
            verifier().verify(token)
        if isinstance(token, str) and len(token) > 60:
            assert token[-20:] not in str(raised.value)
        assert len(str(raised.value)) < 700


@given(st.text(max_size=200))
def test_no_text_gets_in(text: str) -> None:
    with pytest.raises(BadToken):
        verifier().verify(text)


@given(st.integers(0, 10_000), st.characters(codec="utf-8"))
def test_no_change_of_one_character_gets_in(place: int, character: str) -> None:
    token = signed(key=PAIR)
    at = place % len(token)
    changed = token[:at] + character + token[at + 1 :]
    if changed != token:
        with pytest.raises(BadToken):
            verifier().verify(changed)


@given(st.binary(max_size=300))
def test_no_signed_bytes_break_it(payload: bytes) -> None:
    with pytest.raises(BadToken):
        verifier().verify(signed(payload))
