"""A key has one algorithm, one header for its tokens, and a time."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey
from pydantic import SecretStr

from backstay.auth import SigningKey
from backstay.errors import BadAuth, WeakSecret
from tests.auth.service import SECRET

NOW = datetime(2027, 1, 1, tzinfo=UTC)
LONG = SECRET + SECRET[::-1]


def header_of(token: str) -> dict[str, Any]:
    part = token.split(".", maxsplit=1)[0]
    found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "ES384"])
def test_a_token_says_which_key_and_algorithm_and_nothing_else(algorithm: str) -> None:
    key = SigningKey.generate(algorithm)
    token = key.sign(b"{}")
    assert header_of(token) == {"alg": algorithm, "kid": key.kid, "typ": "at+jwt"}
    assert token.startswith(f"{key.header}.e30.")


def test_a_key_is_known_by_its_thumbprint_unless_it_has_a_name() -> None:
    own = ECKey.generate_key("P-256")
    members = own.as_dict(private=True)
    assert SigningKey.from_jwk(members).kid == own.thumbprint()
    assert SigningKey.from_jwk({**members, "kid": "july"}).kid == "july"
    assert SigningKey.from_jwk({**members, "kid": "july"}, kid="august").kid == "august"


@pytest.mark.parametrize("kid", ["", "x" * 257, 7])
def test_a_name_that_is_none_is_refused(kid: Any) -> None:
    with pytest.raises(BadAuth, match="kid="):
        SigningKey.generate(kid=kid)


@pytest.mark.parametrize("secret", [SECRET, SECRET.encode(), SecretStr(SECRET)], ids=type)
def test_a_secret_may_be_text_bytes_or_pydantics(secret: Any) -> None:
    key = SigningKey.from_secret(secret)
    assert (key.algorithm, key.is_secret, key.public_jwk()) == ("HS256", True, None)
    assert key.kid == SigningKey.from_secret(SECRET).kid
    assert SECRET not in repr(key)


@pytest.mark.parametrize(
    ("secret", "algorithm"),
    [("hunter2", "HS256"), ("x" * 64, "HS256"), (SECRET, "HS384"), (SECRET, "HS512")],
)
def test_a_weak_secret_is_refused_unless_debugging(secret: str, algorithm: str) -> None:
    with pytest.raises(WeakSecret) as raised:
        SigningKey.from_secret(secret, algorithm=algorithm)
    assert secret not in str(raised.value)
    assert SigningKey.from_secret(secret, algorithm=algorithm, debug=True).is_secret


def test_a_long_secret_is_good_for_every_algorithm() -> None:
    for algorithm in ("HS256", "HS384", "HS512"):
        assert SigningKey.from_secret(LONG, algorithm=algorithm).algorithm == algorithm


def test_a_secret_as_jwk_is_the_bytes_it_stands_for() -> None:
    own = OctKey.generate_key(384)
    key = SigningKey.from_jwk({**own.as_dict(private=True), "alg": "HS384"})
    assert key.algorithm == "HS384"
    assert key.sign(b"{}") == key.sign(b"{}")
    with pytest.raises(WeakSecret):
        SigningKey.from_jwk({"kty": "oct", "k": "c2VjcmV0"})
    with pytest.raises(WeakSecret, match="48 bytes"):
        SigningKey.from_jwk({**OctKey.generate_key(256).as_dict(private=True), "alg": "HS384"})


def test_a_jwk_may_be_json() -> None:
    own = OKPKey.generate_key("Ed25519")
    members = own.as_dict(private=True)
    assert SigningKey.from_jwk(json.dumps(members)).kid == own.thumbprint()
    for alg in ("EdDSA", "Ed25519"):
        assert SigningKey.from_jwk({**members, "alg": alg, "use": "sig"}).algorithm == "EdDSA"


@pytest.mark.parametrize(
    "changes", [{"use": "enc"}, {"alg": "ES256"}, {"alg": "HS256"}, {"alg": None}], ids=str
)
def test_a_jwk_for_something_else_is_refused(changes: dict[str, Any]) -> None:
    members = OKPKey.generate_key("Ed25519").as_dict(private=True)
    with pytest.raises(BadAuth, match="meant for something else"):
        SigningKey.from_jwk({**members, **changes})


@pytest.mark.parametrize(
    "jwk", ["", "[]", "{", "7", 7, None, "[" * 100_000], ids=lambda x: f"{x!r:.9}"
)
def test_what_is_no_jwk_is_refused(jwk: Any) -> None:
    with pytest.raises(BadAuth, match="neither"):
        SigningKey.from_jwk(jwk)


def test_a_generated_key_can_be_kept() -> None:
    key = SigningKey.generate()
    again = SigningKey.from_pem(key.private_pem())
    assert again.kid == key.kid
    header, payload, signature = key.sign(b"{}").split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    assert again.verify(f"{header}.{payload}".encode(), raw)


def test_a_secret_is_neither_generated_nor_shown() -> None:
    with pytest.raises(BadAuth, match="token_urlsafe"):
        SigningKey.generate("HS256")
    with pytest.raises(BadAuth, match="no PEM"):
        SigningKey.from_secret(SECRET).private_pem()


def test_a_key_signs_and_verifies_when_it_should() -> None:
    key = SigningKey.generate(signs_from=NOW, verifies_until=NOW + timedelta(days=2))
    before, in_time, after = (NOW + timedelta(days=days) for days in (-1, 1, 2))
    assert [key.signs_at(each) for each in (before, NOW, in_time, after)] == [
        False,
        True,
        True,
        False,
    ]
    assert [key.verifies_at(each) for each in (before, NOW, in_time, after)] == [
        True,
        True,
        True,
        False,
    ]


def test_times_may_be_of_any_zone() -> None:
    key = SigningKey.generate(signs_from=NOW.astimezone(timezone(timedelta(hours=5))))
    assert key.signs_from == NOW
    assert key.signs_at(NOW)


@pytest.mark.parametrize("moment", [datetime(2027, 1, 1), "2027-01-01", 7], ids=str)
def test_times_without_a_zone_are_refused(moment: Any) -> None:
    with pytest.raises(BadAuth, match="with a zone"):
        SigningKey.generate(signs_from=moment)


def test_a_key_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(BadAuth, match="before it signs"):
        SigningKey.generate(signs_from=NOW, verifies_until=NOW)
