"""The document tells all that is declared, how it goes, and no secrets."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP, sp
from backstay.integration.page import document
from backstay.integration.page.document import Documentation
from backstay.testing import FakeClock
from tests.browser.integrations import Payments, Silent, Translate, foreign, many
from tests.support import async_test

SECRET = "sk-verysecret"


def only(found: dict[str, Any], name: str) -> dict[str, Any]:
    endpoints = [each for integration in found["integrations"] for each in integration["endpoints"]]
    return next(each for each in endpoints if each["name"] == name)


def test_an_integration_is_told_with_where_it_is_and_what_it_needs() -> None:
    made = Translate("https://translate.example/api", {"API_TOKEN": SECRET})
    (found,) = document([made])["integrations"]
    del found["endpoints"]
    assert found == {
        "id": "google-translate",
        "name": "Google Translate",
        "doc": "Texts of the shop in the languages of its customers.\nPaid by the character.",
        "class": "Translate",
        "instance": "translate.example",
        "base_url": "https://translate.example/api",
        "credentials": ["API_TOKEN"],
        "client": getattr(made, "client_name", None),
        "auth": None,
    }


@pytest.mark.parametrize(
    ("base_url", "told"),
    [
        (f"https://user:{SECRET}@pay.example:8443/api", "https://pay.example:8443/api"),
        (f"https://pay.example/api?key={SECRET}#{SECRET}", "https://pay.example/api"),
        ("https://[::1]:8000", "https://[::1]:8000"),
        ("", ""),
        ("https://[", ""),
        ("https://pay.example:port", ""),
    ],
)
def test_no_secret_of_an_address_is_told(base_url: str, told: str) -> None:
    # The declaration itself refuses some of these; another library's may not.
    service = SimpleNamespace(
        integration=SimpleNamespace(name="x", docs={}), base_url=base_url, credentials={SECRET: 1}
    )
    found = document([service])["integrations"][0]
    assert found["base_url"] == told


def test_values_of_credentials_and_auth_are_nowhere() -> None:
    class Auth:
        def __repr__(self) -> str:
            return SECRET

    made = Payments("https://pay.example", {"KEY": SECRET, "OTHER": Auth()}, auth=Auth())
    text = json.dumps(document([made]))
    assert SECRET not in text
    assert '"auth": "tests.' in text


def test_an_endpoint_is_told_as_it_is_declared() -> None:
    found = only(document([Translate("https://translate.example")]), "translate")
    assert found["id"] == "google-translate.translate"
    assert (found["method"], found["path"], found["version"]) == ("POST", "/v1/translateHtml", "v2")
    assert found["docurl"] == "https://cloud.google.com/translate/docs/reference/rest"
    assert found["doc"].startswith("Translate a text.\n\nThe markup")
    assert found["returns"] == ("Schema.TranslateV2 | SchemaError.http400 | SchemaError.http5xx")
    assert found["is_stream"] is False
    assert found["success"]["type"] == "Schema.TranslateV2"
    assert found["success"]["schema"]["properties"]["text"]["maxLength"] == 5000
    assert [(each["name"], each["status"]) for each in found["errors"]] == [
        ("http400", "400"),
        ("http5xx", "5xx"),
    ]


def test_parameters_of_any_name_are_told() -> None:
    found = only(document([Translate("https://translate.example")]), "language")
    assert found["parameters"] == [
        {"name": "code", "type": "str", "where": "path"},
        {"name": "a", "type": "int", "where": "argument", "default": "1"},
        {"name": "p", "type": "str", "where": "argument", "default": "''"},
        {"name": "i", "type": "bool", "where": "argument", "default": "False"},
    ]


def test_parameters_that_take_the_rest_have_their_stars() -> None:
    found = only(document([Payments("https://pay.example")]), "refund")
    assert [each["name"] for each in found["parameters"]] == ["charge_id", "*reasons", "**more"]


def test_one_that_yields_says_what_of() -> None:
    found = only(document([Payments("https://pay.example")]), "events")
    assert found["is_stream"] is True
    assert found["success"]["type"] == "Schema.Charge"


def test_errors_that_are_raised_are_told_from_those_that_are_returned() -> None:
    note = only(document([Payments("https://pay.example")]), "note")
    assert {each["name"]: each["is_returned"] for each in note["errors"]} == {
        "http402": False,
        "http409": False,
    }


def test_models_that_are_parts_of_errors_are_no_errors() -> None:
    class Parts(EndpointsDeclaration):
        integration = IntegrationHTTP("Parts")

        class SchemaError:
            class http400Error(Translate.Schema.TranslateV2):
                pass

            class http400(Translate.Schema.TranslateV2):
                pass

        @integration.endpoint(HTTPMethod.get, "/")
        async def ask(api: ApiHTTP) -> Any: ...

    assert [
        each["name"] for each in only(document([Parts("https://x.example")]), "ask")["errors"]
    ] == ["http400"]


def test_patterns_are_told_from_the_outside_with_their_options() -> None:
    charge = only(document([Payments("https://pay.example")]), "charge")
    assert [each["name"] for each in charge["patterns"]] == [
        "Fallback",
        "RetryPattern",
        "CircuitBreaker",
        "Throttling",
        "Bulkhead",
        "Timeout",
    ]
    assert charge["patterns"][1]["options"]["max_attempts"] == 3
    assert len(charge["live"]["patterns"]) == 6


@async_test
async def test_breakers_are_told_as_they_stand_for_each_instance() -> None:
    clock = FakeClock()

    class Down(EndpointsDeclaration):
        integration = IntegrationHTTP("Down")

        @integration.endpoint(HTTPMethod.get, "/")
        @sp.CircuitBreaker(fail_threshold=1, reset_timeout=10, clock=clock)
        async def ask(api: ApiHTTP) -> Any:
            raise ConnectionError

    down, other = Down("https://down.example", clock=clock), Down("https://up.example", clock=clock)
    with pytest.raises(ConnectionError):
        await down.ask()
    told = Documentation([down, other])
    (state,) = told.live()["down.ask"]["patterns"][0]
    assert state["state"] == "open"
    assert state["opens_in_s"] == 10
    assert told.live()["down-2.ask"]["patterns"] == [[]]
    await clock.advance(10)
    assert told.live()["down.ask"]["patterns"][0][0]["state"] == "half-open"


@async_test
async def test_of_many_states_those_that_are_open_come_first_and_the_rest_is_left_out() -> None:
    class Hosts(EndpointsDeclaration):
        integration = IntegrationHTTP("Hosts")

        @integration.endpoint(HTTPMethod.get, "/")
        @sp.CircuitBreaker(fail_threshold=1, key=lambda api, host, fails: host)
        async def ask(api: ApiHTTP, host: str, fails: bool) -> Any:
            if fails:
                raise ConnectionError

    hosts = Hosts("https://hosts.example")
    for number in range(30):
        await hosts.ask(f"{number}.example", False)
    with pytest.raises(ConnectionError):
        await hosts.ask("down.example", True)
    (states,) = Documentation([hosts]).live()["hosts.ask"]["patterns"]
    assert len(states) == 20
    assert (states[0]["key"], states[0]["state"]) == ("down.example", "open")


@async_test
async def test_keys_that_callers_chose_are_told_without_secrets_and_not_at_any_length() -> None:
    class Keyed(EndpointsDeclaration):
        integration = IntegrationHTTP("Keyed")

        @integration.endpoint(HTTPMethod.get, "/")
        @sp.CircuitBreaker(key=lambda api, key: key)
        async def ask(api: ApiHTTP, key: str) -> Any:
            return None

    keyed = Keyed("https://keyed.example", {"TOKEN": SECRET})
    for key in ("eu", f"of {SECRET}", "Bearer abcdefghijklmnop", "x" * 100_000):
        await keyed.ask(key)
    (states,) = Documentation([keyed]).live()["keyed.ask"]["patterns"]
    keys = {each["key"] for each in states}
    assert {"eu", "***", "Bearer ***"} < keys
    assert max(map(len, keys)) <= 80


def test_calls_are_told_as_they_are_counted() -> None:
    made = Translate("https://translate.example")
    made.statistics.record("translate", duration_s=1, outcome="ok", status=200, attempts=1)
    assert only(document([made]), "translate")["live"]["statistics"]["window"]["calls"] == 1
    assert only(document([made]), "language")["live"]["statistics"]["window"]["calls"] == 0


def test_instances_of_one_integration_have_ids_of_their_own() -> None:
    found = document([Silent("https://a.example"), Silent("https://b.example")])
    assert [each["id"] for each in found["integrations"]] == ["warehouse", "warehouse-2"]


@pytest.mark.parametrize("name", ["", "  ", "日本", "<b>", "///"])
def test_an_id_is_plain_whatever_the_name(name: str) -> None:
    service = SimpleNamespace(integration=SimpleNamespace(name=name, docs={}), base_url="")
    (found,) = document([service])["integrations"]
    assert found["name"] == name
    assert found["id"] in {"integration", "b"}


def test_of_another_librarys_integration_its_notes_are_told() -> None:
    (found,) = document([foreign()])["integrations"]
    assert found["base_url"] == "https://old.example/api"
    assert found["doc"] == "Declared with the library before."
    (ping,) = found["endpoints"]
    assert ping == {
        "id": "old-way.ping",
        "name": "ping",
        "method": "GET",
        "path": "/ping/{a}",
        "version": "v0",
        "docurl": "",
        "doc": "Says pong.",
        "is_stream": False,
        "parameters": [{"name": "a", "type": "int", "where": "path"}],
        "returns": "str",
        "success": None,
        "errors": [],
        "patterns": [],
        "live": None,
    }


@pytest.mark.parametrize(
    "docs", [None, {}, "text", {"methods": None}, {"methods": ["x", {}]}], ids=str
)
def test_of_one_that_says_little_its_name_is_told(docs: Any) -> None:
    service = SimpleNamespace(integration=SimpleNamespace(name="geo", docs=docs), base_url="/x")
    assert document([service])["integrations"][0]["name"] == "geo"


class Angry:
    """Everything about it fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class AngryService:
    integration = Angry()

    @property
    def base_url(self) -> str:
        raise RuntimeError("base_url")

    @property
    def credentials(self) -> Any:
        raise RuntimeError("credentials")

    auth = instance_name = statistics = owner = credentials

    @classmethod
    def endpoints(cls) -> Any:
        raise RuntimeError("endpoints")


def test_one_odd_integration_does_not_hide_the_others() -> None:
    found = document([AngryService(), Translate("https://translate.example")])
    assert [each["name"] for each in found["integrations"]] == ["?", "Google Translate"]


def test_an_annotation_that_cannot_be_resolved_is_said_in_its_place() -> None:
    class Late(EndpointsDeclaration):
        integration = IntegrationHTTP("Late")

        @integration.endpoint(HTTPMethod.get, "/")
        async def ask(api: ApiHTTP) -> Nowhere: ...  # noqa: F821

    found = only(document([Late("https://x.example")]), "ask")
    assert "Nowhere" in found["success"]["schema"]["x-not-described"]
    assert found["returns"] == "Nowhere"


def test_the_whole_document_is_json() -> None:
    made = [Translate("https://a.example"), Payments("https://b.example"), foreign(), many(3)]
    json.dumps(document(made), allow_nan=False)
