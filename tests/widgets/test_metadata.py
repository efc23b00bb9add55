"""Both dialects from one declaration, and nothing where it does not belong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backstay.errors import BadWidget
from backstay.widgets import BaseWidget
from backstay.widgets.metadata import Csp, resource_meta, tool_annotations, tool_meta

PAGE = "ui://widget/w.1.html"


class Faced(BaseWidget):
    identifier = "faced"
    title = "Faced"
    invoking = "Working"
    invoked = "Worked"
    widget_description = "Shows a list."
    widget_prefers_border = True
    widget_domain = "https://shop.example.com"
    widget_permissions = ("camera", "clipboard_write")


def changed(**attributes: Any) -> BaseWidget:
    return type("Changed", (Faced,), attributes)()


def test_a_tool_names_its_page_in_every_spelling() -> None:
    meta = tool_meta(Faced(), PAGE, None, ())
    assert meta["ui"] == {"resourceUri": PAGE, "visibility": ["model", "app"]}
    assert meta["ui/resourceUri"] == meta["openai/outputTemplate"] == PAGE
    assert meta["openai/toolInvocation/invoking"] == "Working"
    assert meta["openai/toolInvocation/invoked"] == "Worked"
    assert meta["openai/widgetAccessible"] is True
    assert "securitySchemes" not in meta
    assert "csp" not in json.dumps(meta).lower()


def test_a_widget_without_a_page_names_none() -> None:
    assert set(tool_meta(Faced(), None, None, ())) == {
        "openai/toolInvocation/invoking",
        "openai/toolInvocation/invoked",
    }
    assert tool_meta(None, None, None, ()) == {}


def test_files_and_security_are_told() -> None:
    schemes = [{"type": "oauth2", "scopes": ["orders"]}]
    meta = tool_meta(None, None, schemes, ("photo",))
    assert meta == {"openai/fileParams": ["photo"], "securitySchemes": schemes}


def test_what_is_for_faces_alone_is_hidden_from_the_model_in_both_dialects() -> None:
    meta = tool_meta(changed(visibility=("app",)), PAGE, None, ())
    assert meta["ui"]["visibility"] == ["app"]
    assert meta["openai/visibility"] == "private"
    plain = tool_meta(None, None, None, (), visibility=("app",))
    assert plain["ui"] == {"visibility": ["app"]}
    assert plain["openai/widgetAccessible"] is True


def test_a_page_says_who_it_may_reach_in_both_dialects() -> None:
    csp = Csp(
        {
            "connect_domains": ["https://api.example.com"],
            "resourceDomains": ["https://cdn.example.com", "https://cdn.example.com"],
            "frame_domains": ["https://maps.example.com"],
            "base_uri_domains": ["https://base.example.com"],
            "redirect_domains": ["https://pay.example.com"],
        },
        "w",
    )
    meta = resource_meta(Faced(), csp)
    assert meta["ui"] == {
        "prefersBorder": True,
        "csp": {
            "connectDomains": ["https://api.example.com"],
            "resourceDomains": ["https://cdn.example.com"],
            "frameDomains": ["https://maps.example.com"],
            "baseUriDomains": ["https://base.example.com"],
        },
        "permissions": {"camera": {}, "clipboardWrite": {}},
        "domain": "https://shop.example.com",
    }
    assert meta["openai/widgetCSP"] == {
        "connect_domains": ["https://api.example.com"],
        "resource_domains": ["https://cdn.example.com"],
        "frame_domains": ["https://maps.example.com"],
        "redirect_domains": ["https://pay.example.com"],
    }
    assert meta["openai/widgetDescription"] == "Shows a list."
    assert meta["openai/widgetPrefersBorder"] is True
    assert meta["openai/widgetDomain"] == "https://shop.example.com"


def test_a_page_that_reaches_nobody_says_so_to_chatgpt() -> None:
    assert resource_meta(Faced(), Csp(None, "w"))["openai/widgetCSP"] == {
        "connect_domains": [],
        "resource_domains": [],
    }


def test_the_servers_domains_are_added_and_the_widgets_own_stay() -> None:
    own = Csp({"connect_domains": ["https://a.example"]}, "w")
    more = own.with_more({"connect_domains": ["https://b.example", "https://a.example"]})
    assert more.domains == {"connect_domains": ["https://a.example", "https://b.example"]}
    assert own.domains == {"connect_domains": ["https://a.example"]}


@pytest.mark.parametrize(
    ("domains", "told"),
    [
        (
            {"script_domains": []},
            r"widget_csp of w has 'script_domains'; it knows base_uri_domains",
        ),
        (
            {"connect_domains": "https://a.example"},
            r"is a list of origins; got 'https://a.example'",
        ),
        ({"connect_domains": ["a.example"]}, r"'a.example', which is no origin such as https://"),
        ({"connect_domains": ["https://a.example; script-src *"]}, r"is no origin"),
        ({"connect_domains": ["https://a.example\nx"]}, r"is no origin"),
    ],
)
def test_what_is_no_list_of_origins_is_refused(domains: Any, told: str) -> None:
    with pytest.raises(BadWidget, match=told):
        Csp(domains, "w")


def test_permissions_nobody_knows_are_refused() -> None:
    with pytest.raises(BadWidget, match=r"are of camera, .*got 'moon'"):
        resource_meta(changed(widget_permissions=("moon",)), Csp(None, "w"))


def test_hints_that_were_not_given_are_left_out() -> None:
    assert tool_annotations("T") == {"title": "T"}
    assert tool_annotations(
        "T", read_only=True, destructive=False, idempotent=True, open_world=False
    ) == {
        "title": "T",
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": False,
    }
