"""A private key signs, its public half verifies, and only that half can be seen."""

import pickle
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from backstay.auth.key_pair import CURVES, KeyPair
from backstay.errors import BadAuth


@pytest.mark.parametrize("algorithm", CURVES)
def test_it_signs_and_verifies(algorithm: str) -> None:
    pair = KeyPair.generate(algorithm)
    signature = pair.sign(b"a.b")
    assert pair.algorithm == algorithm
    assert pair.verify(b"a.b", signature)
    assert not pair.verify(b"a.c", signature)
    for wrong in (b"", b"\0" * len(signature), signature[:-1], signature + b"\0", b"\xff" * 500):
        assert not pair.verify(b"a.b", wrong)
    assert not KeyPair.generate(algorithm).verify(b"a.b", signature)


@pytest.mark.parametrize("algorithm", CURVES)
def test_a_pem_of_it_is_the_same_key(algorithm: str) -> None:
    pair = KeyPair.generate(algorithm)
    again = KeyPair.from_pem(pair.private_pem())
    assert again.thumbprint() == pair.thumbprint()
    assert KeyPair.from_pem(pair.private_pem().encode()).verify(b"", pair.sign(b""))


def test_an_encrypted_pem_needs_its_password() -> None:
    key = ECKey.generate_key("P-256")
    pem = key.as_pem(private=True, password="open sesame")
    assert KeyPair.from_pem(pem, password="open sesame").thumbprint() == key.thumbprint()
    for password in (None, "wrong"):
        with pytest.raises(BadAuth, match="could not be read"):
            KeyPair.from_pem(pem, password=password)


@pytest.mark.parametrize("algorithm", CURVES)
def test_what_is_published_has_no_private_member(algorithm: str) -> None:
    published = KeyPair.generate(algorithm).public_jwk()
    assert set(published) <= {"kty", "crv", "x", "y"}
    assert published["crv"] == CURVES[algorithm]


@pytest.mark.parametrize("algorithm", CURVES)
def test_nothing_shows_the_private_half_by_accident(algorithm: str) -> None:
    key: Any = (OKPKey if algorithm == "EdDSA" else ECKey).generate_key(CURVES[algorithm])  # type: ignore[arg-type]  # one of its names
    pair = KeyPair.from_jwk(key.as_dict(private=True))
    secret = key.as_dict(private=True)["d"]
    assert secret not in repr(pair) + str(pair.public_jwk())
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(pair)


@pytest.mark.parametrize(
    ("members", "says"),
    [
        (RSAKey.generate_key(2048).as_dict(private=True), "kty='RSA'"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "kty='oct'"),
        ({}, "kty=None"),
        (ECKey.generate_key("P-521").as_dict(private=True), "P-521"),
        (ECKey.generate_key("secp256k1").as_dict(private=True), "secp256k1"),
        (OKPKey.generate_key("X25519").as_dict(private=True), "X25519"),
        (ECKey.generate_key("P-256").as_dict(private=False), "public key cannot sign"),
        ({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}, "could not be read"),
        ({"kty": "EC", "crv": "P-256", "x": 1, "y": 2, "d": 31415926}, "could not be read"),
        ({"kty": "OKP", "crv": "Ed25519"}, "could not be read"),
    ],
    ids=[
        "RSA",
        "secret",
        "nothing",
        "P-521",
        "secp256k1",
        "X25519",
        "public",
        "off the curve",
        "numbers",
        "no key",
    ],
)
def test_no_other_key_signs(members: dict[str, Any], says: str) -> None:
    with pytest.raises(BadAuth, match=says) as raised:
        KeyPair.from_jwk(members)
    assert str(members.get("d", "nothing")) not in str(raised.value)


@pytest.mark.parametrize(("kind", "curve"), [(ECKey, "P-256"), (OKPKey, "Ed25519")])
def test_halves_of_two_keys_are_no_key(kind: Any, curve: str) -> None:
    one, other = (kind.generate_key(curve).as_dict(private=True) for _ in range(2))
    with pytest.raises(BadAuth, match="could not be read|not that of its private half"):
        KeyPair.from_jwk({**one, "d": other["d"]})


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----",
        RSAKey.generate_key(2048).as_pem(private=True),
    ],
    ids=["empty", "nonsense", "RSA"],
)
def test_a_pem_of_something_else_is_refused_without_showing_it(pem: str | bytes) -> None:
    with pytest.raises(BadAuth, match="could not be read") as raised:
        KeyPair.from_pem(pem)
    assert "nonsense" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_public_pem_cannot_sign() -> None:
    with pytest.raises(BadAuth, match="public key cannot sign"):
        KeyPair.from_pem(ECKey.generate_key("P-256").as_pem(private=False))


def test_an_algorithm_that_is_unknown_is_named() -> None:
    with pytest.raises(BadAuth, match="RS256.*EdDSA, ES256, ES384"):
        KeyPair.generate("RS256")
