"""Which tokens are good, and all the ways in which one is not."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.auth import JWTVerifier, TokenVerifier
from backstay.errors import TokensUncheckable
from tests.auth.issuer import AUDIENCE, Issuer, encode, key_of, sign, verifier_of
from tests.support import async_test
from tests.test_import import run_python

KINDS = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "PS256": "RSA",
    "PS384": "RSA",
    "PS512": "RSA",
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
    "EdDSA": "Ed25519",
    "Ed25519": "Ed25519",
    "Ed448": "Ed448",
}


@async_test
async def test_a_good_token_says_who_it_stands_for() -> None:
    async with Issuer() as issuer:
        found = await verifier_of(issuer).verify_token(issuer.token(email="ada@example.com"))
        assert found is not None
        assert found.subject == "ada"
        assert found.issuer == issuer.url
        assert found.scopes == {"orders", "photos"}
        assert found.client_id == "chat"
        assert found.expires_at == datetime(2027, 1, 1, 0, 10, tzinfo=UTC)
        assert found.audience == {AUDIENCE}
        assert found.claims["email"] == "ada@example.com"


@pytest.mark.parametrize("algorithm", KINDS)
@async_test
async def test_every_asymmetric_algorithm_is_understood(algorithm: str) -> None:
    async with Issuer() as issuer:
        issuer.keys = {"one": key_of(KINDS[algorithm])}
        found = await verifier_of(issuer).verify_token(issuer.token(alg=algorithm))
        assert found is not None


@async_test
async def test_only_the_algorithms_that_were_named_are_allowed() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer, algorithms=["RS256"])
        assert await verifier.verify_token(issuer.token()) is None
        assert issuer.requests == []


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": None}, set()),
        ({"scope": ""}, set()),
        ({"scope": "a  b"}, {"a", "b"}),
        ({"scope": ["a", "b"]}, {"a", "b"}),
        ({"scope": None, "scp": ["a", "b"]}, {"a", "b"}),
        ({"scope": None, "scp": "a b"}, {"a", "b"}),
    ],
    ids=str,
)
@async_test
async def test_scopes_are_read_however_the_issuer_writes_them(
    claims: dict[str, Any], scopes: set[str]
) -> None:
    async with Issuer() as issuer:
        found = await verifier_of(issuer).verify_token(issuer.token(**claims))
        assert found is not None
        assert found.scopes == scopes


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
@async_test
async def test_an_access_token_may_be_called_so_or_not(kind: str | None) -> None:
    async with Issuer() as issuer:
        header = {"alg": "ES256", "kid": "one"} | ({} if kind is None else {"typ": kind})
        token = sign(header, issuer.claims(), key_of())
        assert await verifier_of(issuer).verify_token(token) is not None


@async_test
async def test_one_audience_of_several_is_enough() -> None:
    async with Issuer() as issuer:
        token = issuer.token(aud=["https://other.example.com", AUDIENCE + "/"])
        verifier = verifier_of(issuer, audience=["api://shop", AUDIENCE])
        assert await verifier.verify_token(token) is not None


@async_test
async def test_the_only_key_needs_no_name() -> None:
    async with Issuer() as issuer:
        assert await verifier_of(issuer).verify_token(issuer.token(kid=None)) is not None


@async_test
async def test_with_several_keys_a_token_has_to_say_which() -> None:
    async with Issuer() as issuer:
        issuer.keys["two"] = key_of("P-256", 1)
        verifier = verifier_of(issuer)
        assert await verifier.verify_token(issuer.token(kid=None)) is None
        assert await verifier.verify_token(issuer.token(kid="two")) is not None


@async_test
async def test_keys_that_bring_along_a_key_of_their_own_are_verified_by_the_issuers() -> None:
    async with Issuer() as issuer:
        header = {
            "alg": "ES256",
            "kid": "one",
            "jku": "https://evil.example.com/keys",
            "x5u": "https://evil.example.com/cert",
            "x5c": ["AAAA"],
            "jwk": key_of("P-256", 9).as_dict(private=False),
        }
        verifier = verifier_of(issuer)
        assert await verifier.verify_token(sign(header, issuer.claims(), key_of())) is not None
        forged = sign(header, issuer.claims(), key_of("P-256", 9))
        assert await verifier.verify_token(forged) is None
        assert set(issuer.requests) == {"/.well-known/oauth-authorization-server", "/keys"}


NOW = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW - 29},
        {"nbf": NOW + 30},
        {"iat": NOW + 30},
        {"nbf": NOW, "iat": None},
        {"exp": NOW + 0.5},
    ],
    ids=str,
)
@async_test
async def test_clocks_may_differ_by_the_leeway(changes: dict[str, Any]) -> None:
    async with Issuer() as issuer:
        assert await verifier_of(issuer).verify_token(issuer.token(**changes)) is not None


BAD_CLAIMS: list[dict[str, Any]] = [
    {"iss": "https://evil.example.com"},
    {"iss": None},
    {"iss": 5},
    {"aud": None},
    {"aud": "https://other.example.com"},
    {"aud": []},
    {"aud": {AUDIENCE: True}},
    {"aud": [AUDIENCE, 5]},
    {"aud": AUDIENCE.upper()},
    {"exp": None},
    {"exp": NOW - 30},
    {"exp": 0},
    {"exp": -1},
    {"exp": str(NOW + 600)},
    {"exp": True},
    {"exp": [NOW + 600]},
    {"exp": 10**15},
    {"exp": float("inf")},
    {"exp": float("nan")},
    {"nbf": NOW + 31},
    {"nbf": "now"},
    {"iat": NOW + 31},
    {"iat": {}},
    {"sub": None},
    {"sub": ""},
    {"sub": 5},
    {"scope": 5},
    {"scope": [5]},
]


@pytest.mark.parametrize("changes", BAD_CLAIMS, ids=str)
@async_test
async def test_a_token_whose_claims_will_not_do_is_refused(changes: dict[str, Any]) -> None:
    async with Issuer() as issuer:
        assert await verifier_of(issuer).verify_token(issuer.token(**changes)) is None


@async_test
async def test_an_issuer_is_compared_to_the_letter() -> None:
    async with Issuer() as issuer:
        assert await verifier_of(issuer).verify_token(issuer.token(iss=issuer.url + "/")) is None


def unsigned(issuer: Issuer) -> str:
    return f"{encode({'alg': 'none'})}.{encode(issuer.claims())}."


def unsigned_with_a_signature(issuer: Issuer) -> str:
    return f"{encode({'alg': 'none', 'kid': 'one'})}.{encode(issuer.claims())}.AAAA"


def none_in_capitals(issuer: Issuer) -> str:
    return f"{encode({'alg': 'None', 'kid': 'one'})}.{encode(issuer.claims())}.AAAA"


def signed_with_the_public_key_as_a_secret(issuer: Issuer) -> str:
    issuer.keys = {"one": key_of("RSA")}
    public = key_of("RSA").as_pem(private=False)  # type: ignore[union-attr]  # an RSA key
    signing_input = f"{encode({'alg': 'HS256', 'kid': 'one'})}.{encode(issuer.claims())}"
    signature = hmac.digest(public, signing_input.encode(), "sha256")
    return f"{signing_input}.{encode(signature)}"


def signed_by_somebody_else(issuer: Issuer) -> str:
    return sign({"alg": "ES256", "kid": "one"}, issuer.claims(), key_of("P-256", 9))


def with_another_payload(issuer: Issuer) -> str:
    header, _, signature = issuer.token().split(".")
    return f"{header}.{encode(issuer.claims(sub='root'))}.{signature}"


def with_another_header(issuer: Issuer) -> str:
    _, payload, signature = issuer.token().split(".")
    return f"{encode({'alg': 'ES256', 'kid': 'one'})}.{payload}.{signature}"


def with_another_signature(issuer: Issuer) -> str:
    header, payload, _ = issuer.token().split(".")
    return f"{header}.{payload}.{encode(bytes(64))}"


def with_a_short_signature(issuer: Issuer) -> str:
    return issuer.token()[:-4]


def with_critical_extensions(issuer: Issuer) -> str:
    header = {"alg": "ES256", "kid": "one", "crit": ["exp"], "exp": NOW + 600}
    return sign(header, issuer.claims(), key_of())


def with_a_payload_that_is_not_encoded(issuer: Issuer) -> str:
    header = {"alg": "ES256", "kid": "one", "b64": False}
    return sign(header, issuer.claims(), key_of())


def with_the_wrong_algorithm_for_the_key(issuer: Issuer) -> str:
    issuer.keys["one"] = key_of("RSA")
    return sign({"alg": "ES256", "kid": "one"}, issuer.claims(), key_of())


def of_another_kind(issuer: Issuer) -> str:
    header = {"alg": "ES256", "kid": "one", "typ": "logout+jwt"}
    return sign(header, issuer.claims(), key_of())


def with_a_kid_that_is_no_text(issuer: Issuer) -> str:
    return sign({"alg": "ES256", "kid": 1}, issuer.claims(), key_of())


def with_a_kid_from_a_path(issuer: Issuer) -> str:
    return sign({"alg": "ES256", "kid": "../../etc/passwd"}, issuer.claims(), key_of())


def with_a_payload_that_is_no_object(issuer: Issuer) -> str:
    return sign({"alg": "ES256", "kid": "one"}, b'["ada"]', key_of())


def with_a_payload_that_is_no_json(issuer: Issuer) -> str:
    return sign({"alg": "ES256", "kid": "one"}, b"\xff\x00", key_of())


def nested_very_deep(issuer: Issuer) -> str:
    return sign({"alg": "ES256", "kid": "one"}, b"[" * 9000, key_of())


def with_a_header_nested_very_deep(issuer: Issuer) -> str:
    return f"{encode(b'[' * 9000)}.{encode(issuer.claims())}.AAAA"


def with_very_long_numbers(issuer: Issuer) -> str:
    payload = b'{"exp": ' + b"9" * 8000 + b"}"
    return sign({"alg": "ES256", "kid": "one"}, payload, key_of())


def very_long(issuer: Issuer) -> str:
    return issuer.token(padding="x" * 20_000)


def huge(issuer: Issuer) -> str:
    return "e" * 10_000_000


def with_white_space(issuer: Issuer) -> str:
    return f" {issuer.token()}"


def with_a_line_end(issuer: Issuer) -> str:
    return f"{issuer.token()}\n"


def with_padding(issuer: Issuer) -> str:
    return f"{issuer.token()}=="


def with_unicode_digits(issuer: Issuer) -> str:
    return issuer.token().replace(".", ".\u0661", 1)


def with_a_lone_surrogate(issuer: Issuer) -> str:
    return f"{issuer.token()}\ud800"


def encrypted(issuer: Issuer) -> str:
    return f"{issuer.token()}.AAAA.AAAA"


def of_nothing(issuer: Issuer) -> str:
    return ""


def of_dots(issuer: Issuer) -> str:
    return ".."


def as_json(issuer: Issuer) -> str:
    header, payload, signature = issuer.token().split(".")
    return json.dumps({"protected": header, "payload": payload, "signature": signature})


FORGERIES: list[tuple[Callable[[Issuer], str], str]] = [
    (unsigned, "three parts"),
    (unsigned_with_a_signature, "'none' is not allowed"),
    (none_in_capitals, "'None' is not allowed"),
    (signed_with_the_public_key_as_a_secret, "'HS256' is not allowed"),
    (signed_by_somebody_else, "signature is wrong"),
    (with_another_payload, "signature is wrong"),
    (with_another_header, "signature is wrong"),
    (with_another_signature, "signature is wrong"),
    (with_a_short_signature, "signature is wrong"),
    (with_critical_extensions, "extensions"),
    (with_a_payload_that_is_not_encoded, "extensions"),
    (with_the_wrong_algorithm_for_the_key, "no such key for ES256"),
    (of_another_kind, "type 'logout+jwt'"),
    (with_a_kid_that_is_no_text, "kid is not a text"),
    (with_a_kid_from_a_path, "no such key"),
    (with_a_payload_that_is_no_object, "payload is no JSON object"),
    (with_a_payload_that_is_no_json, "payload is no JSON object"),
    (nested_very_deep, "payload is no JSON object"),
    (with_a_header_nested_very_deep, "header is no JSON object"),
    (with_very_long_numbers, "payload is no JSON object"),
    (very_long, "longer than"),
    (huge, "longer than"),
    (with_white_space, "three parts"),
    (with_a_line_end, "three parts"),
    (with_padding, "three parts"),
    (with_unicode_digits, "three parts"),
    (with_a_lone_surrogate, "three parts"),
    (encrypted, "three parts"),
    (of_nothing, "three parts"),
    (of_dots, "three parts"),
    (as_json, "three parts"),
]


@pytest.mark.parametrize(
    ("forge", "reason"), FORGERIES, ids=lambda each: getattr(each, "__name__", "")
)
@async_test
async def test_a_forged_token_is_refused_for_what_is_wrong_with_it(
    forge: Callable[[Issuer], str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "backstay.auth")
    async with Issuer() as issuer:
        token = forge(issuer)
        assert await verifier_of(issuer).verify_token(token) is None
    assert len(caplog.messages) == 1
    assert reason in caplog.messages[0]
    assert not any(len(part) > 4 and part in caplog.messages[0] for part in token.split("."))


@async_test
async def test_a_refusal_says_why_in_the_log_and_keeps_the_token_out_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "backstay.auth")
    async with Issuer() as issuer:
        token = issuer.token(exp=NOW - 60)
        assert await verifier_of(issuer).verify_token(token) is None
    assert caplog.messages == ["a token was refused: it ended at 2026-12-31 23:59:00 UTC"]


@async_test
async def test_what_a_token_says_cannot_begin_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "backstay.auth")
    async with Issuer() as issuer:
        verifier = verifier_of(issuer)
        for token in (
            issuer.token(iss="x\nERROR all is lost"),
            issuer.token(aud=["x\r\nERROR all is lost"]),
            sign({"alg": "ES256", "kid": "x\nERROR"}, issuer.claims(), key_of()),
            sign({"alg": "ES256", "typ": "x\nERROR"}, issuer.claims(), key_of()),
        ):
            assert await verifier.verify_token(token) is None
    assert len(caplog.messages) == 4
    assert not any("\n" in each or "\r" in each for each in caplog.messages)


@async_test
async def test_scopes_required_of_all_tokens_are_checked() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer, required_scopes=["orders", "admin"])
        assert await verifier.verify_token(issuer.token()) is None
        assert await verifier.verify_token(issuer.token(scope="admin orders")) is not None


@async_test
async def test_garbage_costs_the_issuer_nothing() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer)
        for token in ("", "x", "a.b.c", "é", unsigned(issuer)):
            assert await verifier.verify_token(token) is None
        assert issuer.requests == []


ANY_HEADER = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "jku", "x5c", "b64", "zip", "enc"]),
    st.sampled_from(["ES256", "RS256", "none", "HS256", "one", "JWT", "at+jwt"])
    | st.none()
    | st.integers()
    | st.text()
    | st.lists(st.text())
    | st.dictionaries(st.text(), st.text()),
)
ANY_TOKEN = (
    st.text()
    | st.builds(lambda parts: ".".join(parts), st.lists(st.text("ABCabc01_-"), max_size=5))
    | st.builds(
        lambda header, payload, rest: f"{encode(header)}.{encode(payload)}.{rest}",
        ANY_HEADER,
        st.binary(),
        st.text("ABCabc01_-"),
    )
    | st.builds(lambda part: f"{encode(part)}.AAAA.AAAA", st.binary())
)


def test_no_garbage_is_ever_a_good_token_or_an_error() -> None:
    async def run() -> None:
        async with Issuer() as issuer:
            verifier = verifier_of(issuer)
            assert await verifier.verify_token(issuer.token()) is not None
            loop = asyncio.get_running_loop()

            @settings(max_examples=400, deadline=None)
            @given(ANY_TOKEN)
            def garbage(token: str) -> None:
                task = asyncio.run_coroutine_threadsafe(verifier.verify_token(token), loop)
                assert task.result(20) is None

            await asyncio.to_thread(garbage)

    asyncio.run(run())


def test_no_signed_garbage_is_ever_an_error() -> None:
    values = st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    )
    names = st.sampled_from(["exp", "nbf", "iat", "aud", "sub", "scope", "scp", "client_id", "iss"])

    async def run() -> None:
        async with Issuer() as issuer:
            verifier = verifier_of(issuer)
            loop = asyncio.get_running_loop()

            @settings(max_examples=200, deadline=None)
            @given(st.dictionaries(names, values, min_size=1))
            def garbage(claims: dict[str, Any]) -> None:
                token = sign({"alg": "ES256", "kid": "one"}, issuer.claims() | claims, key_of())
                task = asyncio.run_coroutine_threadsafe(verifier.verify_token(token), loop)
                found = task.result(20)
                if found is not None:
                    assert found.subject
                    assert found.issuer == issuer.url
                    assert AUDIENCE in found.audience

            await asyncio.to_thread(garbage)

    asyncio.run(run())


@async_test
async def test_nobody_can_say_while_the_issuer_is_down() -> None:
    async with Issuer() as issuer:
        await issuer.stop()
        with pytest.raises(TokensUncheckable, match=r"127\.0\.0\.1.*did not answer") as caught:
            await verifier_of(issuer).verify_token(issuer.token())
        assert caught.value.status == 503


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"issuer": ""}, "the issuer is the text"),
        ({"issuer": "http://id.example.com"}, "https://"),
        ({"issuer": "id.example.com"}, "absolute URL"),
        ({"issuer": "https://id.example.com?tenant=1"}, "without query"),
        ({"jwks_uri": "http://id.example.com/keys"}, "https://"),
        ({"audience": ""}, "must not be empty"),
        ({"audience": []}, "must not be empty"),
        ({"algorithms": []}, "'none'"),
        ({"algorithms": ["HS256"]}, "shared secret"),
        ({"algorithms": ["none"]}, r"\['none'\]"),
        ({"leeway_s": -1}, "leeway_s"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"key_cache_s": float("nan")}, "key_cache_s"),
        ({"required_scopes": ["a b"]}, "no scope"),
    ],
    ids=str,
)
def test_what_could_never_work_is_refused_when_it_is_made(
    options: dict[str, Any], message: str
) -> None:
    given = {"issuer": "https://id.example.com", "audience": AUDIENCE, **options}
    with pytest.raises(ValueError, match=message):
        JWTVerifier(**given)


def test_an_issuer_that_is_only_a_name_needs_the_address_of_its_keys() -> None:
    verifier = JWTVerifier(
        "accounts.example.com", audience="x", jwks_uri="https://keys.example.com/v1"
    )
    assert repr(verifier) == "<JWTVerifier of accounts.example.com>"


def test_a_verifier_is_what_the_port_says() -> None:
    verifier: TokenVerifier = JWTVerifier("https://id.example.com", audience=AUDIENCE)
    assert verifier is not None


def test_who_verifies_tokens_in_another_way_needs_no_extra() -> None:
    done = run_python(
        """
        import sys
        import backstay.auth
        print(*sorted({name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names))
        """,
        blocked=("joserfc", "httpx2", "fastapi", "pydantic", "starlette"),
    )
    assert done.returncode == 0, done.stderr
    assert "backstay" in done.stdout.split()
    assert not {"joserfc", "httpx2", "fastapi", "cryptography"} & set(done.stdout.split())


@pytest.mark.parametrize("package", ["joserfc", "httpx2"])
def test_a_missing_package_names_the_extra_that_brings_it(package: str) -> None:
    done = run_python(
        """
        from backstay.auth import JWTVerifier
        from backstay.errors import MissingExtra
        try:
            JWTVerifier("https://id.example.com", audience="shop")
        except MissingExtra as error:
            print(error.name, error)
        """,
        blocked=(package,),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(package)
    assert 'pip install "backstay[auth]"' in done.stdout
