"""Which keys are taken and which headers are; forged tokens are in test_jwt."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from backstay.auth.signature import (
    ALGORITHMS,
    read_algorithms,
    read_header,
    read_keys,
    verify_signature,
)
from backstay.auth.token import BadToken
from tests.auth.issuer import encode, key_of, sign


def published(kind: str, **changes: Any) -> dict[str, Any]:
    found = {**key_of(kind).as_dict(private=False), **changes}
    return {name: value for name, value in found.items() if value is not None}


def read_one(members: dict[str, Any]) -> frozenset[str]:
    """The algorithms that a key is taken for, none if it is passed over."""
    keys = read_keys({"keys": [members]})
    assert keys is not None
    return keys[0].algorithms if keys else frozenset()


RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


@pytest.mark.parametrize(
    ("members", "algorithms"),
    [
        (published("RSA"), RSA),
        (published("RSA", alg="PS256"), {"PS256"}),
        (published("P-256"), {"ES256"}),
        (published("P-384"), {"ES384"}),
        (published("P-521"), {"ES512"}),
        (published("Ed25519"), {"EdDSA", "Ed25519"}),
        (published("Ed25519", alg="EdDSA"), {"EdDSA", "Ed25519"}),
        (published("Ed25519", alg="Ed25519"), {"EdDSA", "Ed25519"}),
        (published("Ed448"), {"EdDSA", "Ed448"}),
        (published("P-256", use="sig", key_ops=["verify"]), {"ES256"}),
        # What else is in a key is nobody's business.
        (published("P-256", x5u=5, x5c="?", ext=True), {"ES256"}),
    ],
)
def test_a_key_is_for_the_algorithms_of_its_kind(
    members: dict[str, Any], algorithms: set[str]
) -> None:
    assert read_one(members) == algorithms


@pytest.mark.parametrize(
    "members",
    [
        published("RSA", use="enc"),
        published("RSA", alg="RSA-OAEP"),
        published("RSA", alg="HS256"),
        published("RSA", alg=["RS256"]),
        published("P-256", alg="ES384"),
        published("P-256", key_ops=["sign"]),
        published("P-256", key_ops="verify"),
        published("P-256", crv="P-384"),
        published("P-256", crv=["P-256"]),
        published("P-256", crv="secp256k1"),
        published("P-256", y=None),
        published("P-256", kty="RSA"),
        published("P-256", kty=["EC"]),
        published("RSA", n="AQAB"),
        published("RSA", n="!"),
        published("RSA", n=5),
        published("RSA", e="AA"),
        published("Ed25519", crv="X25519"),
        published("Ed25519", x="AAAA"),
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
        {},
    ],
)
def test_other_keys_are_passed_over(members: dict[str, Any]) -> None:
    assert read_one(members) == frozenset()


def test_rsa_keys_that_are_too_short_are_passed_over() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weak = RSAKey.generate_key(1024)
        modulus = str(weak.as_dict(private=False)["n"])
        # Zeros in front make it no longer. Warnings stay off: nobody relies on one to stop this.
        assert read_one({"kty": "RSA", "n": modulus, "e": "AQAB"}) == frozenset()
        assert read_one({"kty": "RSA", "n": "AAAA" * 64 + modulus, "e": "AQAB"}) == frozenset()


def test_a_private_key_that_was_published_is_used_as_a_public_one() -> None:
    keys = read_keys({"keys": [key_of("P-256").as_dict(private=True)]})
    assert keys is not None
    assert not keys[0].key.is_private


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": "x"}, {"keys": {"a": 1}}])
def test_what_has_no_list_of_keys_is_no_key_set(document: dict[str, Any]) -> None:
    assert read_keys(document) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["kty", "crv", "alg", "use", "key_ops", "kid", "n", "e", "x", "y"])
KNOWN = st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "sig", "ES256", "AQAB", "AAAA"])


@given(st.lists(st.dictionaries(NAMES, JSON | KNOWN) | JSON))
def test_no_key_set_is_an_error(keys: list[Any]) -> None:
    assert read_keys({"keys": keys}) is not None


def test_keys_of_the_same_name_are_all_tried() -> None:
    members = [
        {**key_of("P-256", number).as_dict(private=False), "kid": "one"} for number in range(2)
    ]
    keys = read_keys({"keys": [*members, published("RSA", kid="one")]})
    assert keys is not None
    for number in range(2):
        token = sign({"alg": "ES256", "kid": "one"}, b"{}", key_of("P-256", number))
        header = read_header(token, ALGORITHMS)
        assert verify_signature(token, header, keys) == b"{}"


def test_the_old_and_the_new_name_of_eddsa_give_no_warning() -> None:
    keys = read_keys({"keys": [published("Ed25519")]})
    assert keys is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokens = [sign({"alg": alg}, b"{}", key_of("Ed25519")) for alg in ("EdDSA", "Ed25519")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for token in tokens:
            assert verify_signature(token, read_header(token, ALGORITHMS), keys) == b"{}"


def test_a_long_header_is_read() -> None:
    header = {"alg": "ES256", "x5c": ["A" * 6000]}
    token = sign(header, b"{}", key_of())
    keys = read_keys({"keys": [published("P-256")]})
    assert keys is not None
    assert verify_signature(token, read_header(token, ALGORITHMS), keys) == b"{}"


@pytest.mark.parametrize("kid", [1, "", "x" * 257, None.__class__, ["one"]], ids=repr)
def test_a_kid_is_a_short_text(kid: object) -> None:
    header = {"alg": "ES256", "kid": kid if not isinstance(kid, type) else {}}
    with pytest.raises(BadToken, match="its kid"):
        read_header(f"{encode(header)}.AAAA.AAAA", ALGORITHMS)


def test_algorithms_are_a_list() -> None:
    with pytest.raises(TypeError, match="algorithms is a list of strings"):
        read_algorithms("RS256")
