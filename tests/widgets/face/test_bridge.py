"""The bridge in a real browser, between a page and hosts of either dialect."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.widgets.face import compose
from tests.widgets.face.stage import Stage

# Writes down what the bridge says, in the order it says it.
PAGE = """
<p id="out">waiting</p><a href="https://example.com/there">out</a>
<script>
  window.heard = [];
  for (const event of ["props", "input", "partial", "meta", "state", "theme", "host", "error", "teardown", "progress"]) {
    backstay.on(event, (value) => heard.push([event, event === "host" ? null : value instanceof Error ? value.message : value]));
  }
  backstay.on("props", (props) => { document.getElementById("out").textContent = props.text; });
</script>
"""
BRIDGED = compose(PAGE, title="probe", base=False)
DIALECTS = ["ui", "openai", "both"]


def heard(stage: Stage, event: str) -> list[Any]:
    return [value for name, value in stage.frame("window.heard") if name == event]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_props_arrive_once_in_either_dialect(stage: Stage, dialect: str) -> None:
    stage.open(BRIDGED, {"text": "hello"}, dialect=dialect)
    stage.until("document.getElementById('out').textContent === 'hello'")
    stage.frame("backstay.ready.then(() => true)")
    if dialect != "openai":
        stage.until("backstay.dialect === 'ui'")
        stage.until_host(
            "window.sent.some((each) => each.method === 'ui/notifications/initialized')"
        )
    assert stage.frame("backstay.dialect") == ("openai" if dialect == "openai" else "ui")
    assert len(heard(stage, "props")) <= 1  # openai's may have come before anybody listened
    assert stage.problems() == []


def test_the_handshake_is_that_of_the_specification(stage: Stage) -> None:
    stage.open(BRIDGED)
    stage.until_host("window.sent.some((each) => each.method === 'ui/notifications/initialized')")
    assert stage.host("window.sent[0]") == {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "ui/initialize",
        "params": {
            "protocolVersion": "2026-01-26",
            "appInfo": {"name": "probe", "version": "1"},
            "appCapabilities": {"availableDisplayModes": ["inline", "fullscreen", "pip"]},
        },
    }


def test_a_window_openai_that_comes_late_is_found(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "late"}, dialect="openai", setup={"late": True})
    assert stage.frame("backstay.dialect") is None
    stage.host("window.view.contentWindow.postMessage({ arrive: true }, '*')")
    stage.until("document.getElementById('out').textContent === 'late'")
    assert stage.frame("backstay.dialect") == "openai"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_tools_are_called_and_their_results_are_whole(stage: Stage, dialect: str) -> None:
    stage.open(BRIDGED, {"text": "x"}, dialect=dialect, answers={"add": [{"sum": 3}]})
    result = stage.frame("backstay.callTool('add', {a: 1, b: 2})")
    assert result["structuredContent"] == {"sum": 3}
    assert stage.calls() == [{"tool": "add", "arguments": {"a": 1, "b": 2}}]


@pytest.mark.parametrize("dialect", ["ui", "openai"])
def test_a_tool_that_fails_rejects_with_what_it_says(stage: Stage, dialect: str) -> None:
    refused = {"isError": True, "content": [{"type": "text", "text": "no such order"}]}
    stage.open(
        BRIDGED,
        {"text": "x"},
        dialect=dialect,
        answers={"a": [refused], "b": [{"fails": "offline"}]},
    )
    said = "backstay.callTool('%s').catch((error) => [error.message, Boolean(error.result)])"
    assert stage.frame(said % "a") == ["no such order", True]
    assert stage.frame(said % "b") == ["offline", False]


def test_structured_content_is_found_where_hosts_put_it(stage: Stage) -> None:
    text = {"content": [{"type": "text", "text": '{"n": 1}'}]}
    stage.open(
        BRIDGED,
        {"text": "x"},
        dialect="openai",
        answers={"a": [text], "b": [{"content": [], "result": '{"n": 2}'}]},
    )
    assert stage.frame("backstay.callTool('a').then((r) => r.structuredContent)") == {"n": 1}
    assert stage.frame("backstay.callTool('b').then((r) => r.structuredContent)") == {"n": 2}


def test_a_call_that_is_never_answered_ends_with_a_clear_error(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "x"}, setup={"ui": {"silent": ["tools/call"]}})
    said = "backstay.callTool('slow', {}, { timeoutMs: 50 }).catch((error) => error.message)"
    assert stage.frame(said) == "tools/call was not answered within 0.05 s"


def test_progress_of_a_call_is_told_and_keeps_it_alive(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "x"}, setup={"ui": {"silent": ["tools/call"]}})
    stage.frame(
        """void backstay.callTool('long', {}, { onProgress: (p) => { window.far = p; } })"""
    )
    stage.until_host("window.sent.some((each) => each.method === 'tools/call')")
    call = stage.sent("tools/call")[0]
    token = call["params"]["_meta"]["progressToken"]
    stage.notify(
        "notifications/progress",
        {"progressToken": token, "progress": 3, "total": 9, "message": "third"},
    )
    stage.until("window.far !== undefined")
    assert stage.frame("window.far") == {"done": 3, "total": 9, "message": "third"}
    assert stage.frame("backstay.progress.done") == 3


def test_inputs_and_partial_inputs_arrive(stage: Stage) -> None:
    stage.open(BRIDGED)
    stage.frame("backstay.ready.then(() => true)")
    stage.notify("ui/notifications/tool-input-partial", {"arguments": {"city": "Vie"}})
    stage.notify("ui/notifications/tool-input", {"arguments": {"city": "Vienna"}})
    stage.until("backstay.input !== null")
    assert stage.frame("[backstay.partialInput, backstay.input]") == [
        {"city": "Vie"},
        {"city": "Vienna"},
    ]


def test_a_failed_or_cancelled_call_is_an_error_and_leaves_props_alone(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "kept"})
    stage.until("backstay.props !== null")
    failed = {"isError": True, "content": [{"type": "text", "text": "too late"}]}
    stage.notify("ui/notifications/tool-result", failed)
    stage.notify("ui/notifications/tool-cancelled", {"reason": "user action"})
    stage.until("window.heard.filter(([event]) => event === 'error').length === 2")
    assert heard(stage, "error") == ["too late", "The call was cancelled: user action"]
    assert stage.frame("backstay.props") == {"text": "kept"}


def test_the_host_s_looks_are_put_on_the_page(stage: Stage) -> None:
    stage.open(
        BRIDGED,
        {"text": "x"},
        context={
            "theme": "dark",
            "locale": "ar-EG",
            "displayMode": "fullscreen",
            "safeAreaInsets": {"top": 12, "right": 0, "bottom": 34, "left": 0},
            "containerDimensions": {"maxHeight": 480},
            "platform": "mobile",
            "deviceCapabilities": {"touch": True},
            "styles": {"variables": {"--color-text-primary": "rebeccapurple", "color": "red"}},
        },
    )
    stage.until("backstay.theme === 'dark'")
    root = stage.frame(
        "(({ lang, dir, dataset, style }) => ({ lang, dir, ...dataset, scheme: style.colorScheme,"
        " ink: style.getPropertyValue('--color-text-primary'), other: style.color,"
        " top: style.getPropertyValue('--safe-top') }))(document.documentElement)"
    )
    assert root == {
        "lang": "ar-EG",
        "dir": "rtl",
        "theme": "dark",
        "displayMode": "fullscreen",
        "scheme": "dark",
        "ink": "rebeccapurple",
        "other": "",
        "top": "12px",
    }
    assert stage.frame("[backstay.maxHeight, backstay.safeArea.bottom]") == [480, 34]
    assert stage.frame("backstay.userAgent") == {
        "device": {"type": "mobile"},
        "capabilities": {"hover": False, "touch": True},
    }


def test_a_change_of_theme_reaches_the_page_in_both_dialects(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "x"})
    stage.frame("backstay.ready.then(() => true)")
    stage.notify("ui/notifications/host-context-changed", {"theme": "dark"})
    stage.until("document.documentElement.dataset.theme === 'dark'")
    stage.open(BRIDGED, {"text": "x"}, dialect="openai")
    stage.globals(theme="dark", safeArea={"insets": {"top": 5}})
    stage.until("document.documentElement.dataset.theme === 'dark'")
    assert stage.frame("backstay.safeArea") == {"top": 5, "right": 0, "bottom": 0, "left": 0}
    assert "dark" in heard(stage, "theme")


def test_without_a_word_from_the_host_the_reader_s_own_theme_holds(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "x"}, context={"theme": None, "locale": None}, color_scheme="dark")
    stage.until("document.documentElement.dataset.theme === 'dark'")


def test_new_output_in_window_openai_is_news_and_the_same_is_not(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "one"}, dialect="openai")
    stage.until("backstay.props !== null")
    stage.globals(toolOutput={"text": "one"})
    stage.globals(toolOutput={"text": "two"})
    stage.until("document.getElementById('out').textContent === 'two'")
    assert heard(stage, "props")[-1] == {"text": "two"}
    assert heard(stage, "props").count({"text": "one"}) <= 1


def test_teardown_is_told_and_answered_and_so_are_pings(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "x"})
    stage.frame("backstay.ready.then(() => true)")
    stage.host("window.tell({ id: 'a', method: 'ping' })")
    stage.host("window.tell({ id: 'b', method: 'ui/resource-teardown', params: {} })")
    stage.host("window.tell({ id: 'c', method: 'tools/list' })")
    stage.until_host("window.sent.some((each) => each.id === 'c')")
    answers = {
        each["id"]: each for each in stage.host("window.sent") if each.get("id") in {"a", "b", "c"}
    }
    assert answers["a"]["result"] == {}
    assert answers["b"]["result"] == {}
    assert answers["c"]["error"]["code"] == -32601  # JSON-RPC 2.0 §5.1
    assert len(heard(stage, "teardown")) == 1


def test_messages_of_others_and_of_other_shapes_are_ignored(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "true"})
    stage.until("document.getElementById('out').textContent === 'true'")
    forged = (
        "{ jsonrpc: '2.0', method: 'ui/notifications/tool-result',"
        " params: { structuredContent: { text: 'forged' } } }"
    )
    stage.frame(f"window.postMessage({forged}, '*')")  # from itself, not from the host
    for odd in ("null", "'text'", "42", "[]", "{ method: 'ping' }", "{ jsonrpc: '1.0' }"):
        stage.host(f"window.view.contentWindow.postMessage({odd}, '*')")
    stage.host("window.tell({ id: 99, result: {} })")
    stage.host("window.tell({ id: 'last', method: 'ping' })")
    stage.until_host("window.sent.some((each) => each.id === 'last')")
    assert stage.frame("document.getElementById('out').textContent") == "true"
    assert stage.problems() == []


@pytest.mark.parametrize(
    ("call", "method", "params"),
    [
        (
            "sendMessage('hi')",
            "ui/message",
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        ),
        ("openLink('https://a.test/')", "ui/open-link", {"url": "https://a.test/"}),
        ("requestDisplayMode('fullscreen')", "ui/request-display-mode", {"mode": "fullscreen"}),
        ("readResource('ui://x')", "resources/read", {"uri": "ui://x"}),
    ],
)
def test_what_a_page_asks_goes_out_as_mcp_apps_has_it(
    stage: Stage, call: str, method: str, params: dict[str, Any]
) -> None:
    stage.open(BRIDGED, {"text": "x"})
    stage.frame(f"backstay.{call}")
    assert [each["params"] for each in stage.sent(method)] == [params]


@pytest.mark.parametrize(
    ("call", "name", "argument"),
    [
        ("sendMessage('hi')", "sendFollowUpMessage", {"prompt": "hi"}),
        ("openLink('https://a.test/')", "openExternal", {"href": "https://a.test/"}),
        ("requestDisplayMode('pip')", "requestDisplayMode", {"mode": "pip"}),
    ],
)
def test_what_a_page_asks_goes_out_as_chatgpt_has_it(
    stage: Stage, call: str, name: str, argument: dict[str, Any]
) -> None:
    stage.open(BRIDGED, {"text": "x"}, dialect="openai")
    stage.frame(f"backstay.{call}")
    assert [each["args"] for each in stage.sent(name)] == [[argument]]


def test_what_a_host_does_not_offer_is_refused_by_name(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "x"})
    said = "backstay.uploadFile(new File(['x'], 'a.txt')).catch((error) => error.message)"
    assert stage.frame(said) == "This host offers no uploadFile"
    stage.open(BRIDGED, {"text": "x"}, dialect="openai")
    said = "backstay.readResource('ui://x').catch((error) => error.message)"
    assert stage.frame(said) == "This host offers no readResource"


def test_files_go_up_through_window_openai_even_where_ui_leads(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "x"}, dialect="both")
    stage.until("backstay.dialect === 'ui'")
    stage.frame(
        "backstay.uploadFile(new File(['x'], 'a.txt')).then((f) => backstay.fileUrl(f.fileId))"
    )
    assert [each["args"] for each in stage.sent("uploadFile")] == [[{"name": "a.txt"}]]
    assert len(stage.sent("getFileDownloadUrl")) == 1


def test_view_state_is_kept_by_window_openai_where_there_is_one(stage: Stage) -> None:
    stage.open(
        BRIDGED,
        {"text": "x"},
        dialect="both",
        setup={"openai": {"widgetState": {"page": 3}}},
    )
    stage.until("backstay.dialect === 'ui' && backstay.state")
    assert stage.frame("backstay.state") == {"page": 3}
    stage.frame("backstay.setState({ open: true })")
    stage.frame("backstay.setState((before) => ({ ...before, page: before.page + 1 }))")
    kept = [each["args"][0] for each in stage.sent("setWidgetState")]
    assert kept == [{"page": 3, "open": True}, {"page": 4, "open": True}]
    assert stage.frame("backstay.state") == kept[-1]


def test_view_state_is_told_to_the_model_once_where_the_host_takes_it(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "x"}, setup={"ui": {"capabilities": {"updateModelContext": {}}}})
    stage.frame(
        "backstay.ready.then(() => { backstay.setState({ a: 1 }); backstay.setState({ b: 2 }); })"
    )
    stage.until_host("window.sent.some((each) => each.method === 'ui/update-model-context')")
    told = [each["params"] for each in stage.sent("ui/update-model-context")]
    assert told == [{"structuredContent": {"a": 1, "b": 2}}]


def test_a_view_id_without_storage_to_keep_it_in_does_no_harm(stage: Stage) -> None:
    # The frame's origin is opaque, as in many hosts: localStorage throws there.
    result = {"content": [], "structuredContent": {"text": "x"}, "_meta": {"viewUUID": "v1"}}
    stage.open(BRIDGED, {"text": "x"}, setup={"ui": {"result": result}})
    stage.until("backstay.meta !== null")
    stage.frame("backstay.setState({ a: 1 })")
    assert stage.frame("backstay.state") == {"a": 1}
    assert stage.problems() == []


def test_links_are_opened_by_the_host(stage: Stage) -> None:
    stage.open(BRIDGED, {"text": "x"})
    stage.click("a")
    stage.until_host("window.sent.some((each) => each.method === 'ui/open-link')")
    assert stage.sent("ui/open-link")[0]["params"] == {"url": "https://example.com/there"}
    assert stage.problems() == []


@pytest.mark.parametrize(
    ("dialect", "method"),
    [("ui", "ui/notifications/size-changed"), ("openai", "notifyIntrinsicHeight")],
)
def test_the_host_is_told_how_high_the_page_is(stage: Stage, dialect: str, method: str) -> None:
    stage.open(
        compose('<div id="d" style="height:333px"></div>', title="t"),
        {"text": "x"},
        dialect=dialect,
    )
    stage.until_host("window.view.style.height !== ''")
    before = stage.host("parseFloat(window.view.style.height)")
    assert before >= 333
    stage.frame("document.getElementById('d').style.height = '555px'")
    stage.until_host("parseFloat(window.view.style.height) >= 555")
    assert stage.host("parseFloat(window.view.style.height)") - before == 222
    assert len(stage.sent(method)) <= 4, "no echo"


def test_a_page_may_show_props_before_any_host_has(stage: Stage) -> None:
    stage.open(compose(PAGE, title="t", props={"text": "</script>preview"}), None)
    stage.until("document.getElementById('out').textContent === '</script>preview'")
    stage.notify("ui/notifications/tool-result", {"structuredContent": {"text": "live"}})
    stage.until("document.getElementById('out').textContent === 'live'")


def test_a_listener_that_fails_does_not_keep_the_next_from_hearing(stage: Stage) -> None:
    page = "<script>backstay.on('props', () => { throw new Error('mine'); })</script>" + PAGE
    stage.open(compose(page, title="t"), {"text": "heard"})
    stage.until("document.getElementById('out').textContent === 'heard'")
    assert [each for each in stage.problems() if "mine" in each]


def test_the_policy_of_the_page_keeps_everything_in(stage: Stage) -> None:
    tries = """<script>
      try { window.evaluated = eval("1"); } catch { window.evaluated = "refused"; }
      fetch("https://evil.test/").then(() => "out", () => "in").then((way) => { window.way = way; });
      new Image().src = "https://evil.test/pixel.png";
    </script>"""
    stage.open(compose(tries, title="t"), {"text": "x"})
    stage.until("window.way !== undefined")
    assert stage.frame("[window.evaluated, window.way]") == ["refused", "in"]
    complaints = stage.problems()
    assert len([each for each in complaints if "Content Security Policy" in each]) >= 2
    assert not [each for each in complaints if each.startswith("asked for")]
