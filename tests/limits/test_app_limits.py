"""What an app's limits have in common belongs to the app."""

from fastapi import FastAPI

from backstay.limits import add_limits
from backstay.limits.app_limits import limits_of
from backstay.web import install


def test_an_app_without_add_limits_gets_memory_of_its_own_when_it_is_needed() -> None:
    one, other = install(FastAPI()), install(FastAPI())
    assert limits_of(one) is limits_of(one)
    assert limits_of(one) is not limits_of(other)
    assert limits_of(one).limiter.store.is_local


def test_an_app_with_it_has_what_it_was_told() -> None:
    app = FastAPI()
    part = add_limits(app, "memory", by="ip", headers=False, legacy_headers=True, fail="closed")
    found = limits_of(app.state.backstay)
    assert found is part.app_limits
    assert (found.by, found.headers, found.legacy_headers) == ("ip", False, True)
    assert found.limiter.fail == "closed"
