"""Who may use a widget, as its decorators say."""

from __future__ import annotations

import functools
from typing import Any, assert_type

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.auth import VerifiedToken
from backstay.widgets.guards import (
    Denied,
    Guard,
    GuardKind,
    auth_required,
    guard_of,
    no_auth,
    optional_auth,
)

ADA = VerifiedToken("ada", scopes=frozenset({"orders", "photos"}))


class Plain:
    """What the decorators are put on."""

    def execute(self) -> str:
        return "done"


@auth_required
class Bare(Plain): ...


@auth_required()
class Called(Plain): ...


@auth_required(["orders"])
class Positional(Plain): ...


@auth_required(scopes=["orders", "photos", "orders"])
class Named(Plain): ...


@optional_auth
class Optional(Plain): ...


@optional_auth(scopes=("orders",))
class OptionalNamed(Plain): ...


@no_auth
class Open(Plain): ...


@no_auth()
class OpenCalled(Plain): ...


@pytest.mark.parametrize(
    ("decorated", "kind", "scopes"),
    [
        (Bare, GuardKind.REQUIRED, ()),
        (Called, GuardKind.REQUIRED, ()),
        (Positional, GuardKind.REQUIRED, ("orders",)),
        (Named, GuardKind.REQUIRED, ("orders", "photos")),
        (Optional, GuardKind.OPTIONAL, ()),
        (OptionalNamed, GuardKind.OPTIONAL, ("orders",)),
        (Open, GuardKind.NONE, ()),
        (OpenCalled, GuardKind.NONE, ()),
    ],
)
def test_decorators_work_with_and_without_parentheses(
    decorated: type, kind: GuardKind, scopes: tuple[str, ...]
) -> None:
    assert guard_of(decorated) == Guard(kind, scopes)
    assert guard_of(decorated()) == Guard(kind, scopes)
    assert decorated().execute() == "done"


def test_a_class_stays_the_type_it_is() -> None:
    assert_type(Bare(), Bare)
    assert_type(Positional(), Positional)
    assert_type(OpenCalled(), OpenCalled)
    assert Bare.__name__ == "Bare"


def test_a_function_stays_the_type_it_is() -> None:
    @auth_required(scopes=["orders"])
    def add(a: int, b: int) -> int:
        return a + b

    @optional_auth
    async def later(a: int) -> int:
        return a

    assert_type(add(1, 2), int)
    assert guard_of(add) == Guard(GuardKind.REQUIRED, ("orders",))
    assert guard_of(later) == Guard(GuardKind.OPTIONAL)


def test_a_function_that_wraps_another_is_guarded_like_it() -> None:
    @auth_required
    def inner() -> None: ...

    @functools.wraps(inner)
    def outer() -> None: ...

    assert guard_of(outer) == Guard(GuardKind.REQUIRED)


def test_what_is_not_decorated_has_no_guard() -> None:
    assert guard_of(Plain) is None
    assert guard_of(Plain()) is None
    assert guard_of(len) is None
    assert Guard.none().said is False
    assert Guard.required(["orders"]) == Guard(GuardKind.REQUIRED, ("orders",))
    assert Guard.required().said is True


def test_subclasses_inherit_and_may_be_decorated_otherwise() -> None:
    class Heir(Positional): ...

    @no_auth
    class Rebel(Positional): ...

    assert guard_of(Heir) == Guard(GuardKind.REQUIRED, ("orders",))
    assert guard_of(Rebel) == Guard(GuardKind.NONE)
    assert guard_of(Positional) == Guard(GuardKind.REQUIRED, ("orders",))


def test_two_decorators_on_one_class_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="decorated twice, by no_auth and by auth_required"):

        @auth_required
        @no_auth
        class Both: ...


@pytest.mark.parametrize(
    "target", [5, functools.partial(print), Plain().execute, staticmethod(len)]
)
@pytest.mark.parametrize("decorator", [auth_required(), optional_auth(), no_auth()])
def test_only_classes_and_functions_are_decorated(decorator: Any, target: object) -> None:
    with pytest.raises(TypeError, match="decorates a class or a function; got"):
        decorator(target)


