"""What a server offers, by name; each name once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import BadWidget
from backstay.widgets import BaseWidget
from backstay.widgets.declaration import function_tool, widget_tool
from backstay.widgets.faces import Face
from backstay.widgets.metadata import Csp
from backstay.widgets.registry import Registry, did_you_mean
from backstay.widgets.resources import Prompt, Resource, Template


class Faced(BaseWidget):
    identifier = "faced.v2"
    title = "Faced"

    def execute(self, inputs: object) -> None: ...


def plain() -> None: ...


def resource(uri: str = "shop://terms") -> Resource:
    return Resource(uri=uri, read=lambda: "text", described={"uri": uri})


def template(uri: str = "orders://{order}") -> Template:
    return Template(uri, lambda order: order, {"uriTemplate": uri}, None, None)


def prompt(name: str = "greet") -> Prompt:
    return Prompt(name=name, write=lambda who: who, described={}, arguments={"who": True})


def with_face() -> tuple[Registry, Face]:
    registry = Registry()
    face = Face(Faced(), "<p>hi</p>", Csp(None, "w"))
    registry.add_tool(widget_tool(Faced(), face, timeout_s=None))
    return registry, face


def test_every_name_and_address_is_used_once() -> None:
    registry, face = with_face()
    registry.add_tool(function_tool(plain))
    registry.add_resource(resource())
    registry.add_template(template())
    registry.add_prompt(prompt())
    with pytest.raises(BadWidget, match=r"two tools or widgets are called 'plain'"):
        registry.add_tool(function_tool(plain))
    with pytest.raises(BadWidget, match=r"two resources are at 'shop://terms'"):
        registry.add_resource(resource())
    with pytest.raises(BadWidget, match=r"two resources are at 'ui://widget/faced\.v2\.html'"):
        registry.add_resource(resource(face.base_uri))
    with pytest.raises(BadWidget, match=r"two resources are at 'orders://\{order\}'"):
        registry.add_template(template())
    with pytest.raises(BadWidget, match=r"two prompts are called 'greet'"):
        registry.add_prompt(prompt())


def test_the_list_of_tools_grows_with_them() -> None:
    registry, _ = with_face()
    assert [each["name"] for each in registry.tools_listed] == ["faced.v2"]
    assert registry.tools_listed is registry.tools_listed, "made once"
    registry.add_tool(function_tool(plain))
    assert [each["name"] for each in registry.tools_listed] == ["faced.v2", "plain"]


def test_a_page_is_found_at_every_address_it_ever_had_and_listed_once() -> None:
    registry, face = with_face()
    assert registry.pages() == [face]
    for uri in (face.uri, face.base_uri, "ui://widget/faced.v2.0123456789ab.html"):
        assert registry.face_at(uri) is face
    for uri in ("ui://widget/other.html", "ui://widget/faced.html", "shop://faced.v2.x.html", ""):
        assert registry.face_at(uri) is None


def test_completers_are_for_arguments_that_are_there() -> None:
    registry = Registry()
    registry.add_prompt(prompt())
    registry.add_template(template())
    registry.add_completer("greet", "who", lambda value: [])
    registry.add_completer("orders://{order}", "order", lambda value: [])
    assert set(registry.completers) == {("greet", "who"), ("orders://{order}", "order")}
    with pytest.raises(BadWidget, match=r"there is no prompt of that name and no resource"):
        registry.add_completer("unknown", "who", lambda value: [])
    with pytest.raises(BadWidget, match=r"completion for 'why' of 'greet', which has who"):
        registry.add_completer("greet", "why", lambda value: [])


def test_a_name_that_is_none_gets_the_nearest_or_those_there_are() -> None:
    assert did_you_mean("fnd", ["find", "order"]) == "did you mean 'find'?"
    assert did_you_mean("zzz", ["find", "order"]) == "there are: find, order"
    assert did_you_mean("zzz", []) == "this server has none"
    assert did_you_mean("zzz", (f"n{n}" for n in range(50))).endswith("n19 …")


@given(name=st.text(max_size=2000), known=st.lists(st.text(min_size=1, max_size=20), max_size=40))
def test_a_hint_is_short_whatever_was_asked(name: str, known: list[str]) -> None:
    assert 0 < len(did_you_mean(name, known)) < 1000
