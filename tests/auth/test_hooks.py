"""What an app says about its users, in whichever way it is written."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest

from backstay.auth import BaseAuthJWT
from backstay.auth.hooks import Hooks
from backstay.errors import BadAuth
from tests.support import async_test


class NoSelf(BaseAuthJWT):
    async def check_auth(username: str, password: str) -> bool:  # type: ignore[misc]  # as documented
        return (username, password) == ("ada", "x")

    async def add_jwt_body(username: str) -> dict:  # type: ignore[misc,type-arg]  # as documented
        return {"version": username.title()}


class NoSelfSync(BaseAuthJWT):
    def check_auth(username: str, password: str) -> bool:  # type: ignore[misc]  # as the original had it
        return (username, password) == ("ada", "x")

    def add_jwt_body(username: str) -> dict:  # type: ignore[misc,type-arg]  # as the original had it
        return {"version": username.title()}


class Static(BaseAuthJWT):
    @staticmethod
    async def check_auth(username: str, password: str) -> bool:
        return (username, password) == ("ada", "x")

    @staticmethod
    def add_jwt_body(username: str) -> dict[str, Any]:
        return {"version": username.title()}


class OfTheClass(BaseAuthJWT):
    known = "ada"

    @classmethod
    async def check_auth(cls, username: str, password: str) -> bool:
        return (username, password) == (cls.known, "x")

    @classmethod
    def add_jwt_body(cls, username: str) -> dict[str, Any]:
        return {"version": username.title()}


class WithSelf(BaseAuthJWT):
    def __init__(self, known: str = "ada") -> None:
        self.known = known

    async def check_auth(self, username: str, password: str) -> bool:
        return (username, password) == (self.known, "x")

    def add_jwt_body(self, username: str) -> dict[str, Any]:
        return {"version": username.title()}


class Mixed(WithSelf):
    async def check_auth(username: str, password: str) -> bool:  # type: ignore[misc,override]  # as documented
        return (username, password) == ("ada", "x")


class Renamed(BaseAuthJWT):
    async def check_auth(this, name: str, secret: str) -> bool:
        assert isinstance(this, Renamed)
        return (name, secret) == ("ada", "x")

    add_jwt_body = staticmethod(lambda name: {"version": name.title()})


class Inherited(NoSelf):
    pass


class Callables(BaseAuthJWT):
    check_auth = functools.partial(
        lambda known, name, secret: (name, secret) == (known, "x"), "ada"
    )
    add_jwt_body = functools.partial(lambda name: {"version": name.title()})


WAYS = [
    NoSelf,
    NoSelfSync,
    Static,
    OfTheClass,
    WithSelf,
    WithSelf("ada"),
    NoSelf(),
    Mixed,
    Renamed,
    Inherited,
    Callables,
]


@pytest.mark.parametrize("declared", WAYS, ids=lambda each: getattr(each, "__name__", "instance"))
@async_test
async def test_every_way_of_writing_them_works(declared: Any) -> None:
    hooks = Hooks(declared)
    assert await hooks.check_auth("ada", "x") is True
    assert await hooks.check_auth("ada", "y") is False
    assert await hooks.check_auth("eve", "x") is False
    assert (await hooks.add_jwt_body("ada")).claims["version"] == "Ada"
    assert await hooks.check_refresh("ada") is True


@async_test
async def test_an_instance_keeps_what_it_was_made_with() -> None:
    assert await Hooks(WithSelf("bob")).check_auth("bob", "x")
    assert not await Hooks(WithSelf("bob")).check_auth("ada", "x")


@async_test
async def test_a_function_given_to_one_instance_is_that_ones() -> None:
    one: Any = WithSelf()
    one.check_auth = lambda username, password: username == "eve"
    assert await Hooks(one).check_auth("eve", "")
    assert not await Hooks(WithSelf()).check_auth("eve", "")


@async_test
async def test_sync_ones_run_in_a_thread_and_async_ones_do_not() -> None:
    seen: list[threading.Thread] = []

    class Watching(BaseAuthJWT):
        def check_auth(self, username: str, password: str) -> bool:
            seen.append(threading.current_thread())
            return True

        async def add_jwt_body(self, username: str) -> dict[str, Any]:
            seen.append(threading.current_thread())
            return {}

    hooks = Hooks(Watching)
    await hooks.check_auth("ada", "x")
    await hooks.add_jwt_body("ada")
    assert [each is threading.main_thread() for each in seen] == [False, True]


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that many write: sync around async."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


@async_test
async def test_an_async_one_behind_a_sync_decorator_is_awaited() -> None:
    class Decorated(BaseAuthJWT):
        @wrapped
        async def check_auth(self, username: str, password: str) -> bool:
            return password == "x"

    assert await Hooks(Decorated).check_auth("ada", "x") is True
    assert await Hooks(Decorated).check_auth("ada", "y") is False


TRUTHY = {
    "1": 1,
    "text": "yes",
    "dict": {"id": 1, "password": "hunter2"},
    "list": [True],
    "object": object(),
    "0": 0,
    "None": None,
    "empty": "",
    "class": bool,
}


@pytest.mark.parametrize("answer", TRUTHY.values(), ids=TRUTHY.keys())
@pytest.mark.parametrize("name", ["check_auth", "check_refresh"])
@async_test
async def test_what_is_not_exactly_true_or_false_lets_nobody_in(name: str, answer: Any) -> None:
    class Vague(BaseAuthJWT):
        async def check_auth(self, username: str, password: str) -> Any:
            return answer

        async def check_refresh(self, username: str) -> Any:
            return answer

    hooks = Hooks(Vague)
    with pytest.raises(BadAuth, match=f"{name} returned a {type(answer).__name__}") as raised:
        await (hooks.check_auth("ada", "x") if name == "check_auth" else hooks.check_refresh("ada"))
    assert "hunter2" not in str(raised.value)


@async_test
async def test_a_coroutine_that_nobody_awaited_lets_nobody_in() -> None:
    made = []

    class Forgetful(BaseAuthJWT):
        async def check_auth(self, username: str, password: str) -> Any:
            made.append(self.look(username, password))
            return made[-1]

        async def look(self, username: str, password: str) -> bool:
            return False

    with pytest.raises(BadAuth, match="returned a coroutine"):
        await Hooks(Forgetful).check_auth("ada", "x")
    assert inspect.iscoroutine(made[0])
    made[0].close()


@async_test
async def test_a_generator_lets_nobody_in() -> None:
    class Yielding(BaseAuthJWT):
        def check_auth(self, username: str, password: str) -> Any:
            yield True

    with pytest.raises(BadAuth, match="returned a generator"):
        await Hooks(Yielding).check_auth("ada", "x")


@async_test
async def test_nothing_is_added_unless_the_app_says_so() -> None:
    class Short(BaseAuthJWT):
        def check_auth(self, username: str, password: str) -> bool:
            return True

    body = await Hooks(Short).add_jwt_body("ada")
    assert (body.claims, body.scopes) == ({"roles": []}, ())


def test_without_check_auth_nobody_could_log_in() -> None:
    with pytest.raises(BadAuth, match="has no check_auth"):
        Hooks(BaseAuthJWT)


@pytest.mark.parametrize(
    "check",
    [
        lambda: None,
        lambda username: None,
        lambda self, username: None,
        lambda self, username, password, token: None,
        lambda a, b, c, d: None,
        lambda username, *, password: None,
        lambda username, password, *, code: None,
        "yes",
        7,
    ],
    ids=[
        "nothing",
        "one",
        "self and one",
        "self and three",
        "four",
        "by keyword",
        "a keyword more",
        "text",
        "number",
    ],
)
def test_a_signature_that_could_not_be_called_is_refused_at_once(check: Any) -> None:
    class Wrong(BaseAuthJWT):
        check_auth = check

    with pytest.raises(BadAuth, match="cannot be called with username and password"):
        Hooks(Wrong)


def test_a_class_that_cannot_be_made_says_what_to_do() -> None:
    class Needy(BaseAuthJWT):
        def __init__(self, db: object) -> None:
            self.db = db

        async def check_auth(self, username: str, password: str) -> bool:
            return True

    with pytest.raises(BadAuth, match=r"Needy\(\.\.\.\)\.mount_auth\(app\)"):
        Hooks(Needy)
    Hooks(Needy(object()))
