"""Paths that mean something else to whoever stands in front: under a root path and without.

What an attack is after is behind a guard, in a file outside of the folder, or a page that was
switched off. It has succeeded if the answer has the canary in it.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from backstay.pattern import base_pattern
from backstay.telemetry import add_metrics
from backstay.web import HTTPException403
from tests.attacks.wire import Answer, Server, Wire, assert_problem, on_the_wire

CANARY = "the canary sings"
TOKEN = "a token of the tests' own"


def guard(authorization: str = Header("")) -> None:
    if authorization != TOKEN:
        raise HTTPException403


def make_app(folder: Path) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_metrics(app)

    @app.get("/ok")
    async def ok() -> str:
        return "fine"

    async def secret() -> str:
        return CANARY

    async def secret_below(path: str) -> str:
        return CANARY

    router = APIRouter(prefix="/admin", dependencies=[Depends(guard)])
    router.get("/secret")(secret)
    router.get("/files/{path:path}")(secret_below)
    app.include_router(router)

    sub_app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    sub_app.get("/secret", dependencies=[Depends(guard)])(secret)
    app.mount("/sub", sub_app)

    async def plain(request: Request) -> Response:
        guard(request.headers.get("authorization", ""))
        return PlainTextResponse(CANARY)

    app.mount("/plain", Starlette(routes=[Mount("/deep", routes=[Route("/secret", plain)])]))
    app.mount("/static", StaticFiles(directory=folder / "public", html=True))
    base_pattern(app, allowed_hosts=["localhost"])
    return app


class Below:
    """What ``FastAPI(root_path="/api")`` does: the app knows of a path that a proxy has taken off."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "root_path": "/api"}, receive, send)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "secret.txt").write_text(CANARY)
    public = folder / "public"
    (public / "below").mkdir(parents=True)
    (public / "page.txt").write_text("a page")
    (public / "below" / "index.html").write_text("an index")
    (public / "link.txt").symlink_to(folder / "secret.txt")
    (folder / "public-not").mkdir()
    (folder / "public-not" / "secret.txt").write_text(CANARY)
    return folder


@pytest.fixture(scope="module", params=["httptools", "h11"])
def wires(request: pytest.FixtureRequest, folder: Path) -> Iterator[dict[str, Wire]]:
    """Services at the root; below a path, which the server knows; and one, which the app knows."""
    server: Server = request.param
    with ExitStack() as stack:
        yield {
            "root": stack.enter_context(on_the_wire(make_app(folder), server=server)),
            "server's path": stack.enter_context(
                on_the_wire(make_app(folder), server=server, root_path="/api")
            ),
            "app's path": stack.enter_context(on_the_wire(Below(make_app(folder)), server=server)),
        }


PLACES = ["root", "server's path", "app's path"]


def assert_kept(wire: Wire, answer: Answer) -> None:
    """The answer gives nothing away, is no failure, and leads nowhere else."""
    assert CANARY.encode() not in answer.body
    assert answer.status < 500, answer.body
    if answer.get("content-type") == "application/problem+json":
        problem = assert_problem(answer, answer.status)
        assert re.fullmatch(r"[!-~]*", problem.get("instance", ""))
    location = answer.get("location")
    if location is not None:
        assert urlsplit(location).netloc in ("localhost", "")
        assert re.fullmatch(r"[!-~]+", location)
    wire.assert_well()


# ---------------------------------------------------------------------- what is guarded

