"""An app says who may log in, as the documentation writes it, and gets the rest."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.testclient import TestClient

from backstay.appstate import AUTH_JWT
from backstay.auth import AuthPart, BaseAuthJWT, jwt_auth
from backstay.errors import AlreadyInstalled, BadAuth
from backstay.limits import add_limits
from backstay.testing import running
from backstay.web import install
from tests.auth.service import SECRET, FragileStore, People, bearer, log_in, mounted
from tests.db.places import at
from tests.limits.stores import DATABASES
from tests.support import async_test
from tests.test_import import run_python


def documented() -> tuple[FastAPI, type[BaseAuthJWT]]:
    app = FastAPI()
    app.state.SECRET_KEY = SECRET

    class AuthJWT(BaseAuthJWT):
        async def check_auth(username: str, password: str) -> bool:  # type: ignore[misc]  # as documented
            """Check the entered login and password."""
            return username == "admin" and password == "admin"

        async def add_jwt_body(username: str) -> dict:  # type: ignore[misc,type-arg]  # as documented
            """Function to add additional data to the user's JWT token"""
            return {"version": username.title()}

    # Connect JWT authentication
    AuthJWT.mount_auth(app)

    @app.get("/x", summary="Check JWT authentication")
    async def protected_route(jwt: dict = Depends(jwt_auth)) -> Any:  # type: ignore[type-arg]  # as documented
        return {"message": "This is a protected route", "user": jwt}

    return app, AuthJWT


def test_it_works_as_documented() -> None:
    app, _ = documented()
    client = TestClient(app)
    form = {"username": "admin", "password": "admin"}
    answer = client.post("/token", data=form)
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"
    headers = bearer(answer.json()["access_token"])
    for path in ("/x", "/check_protected"):
        found = client.get(path, headers=headers).json()
        assert found["message"] == "This is a protected route"
        assert (found["user"]["sub"], found["user"]["version"]) == ("admin", "Admin")
        assert client.get(path).status_code == 401
    for wrong in ({**form, "password": "x"}, {**form, "username": "x"}):
        assert client.post("/token", data=wrong).status_code == 401


def test_it_works_with_the_lifespan_and_again() -> None:
    app, _ = documented()
    for _ in range(2):
        with TestClient(app) as client:
            form = {"username": "admin", "password": "admin"}
            token = client.post("/token", data=form).json()["access_token"]
            assert client.get("/x", headers=bearer(token)).status_code == 200


@async_test
async def test_a_check_that_answers_a_coroutine_gives_nobody_a_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made: list[Any] = []

    class AuthJWT(BaseAuthJWT):
        def check_auth(username: str, password: str) -> Any:  # type: ignore[misc]  # as documented
            async def check() -> Any:
                async def forgotten() -> bool:
                    return False

                made.append(forgotten())
                return made[-1]

            return check()

    app = FastAPI()
    AuthJWT.mount_auth(app, secret_key=SECRET, store=FragileStore())
    async with running(app) as client:
        answer = await client.post("/token", data={"username": "ada", "password": "x"})
        assert answer.status_code == 500
        assert "token" not in answer.json()
        assert "coroutine" not in answer.text
    assert "check_auth returned a coroutine" in caplog.text
    made[0].close()


@async_test
async def test_what_an_app_adds_cannot_make_a_token_of_somebody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class AuthJWT(BaseAuthJWT):
        async def check_auth(self, username: str, password: str) -> bool:
            return True

        async def add_jwt_body(self, username: str) -> dict[str, Any]:
            return {"sub": "root", "exp": 10**12}

    app = FastAPI()
    AuthJWT.mount_auth(app, secret_key=SECRET, store=FragileStore())
    async with running(app) as client:
        answer = await client.post("/token", data={"username": "ada", "password": "x"})
        assert answer.status_code == 500
    assert "add_jwt_body sets ['exp', 'sub']" in caplog.text


@async_test
async def test_it_is_called_on_the_class_or_on_an_instance() -> None:
    class AuthJWT(BaseAuthJWT):
        def __init__(self, known: str = "ada") -> None:
            self.known = known

        async def check_auth(self, username: str, password: str) -> bool:
            return username == self.known

    for declared, name in ((AuthJWT, "ada"), (AuthJWT("bob"), "bob")):
        app = FastAPI()
        part = declared.mount_auth(app, secret_key=SECRET, store=FragileStore())
        assert isinstance(part, AuthPart)
        assert AUTH_JWT(app) is part is app.state.auth_jwt
        async with running(app) as client:
            await log_in(client, name)
            answer = await client.post("/token", data={"username": "eve", "password": "x"})
            assert answer.status_code == 401


def test_one_class_can_guard_several_apps() -> None:
    class AuthJWT(BaseAuthJWT):
        async def check_auth(self, username: str, password: str) -> bool:
            return True

    apps = [FastAPI(), FastAPI()]
    parts = [AuthJWT.mount_auth(app, secret_key=SECRET) for app in apps]
    assert parts[0] is not parts[1]


