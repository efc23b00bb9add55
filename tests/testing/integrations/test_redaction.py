"""Secrets are removed wherever they are and however they are written; what is left can be read."""

import base64
import html
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from backstay.errors import BadEvents
from backstay.testing.integrations.redaction import MASK, NIL, Redaction

SECRET = 'k/9+"z é&='
FORMS = {
    "plain": SECRET,
    "quoted": quote(SECRET),
    "quoted_all": quote(SECRET, safe=""),
    "quoted_plus": quote_plus(SECRET),
    "quoted_small": quote(SECRET, safe="").lower(),
    "quoted_twice": quote(quote(SECRET, safe=""), safe=""),
    "json": json.dumps(SECRET)[1:-1],
    "json_utf8": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "html": html.escape(SECRET),
    "hex": SECRET.encode().hex().upper(),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64_url": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    "basic_user": base64.b64encode(f"{SECRET}:x".encode()).decode(),
    "basic_password": base64.b64encode(f"u:{SECRET}".encode()).decode(),
    "basic_long": base64.b64encode(f"user:{SECRET}:more".encode()).decode(),
}


@pytest.fixture
def redaction() -> Redaction:
    made = Redaction()
    made.learn_all(
        {"key": SECRET, "inner": [{"pin": 123456}, b"bytes-secret", SecretStr("hidden")]}
    )
    return made


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_secret_goes_in_each_of_its_forms(form: str, redaction: Redaction) -> None:
    written = FORMS[form]
    shown = redaction.text(f"before {written} after")
    assert written not in shown
    assert shown == f"before {MASK} after"
    assert redaction.tree({"x": [f"<{written}>", written]})["x"][1] in {MASK, MASK}


def test_every_credential_counts_also_numbers_and_bytes(redaction: Redaction) -> None:
    assert redaction.tree([123456, "id 123456!", "bytes-secret", "hidden", 12]) == [
        0,
        f"id {MASK}!",
        MASK,
        MASK,
        12,
    ]
    assert redaction.bytes(b"\xffhidden\xff") == b"\xff***\xff"


def test_short_ones_count_where_they_stand_alone() -> None:
    redaction = Redaction()
    redaction.learn_all({"user": "bob", "shard": 7, "zone": "12"})
    assert redaction.tree(["bob", "bobby", 7, "7", "12"]) == [MASK, "bobby", 7, "7", "12"]


