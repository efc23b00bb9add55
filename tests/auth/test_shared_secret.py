"""A secret signs, verifies, and shows itself nowhere."""

import hashlib
import hmac
import pickle

import pytest

from backstay.auth.shared_secret import HASHES, SharedSecret
from backstay.errors import BadAuth
from tests.auth.service import OTHER_SECRET, SECRET


@pytest.mark.parametrize(("algorithm", "name"), HASHES.items())
def test_it_signs_as_others_do(algorithm: str, name: str) -> None:
    secret = SharedSecret(SECRET.encode(), algorithm)
    signature = secret.sign(b"a.b")
    assert signature == hmac.new(SECRET.encode(), b"a.b", getattr(hashlib, name)).digest()
    assert secret.verify(b"a.b", signature)
    assert not secret.verify(b"a.c", signature)
    assert not secret.verify(b"a.b", signature[:-1])
    assert not secret.verify(b"a.b", b"")


def test_a_signature_of_another_secret_or_algorithm_is_none() -> None:
    signature = SharedSecret(SECRET.encode()).sign(b"a.b")
    assert not SharedSecret(OTHER_SECRET.encode()).verify(b"a.b", signature)
    assert not SharedSecret(SECRET.encode(), "HS384").verify(b"a.b", signature)


@pytest.mark.parametrize("algorithm", ["none", "None", "", "hs256", "RS256", "ES256", "EdDSA"])
def test_no_other_algorithm_works_with_a_secret(algorithm: str) -> None:
    with pytest.raises(BadAuth, match="HS256, HS384, HS512"):
        SharedSecret(SECRET.encode(), algorithm)


@pytest.mark.parametrize(
    "key",
    [
        b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
        b"my key: -----BEGIN PRIVATE KEY-----",
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI",
        b'{"kty":"OKP"}',
    ],
    ids=["public PEM", "private PEM", "SSH", "JWK"],
)
def test_a_key_of_another_kind_is_no_secret(key: bytes) -> None:
    with pytest.raises(BadAuth, match="is no secret"):
        SharedSecret(key)


def test_an_empty_secret_is_none() -> None:
    with pytest.raises(BadAuth, match="empty"):
        SharedSecret(b"")


def test_nothing_shows_it() -> None:
    secret = SharedSecret(SECRET.encode())
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    assert SECRET not in repr(secret)
    assert secret.thumbprint() not in digest
    assert secret.public_jwk() is None  # type: ignore[func-returns-value]  # that is the point
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def test_its_name_is_always_the_same_and_tells_it_from_others() -> None:
    assert SharedSecret(SECRET.encode()).thumbprint() == SharedSecret(SECRET.encode()).thumbprint()
    assert SharedSecret(SECRET.encode()).thumbprint() != SharedSecret(b"x").thumbprint()
