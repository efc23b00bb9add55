"""The official Inspector's command line, which nobody of ours has written, finds everything in order."""

from __future__ import annotations

import pytest

from tests.browser.inspector import Inspector
from tests.widgets.hosts.app import PHOTOS, server
from tests.widgets.hosts.scenes import SCENES


@pytest.fixture
def inspector(endpoint: str) -> Inspector:
    return Inspector(endpoint)


def test_it_lists_every_widget_and_tool_with_its_page(inspector: Inspector) -> None:
    tools = inspector.tools()
    assert set(tools) == set(server.registry.tools)
    for scene in SCENES:
        meta = tools[scene.tool]["_meta"]
        assert meta["ui"]["resourceUri"].startswith(f"ui://widget/{scene.tool}.")
        assert meta["openai/outputTemplate"] == meta["ui"]["resourceUri"]
    assert tools["save_place"]["_meta"]["ui"]["visibility"] == ["app"]


@pytest.mark.parametrize("modern", [False, True], ids=["handshake", "2026-07-28"])
def test_it_calls_a_widget(endpoint: str, modern: bool) -> None:
    found = Inspector(endpoint, modern=modern).call("find_places", {"text": "museu"})
    assert [each["id"] for each in found["structuredContent"]["items"]] == ["2"]


def test_a_validation_error_is_a_result_that_names_its_field(inspector: Inspector) -> None:
    given = {"name": "Ada", "email": "ada@example.com"}
    found = inspector.call("book_pick_up", given)
    assert found["isError"] is True
    assert found["structuredContent"]["field"] == "email"


def test_it_finds_the_app_of_a_widget_and_its_policy(inspector: Inspector) -> None:
    info = inspector.app_info("show_albums")
    assert info.resource_uri is not None
    assert info.resource_uri.startswith("ui://widget/show_albums.")
    assert info.mime_type == "text/html;profile=mcp-app"
    assert info.csp == {"resourceDomains": [PHOTOS]}
    assert info.raw["hasApp"] is True


def test_it_finds_no_app_of_a_tool_without_a_face(inspector: Inspector) -> None:
    assert inspector.app_info("save_place").resource_uri is None


def test_it_finds_all_schemas_portable(inspector: Inspector) -> None:
    assert inspector.check_schemas() == ""
