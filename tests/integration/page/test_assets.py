"""What browsers are sent is in the package, and says what it may do."""

import re
from importlib.resources import files

import pytest
from starlette.requests import Request

from backstay.integration.page.assets import asset_answer, page_answer

FOLDER = files("backstay.integration.page").joinpath("browser")
NAMES = sorted(each.name for each in FOLDER.iterdir())


def request(**headers: str) -> Request:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": fields})


def test_the_title_is_text_and_never_markup() -> None:
    html = page_answer("docs", '<script>"&$folder').body.decode()  # type: ignore[union-attr]
    assert "<script>&" not in html
    assert "&lt;script&gt;&quot;&amp;$folder" in html


def test_the_page_runs_and_loads_nothing_but_its_own_files() -> None:
    policy = page_answer("docs", "Shop").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    html = page_answer("docs", "Shop").body.decode()  # type: ignore[union-attr]
    assert re.findall(r'(?:src|href)="(?!#)([^"]*)"', html) == [
        "docs/mark.svg",
        "docs/look.js",
        "docs/look.css",
        "docs/main.js",
        "docs/mark.svg",
        "docs.json",
    ]
    assert "style=" not in html
    assert not re.search(r"<script(?! (?:type=\"module\" )?src)", html)


@pytest.mark.parametrize("name", [each for each in NAMES if each != "page.html"])
def test_a_file_is_answered_with_its_type_and_kept_until_it_changes(name: str) -> None:
    first = asset_answer(request(), name)
    assert first.status_code == 200
    assert first.headers["content-type"].partition(";")[0] in {
        "text/css",
        "text/javascript",
        "image/svg+xml",
    }
    assert first.headers["x-content-type-options"] == "nosniff"
    tag = first.headers["etag"]
    for known in (tag, f'"old", W/{tag}'):
        again = asset_answer(request(if_none_match=known), name)
        assert (again.status_code, again.body) == (304, b"")
    assert asset_answer(request(if_none_match='"old"'), name).status_code == 200


@pytest.mark.parametrize(
    "name",
    ["page.html", "none.js", "../document.py", "..%2fdocument.py", "main.js/", "MAIN.js", ""],
)
def test_nothing_else_is_answered(name: str) -> None:
    assert asset_answer(request(), name).status_code == 404


@pytest.mark.parametrize(
    "name", [each for each in NAMES if each.endswith((".js", ".css", ".html"))]
)
def test_no_file_refers_to_another_host(name: str) -> None:
    text = FOLDER.joinpath(name).read_text()
    assert set(re.findall(r"https?://[^\s\"'`)]+", text)) <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("name", [each for each in NAMES if each.endswith(".js")])
def test_no_script_writes_markup(name: str) -> None:
    text = FOLDER.joinpath(name).read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
