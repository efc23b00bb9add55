"""Tokens over HTTP: got, exchanged, given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import Depends

from backstay.auth import Keyring, LoginThrottle, SigningKey, Token, jwt_auth
from backstay.testing import FakeClock, running
from tests.auth.service import FragileStore, People, bearer, log_in, service
from tests.support import async_test


@async_test
async def test_a_login_is_answered_as_the_rfc_says() -> None:
    app, _ = service()
    async with running(app) as client:
        answer = await client.post("/token", data={"username": "ada", "password": "adaada"})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        found = answer.json()
        assert set(found) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
        assert (found["token_type"], found["expires_in"], found["scope"]) == (
            "bearer",
            1800,
            "orders photos",
        )
        same = await client.post(
            "/token", data={"grant_type": "password", "username": "ada", "password": "adaada"}
        )
        assert same.status_code == 200


@async_test
async def test_a_wrong_password_is_a_401() -> None:
    app, _ = service()
    async with running(app) as client:
        answer = await client.post("/token", data={"username": "ada", "password": "x"})
        assert answer.status_code == 401
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"] == "invalid_grant"
        assert "adaada" not in answer.text


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"username": "ada"}, "invalid_request"),
        ({"password": "adaada"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": ""}, "invalid_request"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        (
            {"grant_type": "PASSWORD", "username": "ada", "password": "adaada"},
            "unsupported_grant_type",
        ),
        ({"username": "ada", "password": "adaada", "scope": 'a"b'}, "invalid_scope"),
        ({"username": "ada", "password": "adaada", "scope": "a\nb"}, "invalid_scope"),
        ({"username": ["ada", "eve"], "password": "adaada"}, "invalid_request"),
        ({"username": "ada", "password": ["adaada", "x"]}, "invalid_request"),
        (
            {"grant_type": ["password", "refresh_token"], "username": "ada", "password": "adaada"},
            "invalid_request",
        ),
    ],
    ids=str,
)
@async_test
async def test_a_request_that_will_not_do_is_a_400(form: dict[str, Any], error: str) -> None:
    app, _ = service()
    async with running(app) as client:
        answer = await client.post("/token", data=form)
        assert (answer.status_code, answer.json()["error"]) == (400, error)
        assert answer.headers["cache-control"] == "no-store"


@async_test
async def test_a_scope_that_no_token_has_room_for_is_not_read() -> None:
    app, _ = service()
    async with running(app) as client:
        form = {"username": "ada", "password": "adaada", "scope": " ".join("ab" * 2000)}
        answer = await client.post("/token", data=form)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
        form["scope"] = " ".join("ab" * 1000)
        assert (await client.post("/token", data=form)).status_code == 200


@async_test
async def test_credentials_anywhere_but_in_a_form_are_not_looked_at() -> None:
    app, _ = service()
    good = {"username": "ada", "password": "adaada"}
    async with running(app) as client:
        elsewhere: list[Any] = [{"json": good}, {"params": good}, {"content": b"username=ada"}]
        for options in elsewhere:
            answer = await client.post("/token", **options)
            assert answer.status_code == 400
        assert (await client.get("/token", params=good)).status_code == 405


@async_test
async def test_a_refresh_token_is_exchanged_once() -> None:
    app, _ = service()
    async with running(app) as client:
        _, refresh = await log_in(client)
        form = {"grant_type": "refresh_token", "refresh_token": refresh}
        first = await client.post("/token", data=form)
        assert first.status_code == 200
        headers = bearer(first.json()["access_token"])
        assert (await client.get("/check_protected", headers=headers)).status_code == 200
        again = await client.post("/token", data=form)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        assert (await client.get("/check_protected", headers=headers)).status_code == 401


@async_test
async def test_an_app_may_give_no_refresh_tokens() -> None:
    class Short(People):
        REFRESH_TOKENS = False

    app, _ = service(Short)
    async with running(app) as client:
        answer = await client.post("/token", data={"username": "ada", "password": "adaada"})
        assert "refresh_token" not in answer.json()
        form = {"grant_type": "refresh_token", "refresh_token": "bsr_" + "x" * 43}
        answer = await client.post("/token", data=form)
        assert answer.json()["error"] == "unsupported_grant_type"


@async_test
async def test_guessing_is_answered_with_429_and_when_to_come_back() -> None:
    throttle = LoginThrottle(per_client=(3, 60), clock=FakeClock())
    app, _ = service(client_limits=throttle)
    async with running(app) as client:
        statuses = [
            (await client.post("/token", data={"username": "ada", "password": f"{n}"})).status_code
            for n in range(4)
        ]
        assert statuses == [401, 401, 401, 429]
        answer = await client.post("/token", data={"username": "ada", "password": "adaada"})
        assert int(answer.headers["retry-after"]) in range(1, 61)


@async_test
async def test_without_limits_anybody_may_guess() -> None:
    app, _ = service(client_limits=False)
    async with running(app) as client:
        for n in range(50):
            answer = await client.post("/token", data={"username": "ada", "password": f"{n}"})
            assert answer.status_code == 401


@async_test
async def test_what_a_proxy_says_is_not_believed_unless_it_is_trusted() -> None:
    app, _ = service(client_limits=LoginThrottle(per_client=(3, 60), clock=FakeClock()))
    async with running(app) as client:
        for n in range(4):
            answer = await client.post(
                "/token",
                data={"username": "ada", "password": "x"},
                headers={"X-Forwarded-For": f"10.0.0.{n}", "Forwarded": f"for=10.0.0.{n}"},
            )
        assert answer.status_code == 429


@async_test
async def test_check_protected_answers_as_it_always_has() -> None:
    app, _ = service()
    async with running(app) as client:
        ada, _ = await log_in(client)
        found = (await client.get("/check_protected", headers=ada)).json()
        assert found["message"] == "This is a protected route"
        assert found["user"]["sub"] == "ada"


@async_test
async def test_a_token_that_is_given_back_does_not_count() -> None:
    app, _ = service()
    async with running(app) as client:
        ada, refresh = await log_in(client)
        token = ada["Authorization"].removeprefix("Bearer ")
        answer = await client.post("/token/revoke", data={"token": token})
        assert answer.status_code == 200
        assert (await client.get("/check_protected", headers=ada)).status_code == 401
        form = {"grant_type": "refresh_token", "refresh_token": refresh}
        following = (await client.post("/token", data=form)).json()
        form = {"token": following["refresh_token"], "token_type_hint": "access_token"}
        assert (await client.post("/token/revoke", data=form)).status_code == 200
        headers = bearer(following["access_token"])
        assert (await client.get("/check_protected", headers=headers)).status_code == 401


@pytest.mark.parametrize("token", ["x", "", "a.b.c", "bsr_" + "x" * 43, "x" * 100_000])
@async_test
async def test_giving_back_what_is_unknown_says_nothing(token: str) -> None:
    app, _ = service()
    async with running(app) as client:
        answer = await client.post("/token/revoke", data={"token": token})
        assert answer.status_code == (200 if token else 400)
        assert (await client.post("/token/revoke")).status_code == 400
        twice = await client.post("/token/revoke", data={"token": [token, "x"]})
        assert twice.status_code == 400


@async_test
async def test_logging_out_ends_this_login_alone() -> None:
    app, _ = service()
    async with running(app) as client:
        (one, refresh), (other, _) = await log_in(client), await log_in(client)
        assert (await client.post("/logout", headers=one)).status_code == 204
        assert (await client.post("/logout", headers=one)).status_code == 401
        assert (await client.get("/check_protected", headers=one)).status_code == 401
        assert (await client.get("/check_protected", headers=other)).status_code == 200
        form = {"grant_type": "refresh_token", "refresh_token": refresh}
        assert (await client.post("/token", data=form)).status_code == 400


@async_test
async def test_logging_out_everywhere_ends_all_logins_of_the_user() -> None:
    app, _ = service()
    async with running(app) as client:
        (one, _), (other, _), (bob, _) = [await log_in(client, n) for n in ("ada", "ada", "bob")]
        assert (await client.post("/logout/everywhere", headers=one)).status_code == 204
        for headers, status in ((one, 401), (other, 401), (bob, 200)):
            assert (await client.get("/check_protected", headers=headers)).status_code == status
        again, _ = await log_in(client)
        assert (await client.get("/check_protected", headers=again)).status_code == 200


@async_test
async def test_public_keys_are_published_and_others_can_check_tokens_with_them() -> None:
    from joserfc import jwt
    from joserfc.jwk import KeySet

    pair = SigningKey.generate("ES256")

    class Paired(People):
        KEYS = Keyring(pair)

    app, auth = service(Paired, prefix="/auth")
    async with running(app) as client:
        answer = await client.get("/.well-known/jwks.json")
        assert answer.headers["cache-control"] == "public, max-age=300"
        (published,) = answer.json()["keys"]
        assert set(published) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
        grant = await auth.issue("ada")
        found = jwt.decode(
            grant.access_token, KeySet.import_key_set(answer.json()), algorithms=["ES256"]
        )
        assert found.header == {"alg": "ES256", "kid": pair.kid, "typ": "at+jwt"}
        assert found.claims["sub"] == "ada"


@async_test
async def test_a_secret_is_never_published() -> None:
    app, _ = service()
    async with running(app) as client:
        assert (await client.get("/.well-known/jwks.json")).status_code == 404


@async_test
async def test_a_prefix_moves_the_routes_and_openapi_follows() -> None:
    app, _ = service(prefix="/auth", tags=["people"])

    @app.get("/x", dependencies=[Depends(jwt_auth)])
    async def x() -> str:
        return "x"

    async with running(app) as client:
        answer = await client.post("/auth/token", data={"username": "ada", "password": "adaada"})
        headers = bearer(answer.json()["access_token"])
        assert (await client.get("/x", headers=headers)).json() == "x"
        document = (await client.get("/openapi.json")).json()
        scheme = document["components"]["securitySchemes"]["AuthJWT"]
        assert scheme["flows"]["password"]["tokenUrl"] == "auth/token"
        assert document["paths"]["/auth/token"]["post"]["tags"] == ["people"]


@async_test
async def test_a_store_out_of_reach_is_a_503() -> None:
    store = FragileStore()
    app, _ = service(store=store)
    async with running(app) as client:
        store.down = True
        answer = await client.post("/token", data={"username": "ada", "password": "adaada"})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "access_token" not in answer.text


def test_a_token_is_not_shown_by_accident() -> None:
    token = Token(access_token="canary", refresh_token="canary", expires_in=1)
    assert "canary" not in repr(token)


@async_test
async def test_a_store_that_hangs_is_told_soon_and_after_it_all_goes_on() -> None:
    class Impatient(People):
        STORE_PATIENCE_SECONDS = 0.05

    class Hanging(FragileStore):
        hangs = False

        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            if name in {"add_refresh", "find_refresh", "end_session"} and self.hangs:
                return _hang
            return found

    store = Hanging()
    app, _ = service(Impatient, store=store)
    async with running(app) as client:
        ada, refresh_token = await log_in(client)
        store.hangs = True
        answers = [
            await client.post("/token", data={"username": "ada", "password": "adaada"}),
            await client.post(
                "/token", data={"grant_type": "refresh_token", "refresh_token": refresh_token}
            ),
            await client.post("/token/revoke", data={"token": refresh_token}),
        ]
        assert [each.status_code for each in answers] == [503, 503, 503]
        assert (await client.get("/check_protected", headers=ada)).status_code == 200
        assert (await client.post("/logout", headers=ada)).status_code == 503
        store.hangs = False
        assert (await client.get("/check_protected", headers=ada)).status_code == 401
        await log_in(client)


async def _hang(*args: object, **options: object) -> None:
    await asyncio.Event().wait()