def test_an_app_is_guarded_once() -> None:
    app, auth = documented()
    with pytest.raises(AlreadyInstalled, match="call it once"):
        auth.mount_auth(app)


async def statuses(app: FastAPI, name: str, password: str, times: int) -> list[int]:
    form = {"username": name, "password": password}
    async with running(app) as client:
        return [(await client.post("/token", data=form)).status_code for _ in range(times)]


def limited(place: Any, *, issuer: str | None = None, limits_first: bool = False) -> FastAPI:
    """One process of a service whose limits are counted in that place."""
    app = FastAPI()
    install(app, settings={}, env_file=None)

    class Issuing(People):
        ISSUER = issuer

    if limits_first:
        add_limits(app, place, timeout_s=20)
    mounted(app, Issuing)
    if not limits_first:
        add_limits(app, place, timeout_s=20)
    return app


@pytest.mark.parametrize("kind", DATABASES)
@async_test
async def test_processes_with_limits_in_one_database_count_wrong_passwords_together(
    kind: str, tmp_path: Path
) -> None:
    with at(kind, tmp_path) as url:
        one, other = limited(url), limited(url, limits_first=True)
        assert await statuses(one, "ada", "x", 6) == [401] * 6
        assert await statuses(other, "ada", "x", 6) == [401] * 4 + [429] * 2
        for process in (one, other):
            assert await statuses(process, "ada", "adaada", 1) == [429]
            assert await statuses(process, "bob", "bobbob", 1) == [200]
        another_service = limited(url, issuer="another service")
        assert await statuses(another_service, "ada", "adaada", 1) == [200]


@async_test
async def test_processes_with_limits_in_memory_count_wrong_passwords_by_themselves() -> None:
    one, other = limited("memory"), limited("memory")
    for process in (one, other):
        assert await statuses(process, "ada", "x", 11) == [401] * 10 + [429]


@async_test
async def test_logins_work_while_nobody_can_count_for_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = limited("redis://127.0.0.1:1/0")
    assert await statuses(app, "ada", "adaada", 1) == [200]
    assert await statuses(app, "ada", "x", 11) == [401] * 10 + [429]
    assert caplog.text.count("counted by this process alone") == 1


@pytest.mark.parametrize("app", [None, Starlette(), "app"], ids=lambda each: type(each).__name__)
def test_what_is_no_app_is_refused(app: Any) -> None:
    with pytest.raises(BadAuth, match="needs a FastAPI app"):
        documented()[1].mount_auth(app)


@pytest.mark.parametrize("prefix", ["auth", "/auth/", "/"])
def test_a_prefix_that_is_none_is_refused(prefix: str) -> None:
    with pytest.raises(BadAuth, match="prefix="):
        documented()[1].mount_auth(FastAPI(), prefix=prefix)


@pytest.mark.parametrize("limits", [None, 0, "5/minute"], ids=str)
def test_what_would_take_the_brake_off_unsaid_is_refused(limits: Any) -> None:
    app = FastAPI()
    with pytest.raises(BadAuth, match="LoginThrottle"):
        documented()[1].mount_auth(app, secret_key=SECRET, client_limits=limits)
    assert not hasattr(app.state, "auth_jwt")


def test_it_says_what_it_does() -> None:
    assert "Guard an app" in (BaseAuthJWT.mount_auth.__doc__ or "")
    assert "Who may log in" in (BaseAuthJWT.__doc__ or "")


def test_the_door_loads_no_library_before_it_is_needed() -> None:
    done = run_python(
        """
        import sys
        from backstay.auth import BaseAuthJWT, JWTVerifier, Keyring, Passwords, jwt_auth
        print(sorted({"joserfc", "pwdlib", "sqlalchemy", "httpx2", "argon2"} & set(sys.modules)))
        """
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_secret_key_needs_no_joserfc() -> None:
    done = run_python(
        f"""
        import asyncio
        from fastapi import FastAPI
        from backstay.auth import BaseAuthJWT, Keyring, SigningKey
        from backstay.errors import MissingExtra
        from backstay.testing import running

        class AuthJWT(BaseAuthJWT):
            def check_auth(username: str, password: str) -> bool:
                return True

        app = FastAPI()
        AuthJWT.mount_auth(app, secret_key={SECRET!r})

        async def log_in() -> None:
            async with running(app) as client:
                form = {{"username": "a", "password": "b"}}
                print((await client.post("/token", data=form)).status_code)

        asyncio.run(log_in())
        try:
            SigningKey.generate("EdDSA")
        except MissingExtra as error:
            print(error.name)
        """,
        blocked=("joserfc",),
    )
    assert done.stdout.split() == ["200", "joserfc"], done.stderr
