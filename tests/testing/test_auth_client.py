"""A client that was logged in is logged in for real, and for that test alone."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from backstay.testing.auth_client import client_auth_jwt, log_in
from tests.testing.house import scratch_url
from tests.testing.test_pytest_plugin import CONFTEST, run_pytest
from tests.testing.town import EITHER

APP = """
from fastapi import Depends, FastAPI
from sqlalchemy import Column, Integer
from backstay.auth import BaseAuthJWT, jwt_auth, require_roles
from backstay.db import MainDatabaseManager, add_database

DatabaseManager = MainDatabaseManager("sqlite:///real.db")

class Row(DatabaseManager.Base):
    __tablename__ = "rows"
    id = Column(Integer, primary_key=True)

class AuthJWT(BaseAuthJWT):
    async def check_auth(username: str, password: str) -> bool:
        return False

    async def add_jwt_body(username: str) -> dict:
        return {"version": username.title(), "roles": ["admin"] if username == "root" else []}

app = FastAPI()
add_database(app, DatabaseManager)
AuthJWT.mount_auth(app, secret_key="FjU8Nq0mB3xWc6Yt1LrZ9vKe5SaHd2GpQo7i")

@app.get("/me")
def me(jwt: dict = Depends(jwt_auth)): return jwt

@app.get("/admin", dependencies=[Depends(require_roles("admin"))])
def admin(): return "welcome"
"""

TESTS = """
import pytest
from backstay.testing import BaseAuthJwtPytest, BasePytest, client_auth_jwt

@client_auth_jwt(username="ada")
def test_a_function_names_its_user(client):
    assert client.headers["authorization"].startswith("Bearer ")
    found = client.get("/me").json()
    assert (found["sub"], found["version"]) == ("ada", "Ada")
    assert client.get("/admin").status_code == 403

def test_nobody_is_logged_in_afterwards(client):
    assert "authorization" not in client.headers
    assert client.get("/me").status_code == 401

@client_auth_jwt(username="root")
def test_a_parameter_may_come_first(url_path_for, client):
    assert client.get(url_path_for("admin")).json() == "welcome"

@pytest.mark.parametrize("time", [1, 2])
@client_auth_jwt("ada")
def test_it_goes_with_other_decorators(time, client):
    assert client.get("/me").status_code == 200

class TestInAClass(BasePytest):
    @client_auth_jwt()
    def test_a_method_takes_the_user_of_its_class(self, client):
        assert client.get("/me").json()["sub"] == "test"

    def test_the_others_stay_outside(self, client):
        assert client.get("/me").status_code == 401

class TestAllOfThem(BaseAuthJwtPytest):
    TEST_USER = {"username": "grace", "password": "unused"}

    def test_each_is_logged_in(self, client):
        assert client.get("/me").json()["sub"] == "grace"

    def test_without_a_client_nothing_happens(self):
        pass
"""


@pytest.mark.parametrize("kind", EITHER)
@pytest.mark.parametrize("lifespan", ["test", "session"])
def test_a_project_logs_its_clients_in(kind: str, lifespan: str, tmp_path: Path) -> None:
    with scratch_url(kind, tmp_path) as url:
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        (tmp_path / "project.py").write_text(APP)
        options = {"lifespan": lifespan}
        (tmp_path / "conftest.py").write_text(CONFTEST.format(url=url, options=options))
        (tmp_path / "test_project.py").write_text(TESTS)
        assert "9 passed" in run_pytest(tmp_path)


def test_a_test_without_a_client_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="no parameter 'client'"):

        @client_auth_jwt("ada")
        def test_nothing() -> None: ...


def test_the_decorator_is_called_before_it_decorates() -> None:
    with pytest.raises(TypeError, match=r"@client_auth_jwt\(\)"):

        @client_auth_jwt  # type: ignore[arg-type]  # as people forget
        def test_it(client: Any) -> None: ...


def test_another_kind_of_client_is_refused_with_the_way_that_works() -> None:
    with pytest.raises(TypeError, match=r"auth_jwt\.issue"):
        log_in(TestClient(lambda *_: None), "ada")  # type: ignore[arg-type]  # another kind


def test_a_function_without_a_class_has_to_name_its_user() -> None:
    @client_auth_jwt()
    def test_it(client: Any) -> None: ...

    with pytest.raises(TypeError, match="TEST_USER"):
        test_it(object())
