"""One key follows another, known before it signs and believed after it stopped."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backstay.auth import Keyring, SigningKey
from backstay.errors import BadAuth
from tests.auth.service import OTHER_SECRET, SECRET

NOW = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_the_newest_that_has_begun_signs() -> None:
    old = SigningKey.generate(kid="old")
    new = SigningKey.generate(kid="new", signs_from=NOW)
    newest = SigningKey.generate(kid="newest", signs_from=NOW + DAY)
    for ring in (Keyring(old, new, newest), Keyring(newest, new, old)):
        assert ring.signing_key(NOW - DAY) is old
        assert ring.signing_key(NOW) is new
        assert ring.signing_key(NOW + DAY) is newest


def test_of_those_that_say_nothing_the_first_signs() -> None:
    one, other = SigningKey.generate(), SigningKey.generate()
    assert Keyring(one, other).signing_key(NOW) is one


def test_a_key_that_has_ended_neither_signs_nor_verifies_nor_is_published() -> None:
    old = SigningKey.generate(kid="old", verifies_until=NOW)
    new = SigningKey.generate(kid="new", signs_from=NOW)
    ring = Keyring(old, new)
    assert ring.find(old.header, NOW - DAY) is old
    assert ring.find(old.header, NOW) is None
    assert ring.writes(old.header), "its tokens are nobody else's, either"
    assert [each["kid"] for each in ring.jwks(NOW - DAY)["keys"]] == ["new", "old"]
    assert [each["kid"] for each in ring.jwks(NOW)["keys"]] == ["new"]


def test_that_no_key_signs_is_said() -> None:
    ring = Keyring(SigningKey.generate(kid="later", signs_from=NOW + DAY))
    with pytest.raises(BadAuth, match=r"none of the keys \['later'\] signs at 2027-01-01"):
        ring.signing_key(NOW)


@pytest.mark.parametrize("header", ["", "e30", "x" * 1000])
def test_a_header_that_no_key_writes_finds_none(header: str) -> None:
    ring = Keyring(SigningKey.generate())
    assert not ring.writes(header)
    assert ring.find(header, NOW) is None


def test_what_is_published_has_no_private_member_and_no_secret() -> None:
    pairs = [SigningKey.generate(algorithm) for algorithm in ("EdDSA", "ES256", "ES384")]
    ring = Keyring(SigningKey.from_secret(SECRET), *pairs)
    published = ring.jwks(NOW)["keys"]
    assert [each["kid"] for each in published] == [each.kid for each in pairs]
    for each in published:
        assert set(each) <= {"kty", "crv", "x", "y", "kid", "alg", "use"}
        assert each["kty"] in {"EC", "OKP"}
    text = json.dumps(published)
    assert SECRET not in text
    for pair in pairs:
        body = "".join(pair.private_pem().splitlines()[1:-1])
        assert body[40:60] not in text
    assert ring.has_public_keys
    assert not Keyring(SigningKey.from_secret(SECRET)).has_public_keys


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ((), "needs a key"),
        ((SECRET,), "got a str"),
        (([SigningKey.from_secret(SECRET)],), "got a list"),
        ((SigningKey.from_secret(SECRET), SigningKey.from_secret(SECRET)), "same id"),
        (
            (
                SigningKey.from_secret(SECRET, kid="a"),
                SigningKey.from_secret(OTHER_SECRET, kid="a"),
            ),
            r"\['a'\]",
        ),
    ],
    ids=["none", "text", "list", "twice", "one name"],
)
def test_a_keyring_that_could_not_work_is_refused(keys: Any, says: str) -> None:
    with pytest.raises(BadAuth, match=says):
        Keyring(*keys)


def test_nothing_shows_a_secret() -> None:
    assert SECRET not in repr(Keyring(SigningKey.from_secret(SECRET)))
