"""An issuer's keys: one request for all who wait, no flood, and old keys while it is down."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from backstay.auth import JWTVerifier
from backstay.errors import TokensUncheckable
from backstay.testing import FakeClock
from tests.auth.issuer import METADATA, OPENID, Issuer, answer, key_of, sign, verifier_of
from tests.support import PATIENCE_S, async_test


@async_test
async def test_fifty_who_come_at_once_are_one_request() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer)
        issuer.open.clear()
        callers = [asyncio.create_task(verifier.verify_token(issuer.token())) for _ in range(50)]
        await issuer.asked.wait()
        issuer.open.set()
        assert all(await asyncio.gather(*callers))
        assert issuer.requests == [METADATA, "/keys"]


@async_test
async def test_who_stops_waiting_fails_nobody_else() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer)
        issuer.open.clear()
        first = asyncio.create_task(verifier.verify_token(issuer.token()))
        await issuer.asked.wait()
        second = asyncio.create_task(verifier.verify_token(issuer.token()))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        issuer.open.set()
        assert await second is not None
        assert issuer.key_requests == 1


@async_test
async def test_keys_are_fetched_again_when_their_time_is_over() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer, key_cache_s=600)
        await verifier.verify_token(issuer.token())
        await issuer.clock.advance(599)
        assert await verifier.verify_token(issuer.token()) is not None
        assert issuer.key_requests == 1
        await issuer.clock.advance(1)
        assert await verifier.verify_token(issuer.token()) is not None
        # Where they are is known by now.
        assert issuer.requests == [METADATA, "/keys", "/keys"]


@pytest.mark.parametrize(
    ("cache_control", "kept_s"),
    [
        ("max-age=120", 120),
        ("public, max-age=120, must-revalidate", 120),
        ('Max-Age="120"', 120),
        ("max-age=5", 60),
        ("no-store", 60),
        ("max-age=120, no-cache", 60),
        ("max-age=31536000", 600),
        ("max-age=soon", 600),
        ("", 600),
    ],
)
@async_test
async def test_the_issuer_says_how_long_keys_are_kept_within_bounds(
    cache_control: str, kept_s: int
) -> None:
    async with Issuer() as issuer:
        issuer.headers = {"cache-control": cache_control}
        verifier = verifier_of(issuer)
        await verifier.verify_token(issuer.token())
        await issuer.clock.advance(kept_s - 1)
        await verifier.verify_token(issuer.token())
        assert issuer.key_requests == 1
        await issuer.clock.advance(1)
        await verifier.verify_token(issuer.token())
        assert issuer.key_requests == 2


@async_test
async def test_a_key_that_was_withdrawn_is_good_no_more_once_keys_were_fetched() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer)
        token = issuer.token(exp=int(issuer.clock.now().timestamp()) + 10_000)
        assert await verifier.verify_token(token) is not None
        issuer.keys = {"two": key_of("P-256", 1)}
        await issuer.clock.advance(600)
        assert await verifier.verify_token(token) is None


@async_test
async def test_an_issuer_that_withdraws_all_keys_is_believed() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer)
        token = issuer.token(exp=int(issuer.clock.now().timestamp()) + 10_000)
        assert await verifier.verify_token(token) is not None
        issuer.keys = {}
        await issuer.clock.advance(600)
        assert await verifier.verify_token(token) is None


@async_test
async def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer)
        await verifier.verify_token(issuer.token())
        issuer.keys["two"] = key_of("P-256", 1)
        await issuer.clock.advance(10)
        assert await verifier.verify_token(issuer.token(kid="two")) is not None
        assert await verifier.verify_token(issuer.token()) is not None
        assert issuer.key_requests == 2


@async_test
async def test_invented_key_ids_do_not_flood_the_issuer() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer, refetch_gap_s=10)
        await verifier.verify_token(issuer.token())
        await issuer.clock.advance(10)

        async def invent(number: int) -> None:
            token = sign({"alg": "ES256", "kid": f"x{number}"}, issuer.claims(), key_of())
            assert await verifier.verify_token(token) is None

        await asyncio.gather(*(invent(number) for number in range(100)))
        for number in range(100):
            await invent(number)
        assert issuer.key_requests == 2
        await issuer.clock.advance(9)
        await invent(1)
        assert issuer.key_requests == 2
        await issuer.clock.advance(1)
        await invent(1)
        assert issuer.key_requests == 3


@async_test
async def test_invented_key_ids_do_not_flood_an_issuer_that_is_down() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer)
        await verifier.verify_token(issuer.token())
        issuer.answers["/keys"] = answer({}, 500)
        await issuer.clock.advance(10)
        token = sign({"alg": "ES256", "kid": "x"}, issuer.claims(), key_of())
        for _ in range(20):
            with pytest.raises(TokensUncheckable):
                await verifier.verify_token(token)
        assert issuer.key_requests == 2
        # Whose key is known is not concerned.
        assert await verifier.verify_token(issuer.token()) is not None
        assert issuer.key_requests == 2


@async_test
async def test_old_keys_stay_in_use_for_a_time_while_the_issuer_is_down() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer, key_cache_s=600, stale_keys_s=3600)
        token = issuer.token(exp=int(issuer.clock.now().timestamp()) + 100_000)
        await verifier.verify_token(token)
        issuer.answers["/keys"] = answer({}, 503)
        await issuer.clock.advance(600 + 3599)
        assert await verifier.verify_token(token) is not None
        assert issuer.key_requests == 2
        await issuer.clock.advance(1)
        with pytest.raises(TokensUncheckable, match="answered 503"):
            await verifier.verify_token(token)


@async_test
async def test_an_issuer_that_comes_back_is_asked_again() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer)
        token = issuer.token(exp=int(issuer.clock.now().timestamp()) + 100_000)
        await verifier.verify_token(token)
        issuer.answers["/keys"] = answer({}, 503)
        await issuer.clock.advance(600)
        assert await verifier.verify_token(token) is not None
        del issuer.answers["/keys"]
        issuer.keys = {"two": key_of("P-256", 1)}
        await issuer.clock.advance(10)
        assert await verifier.verify_token(issuer.token(kid="two")) is not None
        assert await verifier.verify_token(token) is None


@async_test
async def test_nobody_waits_twice_for_an_issuer_that_hangs() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer, timeout_s=5)
        token = issuer.token(exp=int(issuer.clock.now().timestamp()) + 100_000)
        await verifier.verify_token(token)
        issuer.open.clear()
        issuer.asked.clear()
        await issuer.clock.advance(600)
        first = asyncio.create_task(verifier.verify_token(token))
        await issuer.asked.wait()
        assert not first.done()
        await issuer.clock.advance(5)
        assert await first is not None
        # Asked again aside, and nobody waits for that.
        issuer.asked.clear()
        await issuer.clock.advance(2)
        assert await verifier.verify_token(token) is not None
        await issuer.asked.wait()
        await verifier.close()


@async_test
async def test_an_issuer_that_hangs_is_given_up_after_the_timeout() -> None:
    async with Issuer() as issuer:
        issuer.open.clear()
        verifier = verifier_of(issuer, timeout_s=5)
        caller = asyncio.create_task(verifier.verify_token(issuer.token()))
        await issuer.asked.wait()
        await issuer.clock.advance(5)
        with pytest.raises(TokensUncheckable, match="longer than 5 s"):
            await caller


@async_test
async def test_an_issuer_that_was_down_at_first_is_left_alone_for_a_moment() -> None:
    async with Issuer() as issuer:
        issuer.answers["/keys"] = answer({}, 500)
        verifier = verifier_of(issuer)
        for _ in range(5):
            with pytest.raises(TokensUncheckable):
                await verifier.verify_token(issuer.token())
        assert issuer.key_requests == 1
        del issuer.answers["/keys"]
        await issuer.clock.advance(2)
        assert await verifier.verify_token(issuer.token()) is not None


@async_test
async def test_keys_may_move() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer)
        await verifier.verify_token(issuer.token())
        issuer.keys["two"] = key_of("P-256", 1)
        issuer.answers["/keys"] = answer({}, 404)
        issuer.answers["/new"] = issuer.key_set()
        issuer.answers[METADATA] = {"issuer": issuer.url, "jwks_uri": f"{issuer.origin}/new"}
        await issuer.clock.advance(600)
        assert await verifier.verify_token(issuer.token()) is not None
        await issuer.clock.advance(10)
        assert await verifier.verify_token(issuer.token(kid="two")) is not None
        assert issuer.requests[-3:] == ["/keys", METADATA, "/new"]


BAD_ANSWERS: list[tuple[bytes | Mapping[str, Any], str]] = [
    (answer(b"<html>"), "no JSON object"),
    (answer(b"[]"), "no JSON object"),
    (answer(b"\xff\xfe"), "no JSON object"),
    (answer(b"[" * 100_000), "no JSON object"),
    ({"keys": {}}, "no JWK Set"),
    ({}, "no JWK Set"),
    (answer(b'{"keys": [' + b" " * 300_000 + b"]}"), "more than 262144 bytes"),
    (answer({"keys": []}, headers={"content-encoding": "gzip"}), "compressed"),
    (answer({}, 404), "answered 404"),
    (answer({}, 302, {"location": "http://127.0.0.2:1/keys"}), "another host"),
    (answer({}, 302, {"location": "https://evil.example.com/keys"}), "another host"),
    (answer({}, 302), "without saying where"),
    (answer({}, 307, {"location": "/keys"}), "more than 3 times"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{}", "did not answer"),
    (b"SSH-2.0-OpenSSH\r\n\r\n", "did not answer"),
    (b"", "did not answer"),
]


@pytest.mark.parametrize(("found", "message"), BAD_ANSWERS, ids=[each[1] for each in BAD_ANSWERS])
@async_test
async def test_an_answer_that_is_no_key_set_is_an_outage_and_no_refusal(
    found: bytes | Mapping[str, Any], message: str
) -> None:
    async with Issuer() as issuer:
        issuer.answers["/keys"] = found
        with pytest.raises(TokensUncheckable, match=message):
            await verifier_of(issuer).verify_token(issuer.token())


@async_test
async def test_redirects_within_the_host_are_followed() -> None:
    async with Issuer() as issuer:
        issuer.answers["/keys"] = answer({}, 301, {"location": "/moved"})
        issuer.answers["/moved"] = issuer.key_set()
        assert await verifier_of(issuer).verify_token(issuer.token()) is not None
        assert issuer.requests[-2:] == ["/keys", "/moved"]


@async_test
async def test_keys_that_cannot_be_read_do_not_spoil_the_others() -> None:
    async with Issuer() as issuer:
        good = issuer.key_set()["keys"]
        issuer.answers["/keys"] = {
            "keys": [
                None,
                5,
                {"kty": "XYZ", "kid": "one"},
                {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "kid": "one"},
                {"kty": "oct", "k": "c2VjcmV0", "kid": "one"},
                *good,
            ]
        }
        assert await verifier_of(issuer).verify_token(issuer.token()) is not None


@async_test
async def test_an_issuer_with_a_path_is_found_where_rfc_8414_says() -> None:
    async with Issuer(path="/tenants/7") as issuer:
        assert await verifier_of(issuer).verify_token(issuer.token()) is not None
        assert issuer.requests == [f"{METADATA}/tenants/7", "/keys"]


@pytest.mark.parametrize("where", [f"{OPENID}/tenants/7", f"/tenants/7{OPENID}"])
@async_test
async def test_an_issuer_that_only_speaks_openid_is_found(where: str) -> None:
    async with Issuer(path="/tenants/7") as issuer:
        issuer.answers[where] = issuer.answers.pop(f"{METADATA}/tenants/7")
        assert await verifier_of(issuer).verify_token(issuer.token()) is not None
        assert issuer.requests[-2:] == [where, "/keys"]


@async_test
async def test_a_page_in_the_place_of_metadata_is_passed_over() -> None:
    async with Issuer() as issuer:
        issuer.answers[OPENID] = issuer.answers[METADATA]
        issuer.answers[METADATA] = answer(b"<html>")
        assert await verifier_of(issuer).verify_token(issuer.token()) is not None


@async_test
async def test_the_metadata_of_another_issuer_is_not_used() -> None:
    async with Issuer() as issuer:
        issuer.answers[METADATA] = {
            "issuer": "https://evil.example.com",
            "jwks_uri": issuer.jwks_uri,
        }
        with pytest.raises(TokensUncheckable, match="is about the issuer 'https://evil"):
            await verifier_of(issuer).verify_token(issuer.token())
        assert issuer.key_requests == 0


@pytest.mark.parametrize(
    "jwks_uri", [None, 5, "", "/keys", "http://keys.example.com/", "file:///etc/passwd"]
)
@async_test
async def test_keys_are_not_fetched_from_an_unsafe_address(jwks_uri: object) -> None:
    async with Issuer() as issuer:
        issuer.answers[METADATA] = {"issuer": issuer.url, "jwks_uri": jwks_uri}
        with pytest.raises(TokensUncheckable, match="its jwks_uri"):
            await verifier_of(issuer).verify_token(issuer.token())
        assert issuer.key_requests == 0


@async_test
async def test_an_issuer_elsewhere_cannot_send_us_to_an_address_on_this_machine() -> None:
    asked: list[str] = []

    async def publish(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return httpx2.Response(
            200,
            json={"issuer": "https://id.example.com", "jwks_uri": "http://localhost:6379/"},
        )

    async with Issuer() as issuer:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(publish)) as client:
            verifier = JWTVerifier("https://id.example.com", audience="x", client=client)
            with pytest.raises(TokensUncheckable, match="on this machine"):
                await verifier.verify_token(issuer.token())
    assert asked == [
        "https://id.example.com/.well-known/oauth-authorization-server",
        "https://id.example.com/.well-known/openid-configuration",
    ]


@async_test
async def test_a_client_of_ones_own_is_used_and_stays_open() -> None:
    async with Issuer() as issuer:
        async with httpx2.AsyncClient() as client:
            verifier = verifier_of(issuer, client=client)
            assert await verifier.verify_token(issuer.token()) is not None
            assert not client.is_closed


@async_test
async def test_an_address_of_keys_that_was_given_is_asked_and_nothing_else() -> None:
    async with Issuer() as issuer:
        verifier = verifier_of(issuer, jwks_uri=issuer.jwks_uri)
        assert await verifier.verify_token(issuer.token()) is not None
        assert issuer.requests == ["/keys"]


@async_test
async def test_closing_tells_those_who_wait() -> None:
    async with Issuer() as issuer:
        issuer.open.clear()
        verifier = verifier_of(issuer)
        caller = asyncio.create_task(verifier.verify_token(issuer.token()))
        await issuer.asked.wait()
        await verifier.close()
        with pytest.raises(TokensUncheckable, match="closed"):
            await caller


def test_a_verifier_survives_the_event_loop_it_was_first_used_in() -> None:
    clock = FakeClock()

    async def give_up() -> JWTVerifier:
        issuer = await Issuer(clock).__aenter__()
        issuer.open.clear()
        verifier = verifier_of(issuer, jwks_uri=issuer.jwks_uri)
        caller = asyncio.create_task(verifier.verify_token(issuer.token()))
        await issuer.asked.wait()
        caller.cancel()
        issuer.server.close()  # to wait for that, as __aexit__ does, is to wait for the answer
        return verifier

    async def use_again(verifier: JWTVerifier) -> None:
        async with asyncio.timeout(PATIENCE_S), Issuer(clock) as issuer:
            # The first issuer is gone: that this is noticed means that it was asked anew.
            with pytest.raises(TokensUncheckable, match="did not answer"):
                await verifier.verify_token(issuer.token())

    async def end_all() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Stopped in the middle of the request, which asyncio.run() would have cancelled.
    left = asyncio.new_event_loop()
    try:
        verifier = left.run_until_complete(give_up())
        asyncio.run(use_again(verifier))
    finally:
        left.run_until_complete(end_all())
        left.run_until_complete(left.shutdown_default_executor())
        left.close()
