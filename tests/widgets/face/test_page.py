"""One self-contained document out of a fragment, the bridge and the ready templates."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.widgets.face import TEMPLATES, compose, policy, template


class Outline(HTMLParser):
    """Tags with their attributes, and the text in each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._at = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._at = tag
        if tag in {"title", "script"}:
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._at = ""

    def handle_data(self, data: str) -> None:
        if self._at in self.texts:
            self.texts[self._at][-1] += data

    def count(self, tag: str) -> int:
        return sum(1 for each, _ in self.tags if each == tag)


def test_a_fragment_becomes_a_document_with_the_bridge_before_every_script() -> None:
    page = compose("<p>hi</p><script>mine()</script>", title="Prices", locale="pt_BR")
    outline = Outline(page)
    assert page.startswith('<!doctype html>\n<html lang="pt-BR">')
    assert outline.texts["title"] == ["Prices"]
    assert "window.backstay = backstay" in outline.texts["script"][0]
    assert "backstay.ui =" in outline.texts["script"][1]
    assert outline.texts["script"][2] == "mine()"
    names = [
        attrs.get("name") or attrs.get("http-equiv") for tag, attrs in outline.tags if tag == "meta"
    ]
    assert names == [None, "viewport", "Content-Security-Policy"]


def test_the_policy_stands_before_everything_it_holds_for() -> None:
    page = compose("<p>hi</p>", title="t")
    assert page.index("Content-Security-Policy") < page.index("<style>") < page.index("<script>")
    assert page.index("charset") < 1024  # HTML §4.2.5.5


def test_whole_documents_get_the_bridge_and_keep_their_own_looks() -> None:
    page = compose("<html><head><title>Mine</title><style>p{}</style></head></html>", title="t")
    outline = Outline(page)
    assert outline.texts["title"] == ["Mine"]
    assert outline.count("style") == 1
    assert outline.count("script") == 1
    assert Outline(compose("<html></html>", title="t", base=True)).count("script") == 2


def test_without_bridge_and_policy_little_is_added() -> None:
    page = compose("<p>hi</p>", title="t", bridge=False, strict_csp=False)
    assert "<script>" not in page
    assert "Content-Security-Policy" not in page
    assert "<style>" not in page


def test_the_base_needs_the_bridge() -> None:
    with pytest.raises(ValueError, match="leave bridge=True"):
        compose("<p>", title="t", bridge=False, base=True)


@pytest.mark.parametrize("locale", ["", "en us", 'en"><script>', "englishlanguage"])
def test_a_locale_that_is_none_is_refused(locale: str) -> None:
    with pytest.raises(ValueError, match="no language tag; write one as BCP 47"):
        compose("<p>", title="t", locale=locale)


def test_a_page_that_hosts_would_show_with_holes_is_refused() -> None:
    with pytest.raises(ValueError, match='declare resource_domains=."https://cdn.test"'):
        compose('\n<img src="https://cdn.test/a.png">', title="t")
    page = compose('<img src="https://cdn.test/a.png">', title="t", resource_domains=["cdn.test"])
    assert "img-src data: blob: https://cdn.test;" in page


def test_the_policy_lets_nothing_through_that_is_not_declared() -> None:
    assert policy() == (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; media-src data: blob:; connect-src 'none'; "
        "frame-src 'none'; form-action 'none'"
    )
    declared = policy(resource_domains=["*.cdn.test"], connect_domains=["wss://live.test"])
    assert "script-src 'unsafe-inline' https://*.cdn.test;" in declared
    assert "connect-src wss://live.test;" in declared
    assert "frame-src https://tube.test;" in policy(frame_domains=["tube.test"])
    assert "unsafe-eval" not in declared


@given(st.text())
def test_a_title_is_text_whatever_it_says(title: str) -> None:
    outline = Outline(compose("<p>", title=title))
    plain = title.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    assert outline.count("script") == 2
    if plain and "\0" not in title and "\r" not in title:
        assert outline.texts["title"] == [plain]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from(["</script>", "<!--", "\u2028"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text() | st.just("</script><script>alert(1)"), JSON, max_size=4))
def test_props_are_data_whatever_they_hold(props: dict[str, Any]) -> None:
    page = compose("<p>", title="t", props=props)
    outline = Outline(page)
    assert outline.count("script") == 3
    assert "<" not in outline.texts["script"][0]
    assert json.loads(outline.texts["script"][0]) == props


def test_props_that_are_no_json_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        compose("<p>", title="t", props={"a": float("nan")})


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_composes_says_its_contract_and_keeps_to_the_rules(name: str) -> None:
    source = template(name)
    assert source.startswith("<!--\n")
    assert "`execute` returns:" in source
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "fetch(",
        "XMLHttpRequest",
    ):
        assert forbidden not in compose(source, title="t"), forbidden
    assert not re.search(r"\son[a-z]+=", source), "no handlers in markup"


def test_a_template_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'table'; there are: albums, carousel, chart, form, list"):
        template("table")


def test_the_names_are_those_of_the_files_and_sorted() -> None:
    from importlib.resources import files

    folder = files("backstay.widgets.face").joinpath("templates")
    assert list(TEMPLATES) == sorted(each.name.removesuffix(".html") for each in folder.iterdir())


def test_what_is_inlined_is_small() -> None:
    bridge = compose("<html></html>", title="t")
    assert len(bridge.encode()) < 14_000
    assert not re.search(r"^(?:\s+\S|\s*//)", bridge.split("<script>")[1], re.MULTILINE)


def test_nothing_is_read_at_import() -> None:
    code = (
        "import sys, builtins, io, importlib.resources as r\n"
        "r.files = lambda *a: sys.exit('read at import')\n"
        "import backstay.widgets.face.page"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
