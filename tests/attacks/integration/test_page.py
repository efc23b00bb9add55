"""The page about integrations: nobody gets around its guard, and no text on it does anything."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from starlette.routing import Mount

from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP, sp
from backstay.integration.page import add_docintegration
from backstay.testing import running
from backstay.web import install
from tests.support import async_test

MARKUP = "</script><img src=x onerror=alert(1)>\"'$folder${title}{{7*7}}"


class Loud(EndpointsDeclaration):
    integration = IntegrationHTTP(MARKUP, doc=MARKUP)

    @integration.endpoint(HTTPMethod.get, "/x", version=MARKUP, docurl="javascript:alert(1)")
    @sp.CircuitBreaker(key=lambda api, key: key)
    async def ask(api: ApiHTTP, key: str, url: str = "https://u:pass-word@h/") -> Any:
        """</pre><script>alert(1)</script>"""
        return None


def guard(x_admin: Annotated[str, Header()] = "") -> None:
    if x_admin != "yes":
        raise HTTPException(401)


def _app(where: str) -> tuple[FastAPI, str]:
    app = FastAPI(title=MARKUP)
    add_docintegration(app, [Loud("https://loud.example")], access=Depends(guard))
    if where == "app":
        return app, "/docintegration"
    outer = FastAPI()
    install(outer)
    outer.router.routes.append(Mount("/inner", app))
    return outer, "/inner/docintegration"


@pytest.mark.parametrize("where", ["app", "mounted"])
@async_test
async def test_there_is_no_way_around_the_guard(where: str) -> None:
    app, path = _app(where)
    tries = [
        ("GET", path, {}),
        ("HEAD", path, {}),
        ("OPTIONS", path, {}),
        ("POST", path, {"X-HTTP-Method-Override": "GET"}),
        ("GET", f"{path}/", {}),
        ("GET", f"/{path}", {}),
        ("GET", f"{path}//live.json", {}),
        ("GET", path.replace("doc", "%64oc"), {}),
        ("GET", f"{path}%2ejson", {}),
        ("GET", f"{path}.json?x-admin=yes", {}),
        ("HEAD", f"{path}.json", {}),
        ("GET", f"{path}/live.json?process=x&since={'9' * 5000}", {}),
        ("GET", f"{path}/main.js", {"If-None-Match": "*"}),
        ("GET", f"{path}/..%2fassets.py", {}),
        ("GET", f"{path}/%2e%2e/document.py", {}),
        ("GET", f"{path}.json", {"X-Admin": "no, yes"}),
        ("GET", f"{path}.json", {"X-Forwarded-Prefix": path, "X-Original-URL": f"{path}.json"}),
    ]
    async with running(app) as client:
        for method, target, headers in tries:
            answer = await client.request(method, target, headers=headers, follow_redirects=False)
            assert answer.status_code in {307, 401, 404, 405}, target
            assert "endpoints" not in answer.text
            assert "<html" not in answer.text


@async_test
async def test_texts_are_texts_on_the_page_and_secrets_are_not_on_it() -> None:
    app, path = _app("app")
    async with running(app) as client:
        client.headers["X-Admin"] = "yes"
        page = await client.get(path)
        assert "<img src=x" not in page.text
        assert "alert(1)&gt;" in page.text
        assert "'unsafe-" not in page.headers["content-security-policy"]
        assert "require-trusted-types-for 'script'" in page.headers["content-security-policy"]
        for each in (f"{path}.json", f"{path}/live.json"):
            told = await client.get(each)
            assert told.headers["content-type"] == "application/json"
            assert told.headers["x-content-type-options"] == "nosniff"
            assert told.headers["cache-control"] == "no-store"
            assert "pass-word" not in told.text


@async_test
async def test_keys_of_any_kind_break_nothing_and_stay_small() -> None:
    loud = Loud("https://loud.example", client=lambda: None)
    app = FastAPI()
    add_docintegration(app, [loud], access=True)
    for key in ("\ud800", "\0", MARKUP, "x" * 1_000_000, "__proto__", "\u202egnp.exe"):
        await loud.ask(key)
    async with running(app) as client:
        told = await client.get("/docintegration/live.json")
    assert told.status_code == 200
    assert len(told.content) < 10_000
