"""The inspector's files, and that it answers under its own two names and no others."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from backstay.widgets.dev.bulletin import Bulletin
from backstay.widgets.dev.inspector import new_inspector

INSPECTOR, SANDBOX = "http://127.0.0.1:8765", "http://localhost:8765"


def client(base: str = INSPECTOR) -> TestClient:
    app = new_inspector(
        "shop:app", port=8765, mcp_url="http://127.0.0.1:8766/mcp", bulletin=Bulletin()
    )
    return TestClient(app, base_url=base)


def test_the_page_loads_nothing_from_anywhere_else() -> None:
    answer = client().get("/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self' http://127.0.0.1:8766" in policy
    assert f"frame-src {SANDBOX}" in policy
    assert re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    for address in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
        assert client().get(address).status_code == 200, address


@pytest.mark.parametrize("name", ["main", "dom", "form", "hosts", "log", "mcp"])
def test_every_module_and_what_it_imports_is_there(name: str) -> None:
    answer = client().get(f"/page/{name}.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    for other in re.findall(r'from "\./(\w+\.js)"', answer.text):
        assert client().get(f"/page/{other}").status_code == 200


@pytest.mark.parametrize("name", ["none.js", "..%2finspector.py", "inspector.html", "__init__.py"])
def test_nothing_else_of_the_package_is_served(name: str) -> None:
    assert client().get(f"/page/{name}").status_code == 404


@pytest.mark.parametrize("base", ["http://evil.example:8765", "http://localhost:8765"])
@pytest.mark.parametrize("path", ["/session.json", "/page/main.js", "/events"])
def test_under_other_names_it_answers_nothing(base: str, path: str) -> None:
    answer = client(base).get(path)
    assert answer.status_code == 421
    assert INSPECTOR in answer.text


def test_the_wrong_name_of_this_machine_leads_to_the_right_one() -> None:
    answer = client(SANDBOX).get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, f"{INSPECTOR}/")


def test_the_sandbox_has_the_policy_asked_for_and_only_the_inspector_may_frame_it() -> None:
    answer = client(SANDBOX).get("/sandbox.html", params={"csp": "default-src 'none'"})
    wanted = f"default-src 'none'; frame-ancestors {INSPECTOR}"
    assert answer.headers["content-security-policy"] == wanted
    assert client(INSPECTOR).get("/sandbox.html").status_code == 421


@pytest.mark.parametrize("csp", ["a\r\nSet-Cookie: x=1", "é", "x" * 5000, "a,b"])
def test_a_policy_that_is_none_is_refused(csp: str) -> None:
    assert client(SANDBOX).get("/sandbox.html", params={"csp": csp}).status_code == 400


def test_without_a_policy_the_sandbox_may_load_nothing() -> None:
    answer = client(SANDBOX).get("/sandbox.html")
    assert answer.headers["content-security-policy"] == "default-src 'none'"
