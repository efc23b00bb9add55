"""Finding the page that hosts show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BadWidget
from backstay.widgets import BaseWidget
from backstay.widgets.faces import Face, find_face
from backstay.widgets.metadata import APP_MIME_TYPE, Csp

NONE = Csp(None, "w")


class Faced(BaseWidget):
    identifier = "faced_in_tests"
    title = "Faced"
    widget_description = "Shows it."


def changed(**attributes: Any) -> BaseWidget:
    return type("Changed", (Faced,), {"__module__": __name__, **attributes})()


def test_a_widget_that_names_no_page_and_has_none_beside_it_has_no_face(tmp_path: Path) -> None:
    assert find_face(Faced(), NONE, [tmp_path]) is None


def test_text_with_a_tag_in_it_is_a_page() -> None:
    face = find_face(changed(html="<p>hello</p>"), NONE)
    assert face is not None
    assert "<p>hello</p>" in face.page
    assert face.page.lower().startswith("<!doctype html>")
    assert face.path is None
    assert face.reload() is False


def test_a_ready_template_is_a_page() -> None:
    face = find_face(changed(template="list"), NONE)
    assert face is not None
    assert "Faced" in face.page


@pytest.mark.parametrize("name", ["faced_in_tests.html", "faced_in_tests/index.html"])
def test_a_page_is_found_in_the_folders_of_the_server(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("<p>found</p>")
    face = find_face(Faced(), NONE, [tmp_path / "elsewhere", tmp_path])
    assert face is not None
    assert face.path == tmp_path / name


def test_a_component_that_was_built_is_a_page(tmp_path: Path) -> None:
    built = tmp_path / "faced_in_tests" / "dist" / "index.html"
    built.parent.mkdir(parents=True)
    built.write_text("<div id=root></div>")
    (tmp_path / "faced_in_tests" / "index.jsx").write_text("")
    face = find_face(Faced(), NONE, [tmp_path])
    assert face is not None
    assert face.path == built


@pytest.mark.parametrize("component", ["index.jsx", "index.tsx"])
def test_a_component_that_was_not_built_names_the_command(tmp_path: Path, component: str) -> None:
    (tmp_path / "faced_in_tests").mkdir()
    (tmp_path / "faced_in_tests" / component).write_text("")
    with pytest.raises(BadWidget, match=r"has not been built: run  backstay widgets build"):
        find_face(Faced(), NONE, [tmp_path])


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"html": "<p>", "template": "list"}, r"has both html and template; choose one"),
        ({"template": "lists"}, r"names the template 'lists'; there are: .*list"),
        ({"html": "missing.html"}, r"names the page 'missing.html', and there is no file /"),
        ({"html": Path("/no/such/page.html")}, r"there is no file /no/such/page.html"),
    ],
)
def test_a_page_that_is_not_there_is_refused(attributes: dict[str, Any], told: str) -> None:
    with pytest.raises(BadWidget, match=told):
        find_face(changed(**attributes), NONE)


def test_a_page_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadWidget, match=r"page of the widget 'faced_in_tests', .*cannot be read"):
        find_face(changed(html=tmp_path / "page.html"), NONE)


def test_an_address_changes_with_the_page_and_only_then() -> None:
    one, same, other = (Face(Faced(), html, NONE) for html in ("<p>1</p>", "<p>1</p>", "<p>2</p>"))
    assert one.uri == same.uri != other.uri
    assert one.base_uri == other.base_uri == "ui://widget/faced_in_tests.html"


def test_a_page_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<p>one</p>")
    face = find_face(changed(html=path), NONE)
    assert face is not None
    uri = face.uri
    assert face.reload() is False
    path.write_text("<p>two</p>")
    os.utime(path, ns=(1, 1))
    assert face.reload() is True
    assert "two" in face.page
    assert face.uri == uri
    assert face.reload() is False


def test_what_is_listed_and_what_is_read_say_the_same() -> None:
    face = Face(Faced(), "<p>hi</p>", Csp({"connect_domains": ["https://a.example"]}, "w"))
    listed, read = face.listed(), face.contents("ui://widget/asked.html")
    assert listed["_meta"] == read["_meta"]
    assert listed["mimeType"] == read["mimeType"] == APP_MIME_TYPE
    assert listed["description"] == "Shows it."
    assert read["uri"] == "ui://widget/asked.html"
    assert read["text"] == face.page
