"""Who may read the metrics: no stranger, however he comes."""

import logging
from typing import Any

import pytest
from starlette.requests import Request

from backstay.errors import BadTelemetry, NotAllowed, NotAuthenticated, WeakSecret
from backstay.telemetry import bearer_token, from_networks, from_this_machine
from tests.support import async_test
from tests.telemetry.seeing import TOKEN


def asked(client: Any = ("127.0.0.1", 5), **headers: str) -> Request:
    sent = {"host": "127.0.0.1:8000", **headers}
    return Request(
        {
            "type": "http",
            "client": client,
            "headers": [
                (name.replace("_", "-").encode(), text.encode("utf-8"))
                for name, text in sent.items()
            ],
        }
    )


@pytest.mark.parametrize("sent", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
@async_test
async def test_the_token_opens(sent: str) -> None:
    await bearer_token(TOKEN)(asked(("203.0.113.9", 1), authorization=sent))


@pytest.mark.parametrize(
    "sent",
    [
        "",
        TOKEN,
        f"Basic {TOKEN}",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer é",
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN} {TOKEN}",
    ],
)
@async_test
async def test_nothing_else_opens(sent: str) -> None:
    with pytest.raises(NotAuthenticated) as refusal:
        await bearer_token(TOKEN)(asked(authorization=sent))
    assert refusal.value.public_headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_that_can_be_guessed_is_refused_and_not_repeated() -> None:
    with pytest.raises(WeakSecret) as refusal:
        bearer_token("hunter2")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "token", ["a token with spaces in", "a-token-with-ö-in-it", "a" * 20 + "\n"]
)
def test_a_token_that_no_header_holds_is_refused(token: str) -> None:
    with pytest.raises(BadTelemetry) as refusal:
        bearer_token(token)
    assert token not in str(refusal.value)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
@async_test
async def test_this_machine_may_read_them(peer: str, host: str) -> None:
    await from_this_machine()(asked((peer, 1), host=host))


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        (("10.0.0.7", 1), {}),
        (("::ffff:10.0.0.7", 1), {}),
        (("203.0.113.9", 1), {}),
        (("testclient", 1), {}),
        (None, {}),
        (("", 0), {}),
        (("127.0.0.1", 1), {"x_forwarded_for": "127.0.0.1"}),
        (("127.0.0.1", 1), {"forwarded": "for=127.0.0.1"}),
        (("127.0.0.1", 1), {"x_real_ip": "127.0.0.1"}),
        (("127.0.0.1", 1), {"via": "1.1 varnish"}),
        (("127.0.0.1", 1), {"host": "evil.example"}),
        (("127.0.0.1", 1), {"host": "127.0.0.1.evil.example"}),
        (("127.0.0.1", 1), {"host": ""}),
        (("127.0.0.1", 1), {"host": "[::1"}),
        (("127.0.0.1", 1), {"host": "user@evil.example"}),
    ],
)
@async_test
async def test_nobody_else_may(peer: Any, headers: dict[str, str]) -> None:
    with pytest.raises(NotAllowed):
        await from_this_machine()(asked(peer, **headers))


@async_test
async def test_who_is_refused_for_lack_of_a_guard_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guard = from_this_machine()
    with caplog.at_level(logging.WARNING, "backstay.telemetry"):
        for _ in range(3):
            with pytest.raises(NotAllowed):
                await guard(asked(("10.0.0.7", 1)))
    (record,) = caplog.records
    assert "10.0.0.7" in record.getMessage()
    assert "BACKSTAY_METRICS_TOKEN" in record.getMessage()


@async_test
async def test_networks_let_their_own_in_and_nobody_a_proxy_speaks_for() -> None:
    guard = from_networks("10.0.0.0/8", "fd00::/8")
    for peer in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::7"):
        await guard(asked((peer, 1), host="shop.example"))
    for request in (
        asked(("11.0.0.1", 1)),
        asked(("fe80::1", 1)),
        asked(None),
        asked(("10.1.2.3", 1), x_forwarded_for="10.1.2.3"),
    ):
        with pytest.raises(NotAllowed):
            await guard(request)


@pytest.mark.parametrize("networks", [(), ("10.0.0.1/8",), ("shop.example",), ("",)])
def test_what_is_no_network_is_refused(networks: tuple[str, ...]) -> None:
    with pytest.raises(BadTelemetry):
        from_networks(*networks)
