"""What secrets look like is told from what only sounds like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.events.secret_patterns import SHAPES, card_number, words_of


def found_by_shape(text: str) -> str:
    for hints, pattern in SHAPES:
        if any(hint in text.lower() for hint in hints):
            text = pattern.sub(lambda found: f"{found.groupdict().get('kept') or ''}#", text)
    return text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("apiKey", ["api", "key"]),
        ("API_KEY", ["api", "key"]),
        ("x-api-key", ["x", "api", "key"]),
        ("HTTPAuthToken2", ["http", "auth", "token", "2"]),
        ("user[password]", ["user", "password"]),
        ("пароль", ["пароль"]),
        ("", []),
        ("--", []),
    ],
)
def test_names_are_read_as_words_however_they_are_written(name: str, words: list[str]) -> None:
    assert words_of(name) == words


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Bearer abc.def-_~+/=", "Bearer #"),
        ("said bearer  abc, and left", "said bearer  #, and left"),
        ("Basic dXNlcjpwYXNz", "Basic #"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "#"),
        ("/verify/eyJhbGciOiJub25lIn0.eyJzdWIi", "/verify/#"),
        ("the key bsk_ABC234_secret-part_abcdef was used", "the key # was used"),
        ("bsr_0123456789", "#"),
        ("ghp_0123456789abcdefABCD", "#"),
        ("sk_live_0123456789abcdef", "#"),
        ("sk-proj-0123456789abcdef", "#"),
        ("AKIAIOSFODNN7EXAMPLE", "#"),
        ("$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "#"),
        ("$2b$12$KIXQ6JwT6.salt.and.hash", "#"),
        ("postgresql://shop:p/a@ss@db/shop is down", "postgresql://shop:#@db/shop is down"),
        ("redis://:hunter2@cache:6379/0", "redis://:#@cache:6379/0"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----",
            "# RSA PRIVATE KEY-----",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "#"),
        (
            "[SQL: INSERT INTO users VALUES (?, ?)]\n[parameters: ('bob', 'h]unter2')]\n(Background on",
            "[SQL: INSERT INTO users VALUES (?, ?)]\n[parameters: #]\n(Background on",
        ),
        ("DETAIL:  Failing row contains (7, bob, hunter2).", "DETAIL:  Failing row contains #"),
        ("Key (code)=(hunter2) already exists.", "Key (code)=# already exists."),
        (
            "[type=int_parsing, input_value='hunter2', input_type=str]",
            "[type=int_parsing, input_value=#, input_type=str]",
        ),
    ],
)
def test_secrets_are_known_by_their_shape(text: str, left: str) -> None:
    assert found_by_shape(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "basic authentication is not enough",
        "the risk_free rate and bsk_ alone",
        "http://localhost:8000/docs",
        "mailto:someone@example.com",
        "see https://example.com/a:b",
        "the price is $2 and $5",
        "task-0123456789abcdef",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert found_by_shape(text) == text


@pytest.mark.parametrize(
    "number",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "378282246310005",
        "6304000000000000",
    ],
)
def test_numbers_of_cards_are_found(number: str) -> None:
    assert card_number(f"paid with {number}.", "#") == "paid with #."


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # a wrong check digit
        "1700000000000",  # a time in milliseconds
        "0000000000000000",
        "00000000000000000000000000000001",
        "12345678-1234-4123-8123-123456789012",
        "order4111111111111111",
        "41111111111111110000000",
    ],
)
def test_other_long_numbers_stay(text: str) -> None:
    assert card_number(text, "#") == text


@given(st.lists(st.integers(0, 9), min_size=12, max_size=18))
def test_every_number_with_the_right_check_digit_is_a_card_s(digits: list[int]) -> None:
    with_check = next(
        text for check in range(10) if _luhn(text := "".join(map(str, [*digits, check])))
    )
    if len(set(with_check)) > 1:
        assert card_number(with_check, "#") == "#"


def _luhn(text: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(text)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
