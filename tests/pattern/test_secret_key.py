"""The secret key is a good one, and everybody who needs it has it."""

import secrets
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from backstay.errors import BadPattern, WeakSecret
from backstay.pattern.secret_key import read_secret_key, use_secret_key
from backstay.web import install

GOOD = "kN5v0Yw2_Qm8rT1xLz7cHs4bJf9GdUa3Ee6iPoRyW1uVtXq2"


@pytest.mark.parametrize(
    "weak", ["hunter2", "change-me-please-change-me-please-ok", "x" * 64, f"{GOOD},hunter2"]
)
def test_a_weak_key_is_refused_outside_debug(weak: str) -> None:
    with pytest.raises(WeakSecret) as refusal:
        read_secret_key(weak, debug=False)
    assert weak not in str(refusal.value)
    assert read_secret_key(weak, debug=True) == weak


def test_a_good_one_is_taken_as_it_is() -> None:
    assert read_secret_key(GOOD, debug=False) == GOOD
    assert read_secret_key(SecretStr(GOOD), debug=False) == GOOD
    assert read_secret_key(None, debug=False) is None
    both = f"{GOOD}, {secrets.token_urlsafe(48)}"
    assert read_secret_key(both, debug=False) == both


@pytest.mark.parametrize("wrong", ["", " ", ",", 7, b"x" * 40, [GOOD]])
def test_what_is_no_key_is_refused_without_being_shown(wrong: Any) -> None:
    with pytest.raises(BadPattern) as refusal:
        read_secret_key(wrong, debug=True)
    assert GOOD not in str(refusal.value)


def test_cursors_and_sealed_arguments_use_it_unless_they_have_their_own() -> None:
    app = FastAPI()
    backstay = install(app, settings={"OTHER": "1"})
    use_secret_key(app, backstay, GOOD)
    assert app.state.SECRET_KEY == GOOD
    assert backstay.settings.get("BACKSTAY_SECRET_KEY") == GOOD
    app = FastAPI()
    backstay = install(app, settings={"BACKSTAY_SECRET_KEY": "own"})
    use_secret_key(app, backstay, GOOD)
    assert backstay.settings.get("BACKSTAY_SECRET_KEY") == "own"