@given(st.text(min_size=4, max_size=30), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_around_a_secret_tells_nothing_of_it(
    secret: str, before: bytes, after: bytes
) -> None:
    redaction = Redaction()
    redaction.learn_all([secret])
    whole = before + secret.encode("utf-8", "replace") + after
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert redaction.known(encode(whole).decode()).strip("=") == MASK


def test_what_has_the_name_of_a_secret_goes_and_keeps_its_form() -> None:
    redaction = Redaction()
    value = {
        "password": "x",
        "access_token": "abc",
        "card": {"cvc": 123, "cvv": ""},
        "credentials": {"user": "u", "is_admin": True, "list": ["a", 1, None]},
        "session_id": "8b2a0f0e-3f3c-4f64-9d1c-0d3b0f5a7c11",
        "token_type": "Bearer",
        "usage": {"input_tokens": 5},
        "next_page_token": "p2",
        "cursorToken": "c2",
        "headers": [{"name": "Authorization", "value": "v"}, {"name": "Accept", "value": "v"}],
    }
    assert redaction.tree(value) == {
        "password": MASK,
        "access_token": MASK,
        "card": {"cvc": 0, "cvv": ""},
        "credentials": {"user": MASK, "is_admin": True, "list": [MASK, 0, None]},
        "session_id": NIL,
        "token_type": "Bearer",
        "usage": {"input_tokens": 5},
        "next_page_token": "p2",
        "cursorToken": "c2",
        "headers": [{"name": "Authorization", "value": MASK}, {"name": "Accept", "value": "v"}],
    }


def test_what_looks_like_a_secret_goes() -> None:
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    assert Redaction().tree({"a": f"see {jwt}", "b": "4111 1111 1111 1111"}) == {
        "a": f"see {MASK}",
        "b": MASK,
    }


def test_names_may_be_added_and_kept() -> None:
    redaction = Redaction(names=["licence"], keep=["session_id", "region"])
    redaction.learn_all({"region": "eu-west-1"})
    value = {"licence_no": "L-1", "session_id": "4111 1111 1111 1111", "where": "eu-west-1"}
    assert redaction.tree(value) == {**value, "licence_no": MASK}
    stricter = Redaction(names=["page_token", "token_type"])
    assert stricter.tree({"page_token": "a", "token_type": "b", "next_token": "c"}) == {
        "page_token": MASK,
        "token_type": MASK,
        "next_token": "c",
    }
    with pytest.raises(BadEvents):
        Redaction(names=[""])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=abc&page=2", f"password={MASK}&page=2"),
        ("token_type=x input_tokens: 5", "token_type=x input_tokens: 5"),
        ('{"token": "a", "n": 1}', f'{{"token": "{MASK}", "n": 1}}'),
        ('{"n":1}\n{"token":"a"}\n', f'{{"n":1}}\n{{"token": "{MASK}"}}\n'),
        ('data: {"pin":1}\n\ndata: [DONE]\n', 'data: {"pin": 0}\n\ndata: [DONE]\n'),
        ("<Password>abc</Password><n>1</n>", f"<Password>{MASK}</Password><n>1</n>"),
        ('<s:Token a="1">abc</s:Token>', f'<s:Token a="1">{MASK}</s:Token>'),
        (
            "{\n-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n",
            f"{{\n{MASK} PRIVATE KEY-----\n",
        ),
    ],
    ids=["form", "kept", "json", "lines", "events", "xml", "xml_prefix", "pem"],
)
def test_texts_stay_what_they_are(text: str, shown: str) -> None:
    assert Redaction().text(text) == shown


def test_headers_and_pairs_go_by_their_names() -> None:
    redaction = Redaction()
    headers = [
        ("set-cookie", "sid=abc; Path=/"),
        ("x-api-key", "k"),
        ("link", "<http://a?token=b>"),
    ]
    assert redaction.headers(headers) == [
        ["set-cookie", f"sid={MASK}; Path=/"],
        ["x-api-key", MASK],
        ["link", f"<http://a?token={MASK}"],
    ]
    assert redaction.pairs([("api_key", "k"), ("q", "x")]) == [["api_key", MASK], ["q", "x"]]


def test_what_requests_prove_is_known_from_then_on() -> None:
    redaction = Redaction()
    basic = base64.b64encode(b"user-1:pass-2").decode()
    redaction.learn_headers(
        [
            ("Authorization", f"Basic {basic}"),
            ("Cookie", "a=cookie-value-1; b=cookie-value-2"),
            ("X-Own", "own-secret"),
            ("Accept", "text/plain"),
        ],
        names=["x-own"],
    )
    said = f"{basic} user-1 pass-2 cookie-value-1 cookie-value-2 own-secret text/plain Basic"
    assert redaction.known(said) == f"{' '.join([MASK] * 6)} text/plain Basic"


def test_words_under_a_secrets_name_in_answers_are_no_secrets() -> None:
    redaction = Redaction()
    redaction.learn_from({"token": "required", "secret": "s3cr3t-long", "pin": 1})
    assert redaction.known("required s3cr3t-long 1") == f"required {MASK} 1"
    redaction.learn_from({"password": "required"}, certain=True)
    assert redaction.known("required") == MASK


def test_removing_twice_is_removing_once(redaction: Redaction) -> None:
    value: Any = {"token": SECRET, "text": f"x {SECRET}", "id": NIL, "path": quote(f"/{SECRET}/")}
    once = redaction.tree(value)
    assert redaction.tree(once) == once
    path = redaction.path("/bot" + quote(SECRET, safe=""))
    assert redaction.path(quote(path)) == path == f"/bot{MASK}"


def test_a_large_text_stays_as_it_is_and_takes_no_time(redaction: Redaction) -> None:
    blob = base64.b64encode(bytes(range(256))[::-1] * 500).decode()
    assert redaction.text(blob) == blob
