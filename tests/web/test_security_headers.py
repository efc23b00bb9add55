"""What browsers are told not to do with answers."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from backstay.errors import BadPattern
from backstay.web import install
from backstay.web.security_headers import read_security_headers
from tests.support import async_test
from tests.web.by_hand import ByHand

CSP = "content-security-policy"
PAGE = "base-uri 'none'; form-action 'self'; object-src 'none'; frame-ancestors 'none'"


def always(*arguments: Any, **options: Any) -> dict[str, str]:
    found = read_security_headers(*arguments, **options)
    return {name.decode(): value.decode() for name, value in found.always}


def of_pages(*arguments: Any, **options: Any) -> dict[str, str]:
    found = read_security_headers(*arguments, **options)
    return {name.decode(): value.decode() for name, value in found.pages}


def test_the_defaults_are_those_of_a_service_that_shows_data() -> None:
    assert always(True) == {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    }


def test_pages_are_told_what_only_documents_heed() -> None:
    found = of_pages(True)
    policy = found.pop(CSP)
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert found == {
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    }


def test_none_of_them_need_be_there() -> None:
    found = read_security_headers(False)
    assert (found.always, found.pages) == ((), ())


def test_a_mapping_changes_adds_and_takes_away() -> None:
    given = {
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": None,
        "X-Own": "yes",
        "x-no": None,
    }
    found = always(given)
    assert found["x-own"] == "yes"
    assert "x-no" not in found
    assert found["x-content-type-options"] == "nosniff"
    pages = of_pages(given)
    assert pages["referrer-policy"] == "no-referrer"
    assert "permissions-policy" not in pages


@pytest.mark.parametrize(
    ("framing", "ancestors"),
    [("DENY", "; frame-ancestors 'none'"), ("SAMEORIGIN", "; frame-ancestors 'self'"), (None, "")],
)
def test_both_headers_about_frames_say_the_same(framing: str | None, ancestors: str) -> None:
    found = read_security_headers({"X-Frame-Options": framing})
    assert dict(found.always)[CSP.encode()].decode() == f"default-src 'none'{ancestors}"
    policy = dict(found.pages)[CSP.encode()].decode()
    assert policy.endswith(ancestors or "object-src 'none'")


@pytest.mark.parametrize("own", ["default-src 'self'", None])
def test_a_policy_of_ones_own_is_for_everything(own: str | None) -> None:
    found = read_security_headers({"Content-Security-Policy": own})
    assert dict(found.always).get(CSP.encode()) == (None if own is None else own.encode())
    assert CSP.encode() not in dict(found.pages)


@pytest.mark.parametrize(
    ("hsts", "value"),
    [
        (True, "max-age=31536000"),
        (False, None),
        (0, "max-age=0"),
        (60, "max-age=60"),
        ("max-age=60; includeSubDomains", "max-age=60; includeSubDomains"),
    ],
)
def test_strict_transport_is_asked_for(hsts: Any, value: str | None) -> None:
    assert always(True, hsts=hsts).get("strict-transport-security") == value
    assert always(False, hsts=hsts).get("strict-transport-security") == value


@pytest.mark.parametrize(
    ("given", "hsts"),
    [
        ({"X-A": "1\r\nSet-Cookie: a=b"}, False),
        ({"X-A": "1\nX"}, False),
        ({"X-A\r\nY": "1"}, False),
        ({"X A": "1"}, False),
        ({"X-A:": "1"}, False),
        ({"": "1"}, False),
        ({"X-A": ""}, False),
        ({"X-A": " 1"}, False),
        ({"X-A": "ü"}, False),
        ({"X-A": 1}, False),
        ({"X-A": "\x00"}, False),
        ({7: "1"}, False),
        ({"Content-Length": "1"}, False),
        ("nosniff", False),
        (None, False),
        (True, "max-age=1\r\nX: y"),
        (True, -1),
        (True, 1.5),
        (True, None),
    ],
)
def test_what_cannot_be_a_header_is_refused(given: Any, hsts: Any) -> None:
    with pytest.raises(BadPattern):
        read_security_headers(given, hsts=hsts)


def make_app(tmp_path: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/data")
    async def data() -> int:
        return 1

    @app.get("/page")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>")

    @app.get("/own")
    async def own() -> HTMLResponse:
        return HTMLResponse("<p>", headers={"Content-Security-Policy": "default-src 'self'"})

    @app.get("/typeless")
    async def typeless() -> Response:
        return Response(b"<p>")

    @app.get("/spelled")
    async def spelled() -> Response:
        return Response(b"<p>", media_type="Text/HTML; charset=UTF-8")

    @app.get("/almost")
    async def almost() -> JSONResponse:
        return JSONResponse("x", media_type="application/problem+json")

    (tmp_path / "work.js").write_text("1")
    app.mount("/static", StaticFiles(directory=tmp_path))
    return app


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/data", "default-src 'none'; frame-ancestors 'none'"),
        ("/almost", "default-src 'none'; frame-ancestors 'none'"),
        ("/typeless", "default-src 'none'; frame-ancestors 'none'"),
        ("/nowhere", "default-src 'none'; frame-ancestors 'none'"),
        ("/page", PAGE),
        ("/spelled", PAGE),
        ("/own", "default-src 'self'"),
        ("/static/work.js", PAGE),
        ("/docs", PAGE),
        ("/redoc", PAGE),
    ],
)
@async_test
async def test_a_page_has_a_policy_that_it_works_with(
    path: str, policy: str, tmp_path: Any
) -> None:
    app = make_app(tmp_path)
    found = read_security_headers(True)
    backstay = install(app)
    backstay.answer_headers = found.always
    backstay.page_headers = found.for_pages({"/docs": b"same-origin-allow-popups"})
    call = ByHand(app, path)
    await call.run()
    assert call.header(CSP) == [policy]
    is_page = policy == PAGE or path == "/own"
    opener = "same-origin-allow-popups" if path == "/docs" else "same-origin"
    assert call.header("cross-origin-opener-policy") == ([opener] if is_page else [])
    assert call.header("x-content-type-options") == ["nosniff"]


def test_without_an_opener_policy_no_page_gets_one() -> None:
    found = read_security_headers({"Cross-Origin-Opener-Policy": None})
    assert list(found.for_pages({"/docs": b"unsafe-none"})({"path": "/docs"})) == list(found.pages)
