"""API keys that are made up, changed, revoked, over, or shown in the wrong place."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backstay.auth import ApiKeys
from tests.attacks.stage import (
    GUARDED,
    SECRET,
    Stage,
    Standing,
    assert_problem,
    assert_refused,
    bearer,
    no_internals,
    service,
    watched_log,
)
from tests.db.places import at
from tests.jobs.desks import needs_postgres
from tests.support import async_test

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def check_of(body: str) -> str:
    """The six characters at the end, which everybody can compute."""
    rest, found = zlib.crc32(body.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        found = BASE62[digit] + found
    return found


def checked(body: str) -> str:
    return f"{body}_{check_of(body)}"


def parts(key: str) -> tuple[str, str, str]:
    """Its id, its secret, its check."""
    body, check = key[:-7], key[-6:]
    _, key_id, secret = body.split("_", 2)
    return key_id, secret, check


def other(character: str) -> str:
    return "B" if character != "B" else "C"


Change = Callable[[str], str | bytes]
CHANGES: dict[str, Change] = {
    "a wrong check": lambda key: key[:-1] + other(key[-1]),
    "no check": lambda key: key[:-7],
    "an empty check": lambda key: key[:-6],
    "another secret, checked": lambda key: checked(f"bsk_{parts(key)[0]}_{'A' * 43}"),
    "one character of the secret, checked": lambda key: checked(key[:-8] + other(key[-8])),
    "the first one of the secret, checked": lambda key: checked(
        f"bsk_{parts(key)[0]}_{other(parts(key)[1][0])}{parts(key)[1][1:]}"
    ),
    "a secret in the other case, checked": lambda key: checked(
        f"bsk_{parts(key)[0]}_{parts(key)[1].swapcase()}"
    ),
    "a secret that is too short, checked": lambda key: checked(key[:-8]),
    "a secret that is too long, checked": lambda key: checked(f"{key[:-7]}A"),
    "no secret, checked": lambda key: checked(f"bsk_{parts(key)[0]}_"),
    "another id, checked": lambda key: checked(f"bsk_{'a' * 16}_{parts(key)[1]}"),
    "an id in capitals, checked": lambda key: checked(
        f"bsk_{parts(key)[0].upper()}_{parts(key)[1]}"
    ),
    "an id with a wildcard, checked": lambda key: checked(f"bsk_{'%' * 16}_{parts(key)[1]}"),
    "an id that is SQL, checked": lambda key: checked(f"bsk_' or 1=1 --'____{parts(key)[1]}"),
    "an id with a zero byte, checked": lambda key: checked(
        f"bsk_{parts(key)[0][:-1]}\0_{parts(key)[1]}"
    ),
    "another prefix": lambda key: f"bsr{key[3:]}",
    "another prefix, checked": lambda key: checked(f"xyz{key[3:-7]}"),
    "a prefix in capitals": lambda key: f"BSK{key[3:]}",
    "a prefix of the original's": lambda key: f"sk_live{key[3:]}",
    "no prefix": lambda key: key[4:],
    "in capitals": lambda key: key.upper(),
    "its id alone": lambda key: parts(key)[0],
    "its prefix and id": lambda key: f"bsk_{parts(key)[0]}",
    "its first half": lambda key: key[: len(key) // 2],
    "without its last character": lambda key: key[:-1],
    "with one more": lambda key: f"{key}A",
    "twice": lambda key: key * 2,
    "with a line break": lambda key: f"{key}\n",
    "with a zero byte": lambda key: f"{key}\0",
    "with a vertical tab": lambda key: f"{key}\v",
    "with a no-break space": lambda key: key.encode() + b"\xa0",
    "with bytes that are no text": lambda key: key.encode()[:9] + b"\xff\xfe" + key.encode()[11:],
    "with full-width letters": lambda key: "\uff42\uff53\uff4b".encode() + key[3:].encode(),
    "quoted": lambda key: f'"{key}"',
    "with dashes": lambda key: key.replace("_", "-"),
    "percent-encoded": lambda key: key.replace("_", "%5F"),
    "two of them": lambda key: f"{key},{key}",
    "very long": lambda key: f"{key[:21]}{'A' * 100_000}{key[21:]}",
    "only a prefix": lambda key: "bsk_",
    "as a bearer": lambda key: f"Bearer {key}",
}


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    with Standing() as found:
        yield found


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_key_that_was_changed_opens_nothing(change: Change, standing: Standing) -> None:
    stage = standing.stage()

    async def try_it() -> None:
        key = await stage.api_key("ada", ["articles", "orders"])
        shown = change(key)
        raw = shown.encode() if isinstance(shown, str) else shown
        await assert_refused(stage, shown)
        for route in GUARDED:
            assert_problem(await stage.send(route, headers=[(b"X-API-Key", raw)]), 401)
        await stage.assert_untouched()
        assert (await stage.send("a scope", headers={"X-API-Key": key})).status_code == 200

    standing.run(try_it)


ELSEWHERE: dict[str, Callable[[str], dict[str, Any]]] = {
    "in the query": lambda key: {"params": {"api_key": key, "key": key, "X-API-Key": key}},
    "in a cookie": lambda key: {"headers": {"Cookie": f"X-API-Key={key}; api_key={key}"}},
    "in a form": lambda key: {"data": {"api_key": key}},
    "in JSON": lambda key: {"json": {"api_key": key, "title": "x"}},
    "as another header": lambda key: {"headers": {"X-API-Token": key, "Api-Key": key}},
    "without a scheme": lambda key: {"headers": {"Authorization": key}},
    "with the scheme ApiKey": lambda key: {"headers": {"Authorization": f"ApiKey {key}"}},
    "in the password of Basic": lambda key: {"auth": ("api", key)},
    "in the name of Basic": lambda key: {"auth": (key, "")},
    "twice": lambda key: {"headers": [("X-API-Key", key)] * 2},
    "first of two": lambda key: {"headers": [("X-API-Key", key), ("X-API-Key", "x")]},
    "last of two": lambda key: {"headers": [("X-API-Key", "x"), ("X-API-Key", key)]},
    "beside a bad bearer": lambda key: {"headers": {"X-API-Key": key, "Authorization": "Bearer x"}},
    "beside an empty bearer": lambda key: {
        "headers": {"X-API-Key": key, "Authorization": "Bearer "}
    },
    "in the id of the request": lambda key: {"headers": {"X-Request-ID": key}},
}


@pytest.mark.parametrize("place", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_key_counts_in_its_place_alone(
    place: Callable[[str], dict[str, Any]], standing: Standing
) -> None:
    stage = standing.stage()

    async def try_it() -> None:
        key = await stage.api_key("ada", ["articles", "orders"])
        for route in GUARDED:
            assert_problem(await stage.send(route, **place(key)), 401)
        await stage.assert_untouched()

    standing.run(try_it)


@async_test
async def test_a_revoked_key_is_over_at_once() -> None:
    async with service() as stage:
        key = await stage.api_key()
        headers = {"X-API-Key": key}
        assert (await stage.send("a scope", headers=headers)).status_code == 200
        stage.reached.clear()
        assert await stage.auth.api_keys.revoke(parts(key)[0])
        for route in GUARDED:
            assert_problem(await stage.send(route, headers=headers), 401)
        await stage.assert_untouched()


@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql+asyncpg", marks=needs_postgres)]
)
@async_test
async def test_a_key_that_was_revoked_elsewhere_is_over_within_a_second(
    database: str, tmp_path: Path
) -> None:
    with at(database, tmp_path) as url:
        async with service(tmp_path, url=url) as here, service(tmp_path, url=url) as there:
            headers = {"X-API-Key": await here.api_key()}
            assert (await there.send("a scope", headers=headers)).status_code == 200
            await here.auth.api_keys.revoke(parts(headers["X-API-Key"])[0])
            assert_problem(await here.send("a scope", headers=headers), 401)
            await there.clock.advance(1)
            assert_problem(await there.send("a scope", headers=headers), 401)


@pytest.mark.parametrize("seconds", [60, 61, 10**8])
@async_test
async def test_a_key_ends_to_the_second(seconds: int) -> None:
    async with service() as stage:
        ends = stage.clock.now() + timedelta(seconds=60)
        headers = {"X-API-Key": await stage.api_key(expires_at=ends)}
        await stage.clock.advance(59)
        assert (await stage.send("a scope", headers=headers)).status_code == 200
        await stage.clock.advance(seconds - 59)
        assert_problem(await stage.send("a scope", headers=headers), 401)


@async_test
async def test_another_services_key_is_none_here() -> None:
    async with service() as stage, service() as other_one:
        await assert_refused(stage, await other_one.api_key("ada", ["articles", "orders"]))


@async_test
async def test_a_key_of_another_prefix_on_the_same_store_is_none_here() -> None:
    async with service() as stage:
        others = ApiKeys(stage.auth._made.store, prefix="abc", clock=stage.clock)
        made = await others.create("ada", name="another's", scopes=["articles", "orders"])
        key_id, secret, _ = parts(made.key)
        await assert_refused(stage, made.key, checked(f"bsk_{key_id}_{secret}"))


UNSCOPED = {"a dependency", "a router", "a mounted app", "what the library mounts"}


@pytest.mark.parametrize("scope", ["", "Orders", "order", "*", "admin", "orders"])
@async_test
async def test_a_key_opens_what_its_scopes_say_and_nothing_of_its_owner(scope: str) -> None:
    open_routes = UNSCOPED | ({"a scope"} if scope == "orders" else set())
    scopes = [scope] if scope else []
    async with service() as stage:
        key = await stage.api_key("ada", scopes)
        for headers in ({"X-API-Key": key}, bearer(key)):
            for route in GUARDED:
                answer = await stage.send(route, headers=headers)
                if route in open_routes:
                    assert answer.status_code == 200
                else:
                    assert_problem(answer, 403)
        assert await stage.articles() == 1


@async_test
async def test_a_key_is_shown_once_and_is_nowhere_afterwards() -> None:
    with watched_log() as log:
        async with service() as stage:
            made = await stage.auth.api_keys.create("ada", name="scanner", scopes=["orders"])
            _, secret, _ = parts(made.key)
            for headers in (
                {"X-API-Key": made.key},
                bearer(made.key),
                {"X-API-Key": made.key[:-1]},
            ):
                for path in ("/me", "/orders", "/nowhere"):
                    answer = await stage.client.get(path, headers=headers)
                    no_internals(answer)
                    assert secret not in answer.text
            await stage.client.get("/me", params={"api_key": made.key})
            await stage.auth.api_keys.revoke(made.record.id)
            listed = await stage.auth.api_keys.list("ada")
            assert [each.id for each in listed] == [made.record.id]
            assert secret not in repr(listed)
            assert secret not in repr(made)
            await stage.assert_nowhere(secret)
            assert secret not in log.text
            assert SECRET not in log.text
            assert made.record.id in log.text, "so that something was looked for where it would be"


@async_test
async def test_a_store_that_is_read_has_nothing_that_opens_anything() -> None:
    """Digests, ids and hashes, shown as keys and tokens."""
    async with service() as stage:
        made = await stage.auth.api_keys.create("ada", name="scanner", scopes=["orders"])
        record = made.record
        digest = record.digest.hex()
        await assert_refused(
            stage,
            digest,
            record.digest,
            f"bsk_{record.id}_{digest}",
            checked(f"bsk_{record.id}_{digest[:43]}"),
            checked(f"bsk_{record.id}_{digest[-43:]}"),
        )


async def _verified(stage: Stage, key: str) -> bool:
    return (await stage.send("a scope", headers={"X-API-Key": key})).status_code == 200


@async_test
async def test_keys_that_nobody_has_push_out_nobodys() -> None:
    async with service() as stage:
        key = await stage.api_key()
        assert await _verified(stage, key)
        for n in range(50):
            made_up = checked(
                f"bsk_{'abcdefgh234567ab'[: -len(str(n))]}{'a' * len(str(n))}_{n:043}"
            )
            assert not await _verified(stage, made_up)
        assert await _verified(stage, key)