TRICKS = {
    "as it is": "/admin/secret",
    "a slash at the end": "/admin/secret/",
    "two slashes before": "//admin/secret",
    "three slashes before": "///admin/secret",
    "two slashes within": "/admin//secret",
    "a dot within": "/admin/./secret",
    "two dots within": "/ok/../admin/secret",
    "two dots of a public file": "/static/../admin/secret",
    "two dots at the beginning": "/../admin/secret",
    "a dot at the beginning": "/./admin/secret",
    "dots with a semicolon": "/ok/..;/admin/secret",
    "a semicolon": "/admin;/secret",
    "a matrix parameter": "/admin;a=b/secret;c=d",
    "a session id": "/admin/secret;jsessionid=1",
    "an encoded letter": "/%61dmin/secret",
    "letters encoded twice": "/%2561dmin/secret",
    "an encoded slash": "/admin%2fsecret",
    "an encoded slash at the beginning": "/%2fadmin/secret",
    "an encoded slash, twice": "/admin%252fsecret",
    "encoded dots": "/ok/%2e%2e/admin/secret",
    "encoded dots in capitals": "/ok/%2E%2E/admin/secret",
    "encoded dots, twice": "/ok/%252e%252e/admin/secret",
    "encoded dots and slash": "/ok%2f..%2fadmin%2fsecret",
    "an overlong slash": "/admin%c0%afsecret",
    "overlong dots": "/ok/%c0%ae%c0%ae/admin/secret",
    "a full width slash": "/admin%ef%bc%8fsecret",
    "a full width dot": "/ok/%ef%bc%8e%ef%bc%8e/admin/secret",
    "a backslash": "/admin%5csecret",
    "dots and a backslash": "/ok/..%5cadmin%5csecret",
    "capitals": "/ADMIN/SECRET",
    "one capital": "/Admin/secret",
    "a dotless i": "/adm%c4%b1n/secret",
    "a NUL": "/admin/secret%00",
    "a NUL and a suffix": "/admin/secret%00.css",
    "a line break": "/admin/secret%0a",
    "a space": "/admin/secret%20",
    "a tab": "/admin/secret%09",
    "a suffix": "/admin/secret.json",
    "a suffix of a style sheet": "/admin/secret/a.css",
    "a dot at the end": "/admin/secret.",
    "a query that looks like a path": "/ok?/../admin/secret",
    "an encoded question mark": "/ok%3f/../admin/secret",
    "an encoded number sign": "/ok%23/../admin/secret",
    "a percent sign by itself": "/admin/secret%",
    "a percent sign that is none": "/admin/secret%zz",
    "a mounted app's": "/sub/secret",
    "a mounted app's, two slashes": "/sub//secret",
    "a mounted app's, dots": "/sub/../sub/secret",
    "a mounted app's, encoded": "/sub%2fsecret",
    "a mounted app's, slash": "/sub/secret/",
    "a mounted app's, before its name": "/subsecret",
    "a mounted Starlette's": "/plain/deep/secret",
    "a mounted Starlette's, two slashes": "/plain/deep//secret",
    "a mounted Starlette's, dots": "/plain/x/../deep/secret",
    "below the guard, by a path": "/admin/files/..%2f..%2fok",
    "below the guard, dots": "/admin/files/../secret",
    "below the root path": "/api/admin/secret",
    "below the root path twice": "/api/api/admin/secret",
    "below the root path, two slashes": "/api//admin/secret",
    "below the root path, dots": "/api/../admin/secret",
    "beside the root path": "/apiadmin/secret",
    "the root path as a name": "/api;admin/secret",
    "the root path alone": "/api",
    "the root path and a slash": "/api/",
    "another's root path": "/other/admin/secret",
    "16 KB": "/admin/" + "a" * 16_000,
    "16 KB of slashes": "/" * 16_000 + "admin/secret",
    "16 KB of dots": "/ok" + "/.." * 5_000 + "/admin/secret",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", TRICKS.values(), ids=TRICKS)
def test_no_spelling_comes_past_a_guard(wires: dict[str, Wire], target: str, place: str) -> None:
    wire = wires[place]
    assert_kept(wire, wire.call("GET", target))
    assert_kept(wire, wire.call("POST", target, {"X-HTTP-Method-Override": "GET"}, b""))


REWRITES = {
    "X-Original-URL": "/admin/secret",
    "X-Rewrite-URL": "/admin/secret",
    "X-Forwarded-URI": "/admin/secret",
    "X-Forwarded-Path": "/admin/secret",
    "X-Forwarded-Prefix": "/admin",
    "X-Original-URI": "/admin/secret",
    "X-Accel-Redirect": "/admin/secret",
    "X-Sendfile": "secret.txt",
    "X-Script-Name": "/admin",
    "Script-Name": "/admin",
    "Path-Info": "/admin/secret",
    "Referer": "http://localhost/admin/secret",
    "X-Custom-IP-Authorization": "127.0.0.1",
    "Content-Location": "/admin/secret",
    "Destination": "/admin/secret",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", REWRITES)
def test_the_path_is_the_one_of_the_request_line(
    wires: dict[str, Wire], name: str, place: str
) -> None:
    wire = wires[place]
    answer = wire.call("GET", "/ok", {name: REWRITES[name]})
    assert (answer.status, answer.body) == (200, b'"fine"')
    assert_kept(wire, wire.call("GET", "/admin/secret", {name: "/ok"}))


@pytest.mark.parametrize("place", PLACES)
def test_who_has_the_token_comes_in(wires: dict[str, Wire], place: str) -> None:
    # Starlette finds mounted apps only where the proxy has left the path whole.
    below = "/api" if place == "app's path" else ""
    for target in ("/admin/secret", "/admin/files/a/b", "/sub/secret", "/plain/deep/secret"):
        answer = wires[place].call("GET", below + target, {"Authorization": TOKEN})
        assert (answer.status, CANARY.encode() in answer.body) == (200, True)


# ---------------------------------------------------------------------- other forms of targets

FORMS = {
    "absolute, of another host": "http://evil.example/admin/secret",
    "absolute, of this host": "http://localhost/admin/secret",
    "absolute, with a user": "http://localhost@evil.example/admin/secret",
    "absolute, another scheme": "gopher://localhost/admin/secret",
    "absolute, of a file": "file:///etc/passwd",
    "absolute, without a path": "http://localhost",
    "absolute, with a path twice": "http://localhost/http://localhost/admin/secret",
    "a host without a scheme": "//localhost/admin/secret",
    "a host and a port": "localhost:80",
    "without a slash": "admin/secret",
    "a star": "*",
    "a star with a path": "*/admin/secret",
    "a query alone": "?/admin/secret",
    "a fragment": "/ok#/admin/secret",
    "dots alone": "..",
    "a backslash": "\\admin\\secret",
    "a script": "javascript:alert(1)",
    "a star below": "/*",
    "braces": "/{path}",
    "a pipe": "/|admin|secret",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "HEAD", "CONNECT"])
@pytest.mark.parametrize("target", FORMS.values(), ids=FORMS)
def test_other_forms_of_targets_lead_nowhere(
    wires: dict[str, Wire], target: str, method: str, place: str
) -> None:
    wire = wires[place]
    with wire.line() as line:
        line.send(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = line.answer(head=method == "HEAD")
    if method == "HEAD":
        assert answer.status < 500
    else:
        assert_kept(wire, answer)


@pytest.mark.parametrize(
    "target",
    [
        *("//evil.example/static/below", "//evil.example/%2e%2e/static/below"),
        *("/\\evil.example/ok/", "/%2f/evil.example/ok/", "//evil.example//ok/"),
        *("/ok//evil.example/", "/static//evil.example"),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_no_redirection_leads_to_another_host(
    wires: dict[str, Wire], target: str, place: str
) -> None:
    answer = wires[place].call("GET", target)
    assert_kept(wires[place], answer)
    assert not (answer.get("location") or "").startswith(("//", "/\\"))


# ---------------------------------------------------------------------- files

FILES = {
    "dots": "/static/../secret.txt",
    "encoded dots": "/static/%2e%2e/secret.txt",
    "an encoded slash": "/static/..%2fsecret.txt",
    "all encoded": "/static/%2e%2e%2fsecret.txt",
    "encoded twice": "/static/%252e%252e%252fsecret.txt",
    "a backslash": "/static/..%5csecret.txt",
    "dots within": "/static/below/../../secret.txt",
    "dots within, encoded": "/static/below/%2e%2e/%2e%2e/secret.txt",
    "four dots": "/static/....//secret.txt",
    "a semicolon": "/static/..;/secret.txt",
    "overlong dots": "/static/%c0%ae%c0%ae/secret.txt",
    "a folder that begins the same": "/static/../public-not/secret.txt",
    "a folder that begins the same, encoded": "/static/%2e%2e/public-not/secret.txt",
    "a folder beside": "/static-not/secret.txt",
    "an absolute path": "/static//etc/passwd",
    "an absolute path, encoded": "/static/%2fetc%2fpasswd",
    "a NUL": "/static/page.txt%00",
    "a NUL before a suffix": "/static/%00page.txt",
    "a link to the outside": "/static/link.txt",
    "a home": "/static/~root/.bashrc",
    "a drive": "/static/c:/secret.txt",
    "a share": "/static/%5c%5cevil.example%5cshare",
    "a long name": "/static/" + "a" * 5_000,
    "a line break": "/static/page.txt%0a",
    "a lone byte": "/static/%ff",
    "the folder": "/static/",
    "the folder without a slash": "/static",
    "a folder's name": "/static/below",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", FILES.values(), ids=FILES)
def test_no_file_outside_of_the_folder_is_served(
    wires: dict[str, Wire], target: str, place: str
) -> None:
    answer = wires[place].call("GET", target)
    assert_kept(wires[place], answer)
    assert b"root:" not in answer.body


# ---------------------------------------------------------------------- pages that are switched off

OFF = [
    *("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/docs/", "//docs", "/DOCS"),
    *("/%64ocs", "/docs%2f", "/docs;", "/.%2fopenapi.json", "/openapi.json/", "/openapi.yaml"),
    *("/sub/docs", "/sub/openapi.json", "/sub/redoc", "/plain/docs", "/api/docs"),
    *("/api/openapi.json", "/static/../docs", "/swagger", "/swagger.json", "/api-docs"),
    *("/.env", "/.git/config", "/debug", "/__debug__", "/console", "/actuator", "/server-status"),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", OFF)
def test_what_is_switched_off_is_nowhere(wires: dict[str, Wire], target: str, place: str) -> None:
    answer = wires[place].call("GET", target)
    assert answer.status in (404, 405)
    assert_kept(wires[place], answer)
    assert b"swagger" not in answer.body.lower().replace(target.encode().lower(), b"")


METRICS = [
    "/metrics",
    "/metrics/",
    "//metrics",
    "/%6detrics",
    "/metrics?x",
    "/METRICS",
    "/metrics;",
]
PASSED_ON = {
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Host": "localhost",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Server": "proxy",
    "X-Real-IP": "127.0.0.1",
    "Forwarded": "for=127.0.0.1",
    "Via": "1.1 proxy",
    "CF-Connecting-IP": "127.0.0.1",
    "True-Client-IP": "::1",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", PASSED_ON)
def test_metrics_are_not_passed_on(wires: dict[str, Wire], name: str, place: str) -> None:
    for target in METRICS:
        answer = wires[place].call("GET", target, {name: PASSED_ON[name]})
        assert answer.status in (307, 403, 404)
        assert b"backstay_http" not in answer.body


@pytest.mark.parametrize("place", PLACES)
def test_metrics_are_for_this_machine_by_this_name(wires: dict[str, Wire], place: str) -> None:
    assert b"backstay_http" in wires[place].call("GET", "/metrics").body
    for method in ("HEAD", "POST", "OPTIONS"):
        answer = wires[place].call(method, "/metrics")
        assert (answer.status, b"backstay_http" in answer.body) == (405, False)


# ---------------------------------------------------------------------- exemptions under a root path


@pytest.mark.parametrize(
    ("place", "target", "status"),
    [
        ("root", "/livez", 200),
        ("root", "/api/livez", 400),
        ("server's path", "/livez", 200),
        ("server's path", "/api/livez", 400),
        ("app's path", "/livez", 200),
        ("app's path", "/api/livez", 200),
        ("app's path", "/apilivez", 400),
        ("app's path", "/api//livez", 400),
        ("app's path", "/api/api/livez", 400),
        ("root", "/livez/../admin/secret", 400),
        ("root", "/livez%2f..%2fadmin%2fsecret", 400),
        ("root", "/admin/secret?/livez", 400),
        ("root", "/admin/secret;/livez", 400),
        ("root", "/sub/livez", 400),
    ],
)
def test_probes_alone_are_answered_by_any_name(
    wires: dict[str, Wire], place: str, target: str, status: int
) -> None:
    answer = wires[place].call("GET", target, host="10.0.0.7")
    assert answer.status == status
    assert CANARY.encode() not in answer.body
