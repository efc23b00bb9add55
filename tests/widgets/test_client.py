"""What a client says of itself, and what is asked of one that is not there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import ClientCannot
from backstay.widgets import ClientContext
from backstay.widgets.client import NoChannel
from tests.support import async_test


class Recorder(NoChannel):
    """A way back that writes down what is said."""

    wants_progress = True

    def __init__(self) -> None:
        self.said: list[Any] = []

    async def log(self, level: str, data: Any, logger: str | None) -> None:
        self.said.append((level, data, logger))

    async def sample(self, request: dict[str, Any]) -> str:
        self.said.append(request)
        return "as the model says"

    async def close_stream(self) -> None:
        self.said.append("closed")


def test_what_the_client_said_is_read_from_its_meta() -> None:
    client = ClientContext(
        {
            "openai/locale": "fr-CA",
            "openai/userAgent": "ChatGPT/1",
            "openai/userLocation": {"city": "Lyon"},
            "openai/session": "v1/abc",
        },
        name="chat",
        version="7",
        protocol_version="2025-11-25",
        user_agent="python/3",
    )
    assert client.locale == "fr-CA"
    assert client.user_agent == "ChatGPT/1"
    assert client.location == client.user_location == {"city": "Lyon"}
    assert client.session == "v1/abc"
    assert repr(client) == "<ClientContext chat 2025-11-25>"


def test_who_says_nothing_is_known_by_nothing_but_the_http_header() -> None:
    client = ClientContext(user_agent="python/3")
    assert (client.locale, client.user_location, client.session) == (None, None, None)
    assert client.user_agent == "python/3"
    assert dict(client.raw_meta) == {}
    assert ClientContext().user_agent is None


def test_the_earlier_name_of_the_locale_is_understood() -> None:
    assert ClientContext({"webplus/i18n": "de"}).locale == "de"
    assert ClientContext({"webplus/i18n": "de", "openai/locale": "fr"}).locale == "fr"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
KEYS = ["openai/locale", "openai/userAgent", "openai/userLocation", "openai/session"]


@given(meta=st.dictionaries(st.sampled_from(KEYS), JSON))
def test_whatever_a_client_sends_is_text_a_mapping_or_nothing(meta: dict[str, Any]) -> None:
    client = ClientContext(meta)
    for found in (client.locale, client.user_agent, client.session):
        assert found is None or (isinstance(found, str) and found)
    assert client.user_location is None or isinstance(client.user_location, dict)


@async_test
async def test_what_is_said_goes_through_the_channel() -> None:
    channel = Recorder()
    client = ClientContext(channel=channel)
    await client.log("warning", {"a": 1}, logger="shop")
    assert await client.sample("hi") == "as the model says"
    await client.sample("hi", max_tokens=5, system_prompt="be brief", temperature=0.5)
    await client.close_stream()
    assert channel.said == [
        ("warning", {"a": 1}, "shop"),
        {"prompt": "hi", "max_tokens": 1000},
        {"prompt": "hi", "max_tokens": 5, "system_prompt": "be brief", "temperature": 0.5},
        "closed",
    ]


@async_test
async def test_nobody_hears_and_nobody_can_be_asked_where_there_is_no_client() -> None:
    client = ClientContext()
    await client.log("info", "nothing")
    await client.close_stream()
    await NoChannel().progress(1, 2, None)
    assert client.can("elicitation") is False
    with pytest.raises(ClientCannot, match=r"sample\(\) has no model to ask"):
        await client.sample("hi")
    with pytest.raises(ClientCannot, match=r"roots\(\) has no client to ask"):
        await client.roots()
    with pytest.raises(ClientCannot, match=r"elicit\('Why\?'\) has nobody to ask"):
        await NoChannel().elicit("Why?", {})
