"""What an app says about its users: the methods of its class below ``BaseAuthJWT``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from backstay.auth.token_issuer import TokenBody
from backstay.calls import is_async_callable
from backstay.errors import BadAuth

__all__ = ["Hooks"]

_Hook = Callable[..., Any]


class Hooks:
    """The methods of a class, found once, called in whichever way they are written.

    Each may be async, or sync and then runs in a thread; and a function without ``self``, a static
    method, a class method, or a method of an instance.

    Args:
        declared: the class, or an instance. Of a class whose methods want ``self`` an instance is
            made, without arguments.

    Raises:
        BadAuth: ``check_auth`` is missing, or one of them could never be called.
    """

    def __init__(self, declared: Any) -> None:
        self._declared = declared
        self._name = getattr(declared, "__qualname__", type(declared).__qualname__)
        check_auth = self._find("check_auth", "username", "password")
        if check_auth is None:
            raise BadAuth(
                f"{self._name} has no check_auth, so nobody could log in; write "
                "async def check_auth(username: str, password: str) -> bool"
            )
        self._check_auth = check_auth
        self._add_jwt_body = self._find("add_jwt_body", "username")
        self._check_refresh = self._find("check_refresh", "username")

    async def check_auth(self, username: str, password: str) -> bool:
        """Whether the password is that user's.

        Raises:
            BadAuth: the answer is neither ``True`` nor ``False``. What is merely true, as a
                coroutine is that nobody awaited, must let nobody in.
        """
        return self._certain(await _call(self._check_auth, username, password), "check_auth")

    async def add_jwt_body(self, username: str) -> TokenBody:
        """What the user's tokens say beside what they all say.

        Raises:
            BadAuth: it will not do.
        """
        if self._add_jwt_body is None:
            return TokenBody(None)
        return TokenBody(await _call(self._add_jwt_body, username))

    async def check_refresh(self, username: str) -> bool:
        """Whether the user may go on without the password. ``True`` if the app does not say.

        Raises:
            BadAuth: the answer is neither ``True`` nor ``False``.
        """
        if self._check_refresh is None:
            return True
        return self._certain(await _call(self._check_refresh, username), "check_refresh")

    def _certain(self, answer: object, name: str) -> bool:
        if answer is not True and answer is not False:
            # Not what it is: it may be somebody's record, password and all.
            raise BadAuth(
                f"{self._name}.{name} returned a {type(answer).__qualname__}; it returns True or "
                "False, and nothing else lets anybody in"
            )
        return answer

    def _find(self, name: str, *parameters: str) -> _Hook | None:
        declared = self._declared
        found = inspect.getattr_static(declared, name, None)
        if found is None:
            return None
        in_class = inspect.isclass(declared) or name not in vars(declared)
        if inspect.isfunction(found) and in_class:
            # With self or, as the documentation has it, without.
            if not _wants_self(found, parameters):
                return self._checked(found, name, parameters)
            return self._checked(getattr(self._instance(name), name), name, parameters)
        return self._checked(getattr(declared, name), name, parameters)

    def _instance(self, name: str) -> Any:
        if inspect.isclass(self._declared):
            try:
                self._declared = self._declared()
            except TypeError as error:
                raise BadAuth(
                    f"{self._name}.{name} wants self, and {self._name}() cannot be made: {error}. "
                    f"Make it yourself: {self._name}(...).mount_auth(app)"
                ) from error
        return self._declared

    def _checked(self, hook: Any, name: str, parameters: tuple[str, ...]) -> _Hook:
        if not callable(hook) or not _takes(hook, parameters):
            shape = f"{inspect.signature(hook)}" if callable(hook) else f" = {type(hook).__name__}"
            raise BadAuth(
                f"{self._name}.{name}{shape} cannot be called with {' and '.join(parameters)}; "
                f"write async def {name}({', '.join(parameters)})"
            )
        return hook  # type: ignore[no-any-return]  # callable, which is all that anybody can know


def _wants_self(function: Any, parameters: tuple[str, ...]) -> bool:
    names = list(inspect.signature(function).parameters)
    return names[:1] == ["self"] or (
        not _takes(function, parameters) and _takes(function, ("self", *parameters))
    )


def _takes(hook: Any, parameters: tuple[str, ...]) -> bool:
    try:
        inspect.signature(hook).bind(*parameters)
    except (TypeError, ValueError):
        return False
    return True


async def _call(hook: _Hook, *arguments: str) -> Any:
    if is_async_callable(hook):
        return await hook(*arguments)
    answer = await run_in_threadpool(hook, *arguments)
    # A decorator that wraps an async function may be a sync one.
    return await answer if inspect.isawaitable(answer) else answer
