"""The app's secret key: checked, and known to everything that signs or seals."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import SecretStr

from backstay.app import Backstay
from backstay.errors import BadPattern
from backstay.jobs.secret import SETTING

__all__ = ["read_secret_key", "use_secret_key"]


def read_secret_key(given: str | SecretStr | None, *, debug: bool) -> str | None:
    """The key, checked.

    Args:
        given: one key, or several separated by commas: the first signs, all of them verify.
        debug: whether weak ones will do.

    Raises:
        BadPattern: it is no text, or there is nothing in it.
        WeakSecret: one is weak, outside of debug mode.
    """
    if given is None:
        return None
    text = given.get_secret_value() if isinstance(given, SecretStr) else given
    if not isinstance(text, str):
        raise BadPattern(f"secret_key= is a text; got one of type {type(given).__qualname__}")
    keys = [key for each in text.split(",") if (key := each.strip())]
    if not keys:
        raise BadPattern(
            "secret_key= is empty; leave it away where there is none, or give one that nobody can "
            'guess: python -c "import secrets; print(secrets.token_urlsafe(32))" makes one'
        )
    from backstay.auth.secret_strength import check_secret

    for key in keys:
        check_secret(key, debug=debug, what="secret_key=")
    return text


def use_secret_key(app: FastAPI, backstay: Backstay, secret_key: str) -> None:
    """Keep it as ``app.state.SECRET_KEY``, and for cursors and sealed arguments.

    The setting ``BACKSTAY_SECRET_KEY`` is those others' own, and wins where it has a value.
    """
    app.state.SECRET_KEY = secret_key
    backstay.settings.set_default(SETTING, secret_key)