@pytest.mark.parametrize(
    ("scopes", "error", "message"),
    [
        ("orders", TypeError, r"list of strings; got 'orders': write \['orders'\]"),
        (5, TypeError, "list of strings"),
        ([5], TypeError, "got 5 of type int in it"),
        (["orders photos"], ValueError, "'orders photos' is no scope"),
        (['a"b'], ValueError, "is no scope"),
        ([""], ValueError, "is no scope"),
    ],
)
@pytest.mark.parametrize("decorator", [auth_required, optional_auth])
def test_scopes_that_are_none_are_refused_where_they_are_written(
    decorator: Any, scopes: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        decorator(scopes=scopes)
    with pytest.raises(error, match=message):
        decorator(scopes)


def test_no_auth_takes_no_scopes() -> None:
    decorator: Any = no_auth
    with pytest.raises(TypeError, match="takes no scopes"):
        decorator(["orders"])


SIGN_IN = Denied(401, None, "An access token is required.")


@pytest.mark.parametrize(
    ("guard", "server_required", "token", "presented", "status", "error"),
    [
        (Guard(GuardKind.REQUIRED), True, None, False, 401, None),
        (Guard(GuardKind.REQUIRED), True, None, True, 401, "invalid_token"),
        (Guard(GuardKind.REQUIRED), True, ADA, True, None, None),
        # Where nobody verifies tokens there is none, and nobody gets in.
        (Guard(GuardKind.REQUIRED), False, None, False, 401, None),
        (Guard(GuardKind.OPTIONAL), True, None, False, None, None),
        (Guard(GuardKind.OPTIONAL), True, None, True, 401, "invalid_token"),
        (Guard(GuardKind.OPTIONAL), True, ADA, True, None, None),
        (Guard(GuardKind.NONE), True, None, False, None, None),
        (Guard(GuardKind.NONE), True, None, True, None, None),
        (Guard.none(), True, None, False, 401, None),
        (Guard.none(), True, ADA, True, None, None),
        (Guard.none(), False, None, False, None, None),
        (Guard.none(), False, None, True, None, None),
    ],
)
def test_who_may_use_what(
    guard: Guard,
    server_required: bool,
    token: VerifiedToken | None,
    presented: bool,
    status: int | None,
    error: str | None,
) -> None:
    denied = guard.check(token, server_required=server_required, presented=presented)
    assert (denied.status if denied else None) == status
    assert (denied.error if denied else None) == error


@pytest.mark.parametrize("kind", [GuardKind.REQUIRED, GuardKind.OPTIONAL])
def test_a_token_has_to_allow_what_server_and_widget_ask_for(kind: GuardKind) -> None:
    guard = Guard(kind, ("orders", "admin"))
    assert guard.check(ADA, server_required=True, server_scopes=["mcp"]) == Denied(
        403,
        "insufficient_scope",
        "The access token does not allow: mcp admin",
        ("mcp", "orders", "admin"),
        ("mcp", "admin"),
    )


def test_a_token_that_allows_more_is_welcome() -> None:
    assert Guard(GuardKind.REQUIRED, ("orders",)).check(ADA) is None


def test_the_scopes_of_the_server_hold_for_what_declares_nothing() -> None:
    denied = Guard.none().check(ADA, server_required=True, server_scopes=["mcp"])
    assert denied is not None
    assert (denied.status, denied.missing) == (403, ("mcp",))


def test_who_has_no_token_is_told_which_scopes_to_ask_for() -> None:
    denied = Guard(GuardKind.REQUIRED, ("orders",)).check(None, server_scopes=["mcp"])
    assert denied is not None
    assert denied.scopes == ("mcp", "orders")
    assert denied.missing == ()


SCOPES = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3)


@given(st.sampled_from(GuardKind), SCOPES, SCOPES, SCOPES, st.booleans(), st.booleans())
def test_nobody_gets_in_with_less_than_was_asked_for(
    kind: GuardKind,
    own: list[str],
    server: list[str],
    held: list[str],
    server_required: bool,
    has_token: bool,
) -> None:
    token = VerifiedToken("ada", scopes=frozenset(held)) if has_token else None
    guard = Guard(kind, tuple(own))
    denied = guard.check(token, server_required=server_required, server_scopes=server)
    if denied is None and guard.requires_token(server_required):
        assert token is not None
        assert {*own, *server} <= token.scopes
    if denied is not None and denied.status == 403:
        assert set(denied.missing) == {*own, *server} - set(held)
        assert denied.missing


@pytest.mark.parametrize(
    ("guard", "server_required", "schemes"),
    [
        (Guard(GuardKind.REQUIRED, ("orders",)), True, [{"type": "oauth2", "scopes": ["orders"]}]),
        (Guard(GuardKind.REQUIRED), False, [{"type": "oauth2", "scopes": []}]),
        (Guard(GuardKind.NONE), True, [{"type": "noauth"}]),
        (
            Guard(GuardKind.OPTIONAL, ("orders",)),
            True,
            [{"type": "noauth"}, {"type": "oauth2", "scopes": ["orders"]}],
        ),
        (Guard.none(), True, [{"type": "oauth2", "scopes": []}]),
        (Guard.none(), False, [{"type": "noauth"}]),
    ],
)
def test_clients_are_told_what_is_asked_for(
    guard: Guard, server_required: bool, schemes: list[dict[str, Any]]
) -> None:
    assert guard.security_schemes(server_required=server_required) == schemes


def test_clients_are_told_of_the_servers_scopes_too() -> None:
    guard = Guard(GuardKind.REQUIRED, ("orders",))
    assert guard.security_schemes(server_scopes=["mcp"]) == [
        {"type": "oauth2", "scopes": ["mcp", "orders"]}
    ]
