"""Secrets that people type are refused, those that machines make are not."""

import contextlib
import logging
import secrets
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from backstay.auth.secret_strength import check_secret
from backstay.errors import BadAuth, WeakSecret

GOOD = "mT0r4b1Zq8yVd6Xw2LkPz9Jc7HsGfN3eUaQvRiYo"

HOW = 'python -c "import secrets; print(secrets.token_urlsafe(48))"'

WEAK = [
    ("secret", "is 6 bytes long, 32 are needed"),
    ("changeme", "8 bytes"),
    ("your_secret_key_here", "20 bytes"),
    ("your-256-bit-secret", "published"),
    (GOOD[:31], "31 bytes"),
    (GOOD[:31] + "\n", "31 bytes"),
    (f"  {GOOD[:20]}            ", "20 bytes"),
    ("09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "published"),
    ("a-string-secret-at-least-256-bits-long", "published"),
    (
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        "published",
    ),
    ("django-insecure-5t)9w#x@k2v8!p&q0z_7m$r4n6b1c3d5f", "published"),
    ("x" * 64, "repeats itself"),
    ("0" * 32, "repeats itself"),
    ("0123456789" * 4, "repeats itself"),
    (GOOD[:16] * 2, "repeats itself"),
    (GOOD[:16] * 2 + GOOD[:5], "repeats itself"),
    ("aabbaabbbaabababbbababaabbbaabab", "2 different characters"),
    (string.ascii_lowercase + string.digits, "in a row"),
    (string.ascii_letters, "in a row"),
    (string.ascii_lowercase[::-1] + "9876543210", "in a row"),
    ("my-super-secret-production-jwt-key-change-me-please!!", "well-known words"),
    ("MySecretKey12345678901234567890123", "well-known words"),
    ("PASSWORD_password_Password_p4!!!!", "well-known words"),
    ("this is my very long and very secret signing key", "well-known words"),
    ("test_secret_key_for_testing_only_1234567890", "well-known words"),
    ("dev-secret-key-do-not-use-in-production", "well-known words"),
    ("qwertyuiop1234567890asdfghjklzxcvbnm", "well-known words"),
    ("ключ" * 8, "repeats itself"),
]


@pytest.mark.parametrize(("secret", "says"), WEAK, ids=lambda each: each[:20])
def test_what_could_be_guessed_is_refused(secret: str, says: str) -> None:
    with pytest.raises(WeakSecret, match=says) as caught:
        check_secret(secret, debug=False, what="SECRET_KEY")
    message = str(caught.value)
    assert message.startswith("SECRET_KEY ")
    assert HOW in message
    assert secret not in message.replace(HOW, "")
    assert secret not in caught.value.public_detail


@pytest.mark.parametrize(("secret", "says"), WEAK, ids=lambda each: each[:20])
def test_in_debug_mode_it_is_only_warned_of(
    secret: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "backstay"):
        assert check_secret(secret, debug=True, what="SECRET_KEY") == secret
    [record] = caplog.records
    assert says in record.getMessage()
    assert secret not in record.getMessage().replace(HOW, "")


def test_a_good_one_comes_back_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    for given_as in (GOOD, GOOD.encode(), bytearray(GOOD.encode()), SecretStr(GOOD)):
        assert check_secret(given_as, debug=False) == GOOD
    assert not caplog.records


@given(
    st.one_of(
        st.binary(min_size=48, max_size=48).map(lambda _: secrets.token_urlsafe(48)),
        st.binary(min_size=32, max_size=32).map(lambda _: secrets.token_urlsafe(32)),
        st.binary(min_size=16, max_size=16).map(lambda _: secrets.token_hex(16)),
        st.binary(min_size=16, max_size=16).map(lambda _: str(secrets.randbits(256) + 2**255)),
    )
)
def test_what_a_machine_made_is_good(secret: str) -> None:
    assert check_secret(secret, debug=False) == secret


@given(st.text())
def test_any_text_is_good_or_weak_and_never_an_error(secret: str) -> None:
    with contextlib.suppress(BadAuth):
        assert check_secret(secret, debug=False) == secret


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("secret", ["", " ", "\n", b"", SecretStr(""), None, 42, b"\xff\xfe" * 20])
def test_what_is_none_is_refused_in_debug_mode_too(secret: str, debug: bool) -> None:
    with pytest.raises(BadAuth) as caught:
        check_secret(secret, debug=debug)
    assert caught.value.__cause__ is None
    assert "xff" not in str(caught.value)


def test_a_megabyte_is_looked_at_in_no_time() -> None:
    text = secrets.token_urlsafe(750_000)
    assert check_secret(text, debug=False) is text
    with pytest.raises(WeakSecret):
        check_secret("ab" * 500_000 + "c", debug=False)
