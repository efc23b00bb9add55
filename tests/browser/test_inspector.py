"""The official Inspector's command line lists, calls, reads and looks at widgets."""

import pytest

from tests.browser.inspector import Inspector, InspectorError
from tests.browser.tiny_server import MIME_TYPE, PAGE, RESOURCE_META, URI


@pytest.fixture
def inspector(tiny_url: str) -> Inspector:
    return Inspector(tiny_url)


def test_it_lists_the_tools(inspector: Inspector) -> None:
    assert inspector.tools()["add"]["_meta"]["ui"]["resourceUri"] == URI


def test_it_calls_a_tool_with_arguments(inspector: Inspector) -> None:
    assert inspector.call("add", {"a": 2, "b": 3})["structuredContent"] == {"sum": 5}


def test_without_a_handshake_it_calls_a_tool_all_the_same(tiny_url: str) -> None:
    modern = Inspector(tiny_url, modern=True)
    found = modern.call("add", {"a": 2, "b": 3})
    assert found["structuredContent"] == {"sum": 5}
    assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "tiny"


def test_a_tools_own_error_is_a_result(inspector: Inspector) -> None:
    assert inspector.call("add", {"a": 2})["isError"] is True


def test_it_reads_the_page_with_its_metadata(inspector: Inspector) -> None:
    found = inspector.read(URI)
    assert found["text"] == PAGE
    assert found["_meta"] == RESOURCE_META


def test_it_finds_a_tools_widget(inspector: Inspector) -> None:
    info = inspector.app_info("add")
    assert (info.resource_uri, info.mime_type) == (URI, MIME_TYPE)
    assert info.csp == RESOURCE_META["ui"]["csp"]


def test_it_says_that_a_tool_has_no_widget(inspector: Inspector) -> None:
    assert inspector.app_info("plain").resource_uri is None


def test_it_finds_the_schemas_portable(inspector: Inspector) -> None:
    assert inspector.check_schemas() == ""


def test_errors_of_the_server_are_raised(inspector: Inspector) -> None:
    with pytest.raises(InspectorError, match="ended with"):
        inspector.request("prompts/get", "--prompt-name", "none")
