"""Secrets are learned from everything that a call keeps them in."""

import httpx
import pytest

from backstay.integration import endpoint_of
from backstay.integration.http.carried_secrets import CARRIED, CarriedSecrets
from backstay.testing.integrations.learning import (
    learn_answer,
    learn_call,
    learn_request,
    learn_sent,
)
from backstay.testing.integrations.redaction import MASK, Redaction
from tests.testing.integrations.bank import Bank


@pytest.fixture
def redaction() -> Redaction:
    return Redaction()


def test_an_instance_tells_its_credentials_and_its_auth(redaction: Redaction) -> None:
    bank = Bank("http://a/x", credentials={"T": "cred-c"}, auth=("name-d", "pass-e"))
    anything = endpoint_of(Bank.anything)
    learn_call(redaction, anything, bank, ("where",), {"password": "arg-f", "q": "harmless"})
    known = redaction.known("cred-c name-d pass-e arg-f harmless where")
    assert known == f"{' '.join([MASK] * 4)} harmless where"


def test_an_auth_object_tells_what_it_keeps_under_a_secrets_name(redaction: Redaction) -> None:
    class Auth:
        def __init__(self) -> None:
            self._client_secret = "s-12345"
            self.token_url = "http://tokens"
            self.name = "someone"

    bank = Bank("http://a", auth=Auth())
    learn_call(redaction, endpoint_of(Bank.charges), bank, (), {})
    assert redaction.known("s-12345 http://tokens someone") == f"{MASK} http://tokens someone"


def test_a_request_tells_what_it_proves(redaction: Redaction) -> None:
    request = {
        "query": [["api_key", "query-1"], ["q", "harmless"]],
        "body": {"json": {"password": "body-2"}},
    }
    learn_request(redaction, request, httpx.Headers({"Authorization": "Bearer head-3"}))
    forms = {"body": {"form": [["pin", "form-4"]]}}
    learn_request(redaction, forms, httpx.Headers())
    parts = {"body": {"parts": [{"name": "secret", "text": "part-5"}, {"name": "photo"}]}}
    learn_request(redaction, parts, httpx.Headers())
    known = redaction.known("query-1 body-2 head-3 form-4 part-5 harmless")
    assert known == f"{' '.join([MASK] * 5)} harmless"


def test_what_auth_has_added_is_known(redaction: Redaction) -> None:
    request = httpx.Request(
        "GET", "http://a?page=pa-1&k=key-2&token=tok-3", headers={"X-Own": "own-4"}
    )
    request.extensions = {CARRIED: CarriedSecrets(frozenset(), frozenset({"x-own"}), None)}
    learn_sent(redaction, request, "http://a?page=pa-1")
    learn_sent(redaction, None, "http://a")
    assert redaction.known("pa-1 key-2 tok-3 own-4") == f"pa-1 {MASK} {MASK} {MASK}"


def test_an_answer_tells_tokens_that_it_gives(redaction: Redaction) -> None:
    learn_answer(
        redaction,
        {
            "status": 200,
            "headers": [["set-cookie", "sid=cookie-1-long; Path=/path-is-none"]],
            "body": {"json": {"access_token": "token-2-long", "token_type": "bearer-like"}},
        },
    )
    learn_answer(redaction, {"error": "ConnectError"})
    known = redaction.known("cookie-1-long /path-is-none token-2-long bearer-like")
    assert known == f"{MASK} /path-is-none {MASK} bearer-like"
