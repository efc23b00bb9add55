"""Signing up, logging in and out, and the admin that the settings name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from backstay.testing import enqueued
from examples.shop.accounts import AdminUnfit
from examples.shop.models import NewAccount
from examples.shop.store import AccountRow
from tests.examples.town import RELIABLE, Headers, Town, shop_alone, town, wanted
from tests.support import async_test

NOBODY_WORKS = {"WORKER": "0"}
PASSWORD = "what ada alone knows"
ADMIN = {"ADMIN_EMAIL": "Boss@Example.com", "ADMIN_PASSWORD": "what the boss alone knows"}


async def sign_up(here: Town, email: str, password: str = PASSWORD) -> httpx.Response:
    return await here.shop.post("/accounts", json={"email": email, "password": password})


async def log_in(here: Town, email: str, password: str = PASSWORD) -> httpx.Response:
    return await here.shop.post("/token", data={"username": email, "password": password})


def bearer(answer: httpx.Response) -> Headers:
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def status(here: Town, who: Headers, path: str = "/orders") -> int:
    return (await here.shop.get(path, headers=who)).status_code


# ------------------------------------------------------------------ signing up


@async_test
async def test_whoever_has_signed_up_logs_in_as_a_customer(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        answer = await sign_up(here, "Ada@Example.com")
        assert answer.status_code == 201
        assert answer.json()["email"] == "ada@example.com"
        granted = await log_in(here, "ada@example.com")
        assert granted.headers["Cache-Control"] == "no-store"
        assert granted.json()["scope"] == "orders:read orders:write"
        claims = (await here.shop.get("/check_protected", headers=bearer(granted))).json()
        assert claims["user"]["sub"] == "ada@example.com"
        assert claims["user"]["roles"] == ["customer"]
        assert await status(here, bearer(granted)) == 200


@async_test
async def test_an_address_that_has_an_account_is_answered_like_one_that_has_none(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, failures=RELIABLE) as here:
        first = await sign_up(here, "ada@example.com")
        again = await sign_up(here, "ada@example.com", "what mallory has in mind")
        other = await sign_up(here, "bob@example.com")
        assert first.status_code == again.status_code == other.status_code == 201
        assert again.json() == first.json()
        assert first.json()["message"] == other.json()["message"]
        assert set(first.headers) == set(again.headers)
        # Its password is what it was.
        assert (await log_in(here, "ada@example.com")).status_code == 200
        refused = await log_in(here, "ada@example.com", "what mallory has in mind")
        assert refused.status_code == 401
        # Whoever reads mail at the address learns which it was, and not over and over.
        await sign_up(here, "ada@example.com", "what mallory has in mind")
        await here.settle()
        mails = [each["body"] for each in (await here.books())["email"].values()]
        assert sorted((mail["to"], mail["template"]) for mail in mails) == [
            ("ada@example.com", "welcome_to_your_account"),
            ("ada@example.com", "you_have_an_account"),
            ("bob@example.com", "welcome_to_your_account"),
        ]


@async_test
async def test_a_sign_up_does_as_much_work_for_a_taken_address_as_for_a_free_one(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        hashed = []
        accounts = here.app.state.accounts
        hash_it = accounts.hash

        async def counted(password: str) -> str:
            hashed.append(password)
            made: str = await hash_it(password)
            return made

        accounts.hash = counted
        for _ in range(2):
            await sign_up(here, "ada@example.com")
        assert hashed == [PASSWORD, PASSWORD]
        assert len(await enqueued(here.shop)) == 2


@async_test
async def test_sign_ups_from_one_address_are_limited(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        answers = await asyncio.gather(
            *(sign_up(here, f"ada{number}@example.com") for number in range(9))
        )
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [201] * 5 + [429] * 4
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["Retry-After"]) > 0
        # Whoever claims to be somebody else is counted all the same.
        lied = await here.shop.post(
            "/accounts",
            json={"email": "ada@example.com", "password": PASSWORD},
            headers={"X-Forwarded-For": "198.51.100.7", "Forwarded": "for=198.51.100.7"},
        )
        assert lied.status_code == 429


@async_test
async def test_a_sign_up_that_will_not_do_is_refused_and_does_not_repeat_the_password(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        for body in (
            {"email": "ada@example.com", "password": "pa55word"},
            {"email": "no address", "password": PASSWORD},
            {"email": "ada@example.com", "password": "long " * 50},
        ):
            answer = await here.shop.post("/accounts", json=body)
            assert answer.status_code == 422
            assert body["password"] not in answer.text
        role = {"email": "ada@example.com", "password": PASSWORD, "role": "admin"}
        assert (await here.shop.post("/accounts", json=role)).status_code == 201
        assert (
            await status(here, bearer(await log_in(here, "ada@example.com")), "/customers") == 403
        )


def test_a_password_is_shown_by_no_repr() -> None:
    assert PASSWORD not in repr(NewAccount.model_validate({"email": "a@b.c", "password": PASSWORD}))


# ------------------------------------------------------------------ logging in and out


@async_test
async def test_a_wrong_password_and_a_stranger_are_refused_alike_and_both_cost_a_check(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        await sign_up(here, "ada@example.com")
        told = []
        for name in ("ada@example.com", "eve@example.com", "ADA@example.com"):
            answer = await log_in(here, name, "wrong")
            problem = answer.json()
            told.append((answer.status_code, problem["detail"], problem["error"]))
        assert told == [(401, "Incorrect username or password.", "invalid_grant")] * 3
        # Another spelling is no account's: its sessions would be nobody's to end.
        assert (await log_in(here, "ADA@example.com")).status_code == 401


@async_test
async def test_logging_out_everywhere_ends_every_token_of_the_account_and_no_other(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        await sign_up(here, "ada@example.com")
        phone, laptop = [await log_in(here, "ada@example.com") for _ in range(2)]
        bob = await here.login("bob@example.com")
        ended = await here.shop.post("/logout/everywhere", headers=bearer(phone))
        assert ended.status_code == 204
        for grant in (phone, laptop):
            assert await status(here, bearer(grant)) == 401
            # Not as a guest either, whatever the route lets guests do.
            order = await here.shop.post("/orders", json=wanted(cup=1), headers=bearer(grant))
            assert order.status_code == 401
            form = {"grant_type": "refresh_token", "refresh_token": grant.json()["refresh_token"]}
            assert (await here.shop.post("/token", data=form)).status_code == 400
        assert await status(here, bob) == 200
        assert await status(here, bearer(await log_in(here, "ada@example.com"))) == 200


@async_test
async def test_a_refreshed_token_has_the_role_of_now(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        await here.login("clerk@example.com", "admin")
        auth = here.app.state.auth_jwt
        grant = await auth.issue("clerk@example.com")
        async with here.app.state.shop.new_session() as session, session.begin():
            row = await session.get_one(AccountRow, "clerk@example.com")
            row.role = "customer"
        form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}
        refreshed = await here.shop.post("/token", data=form)
        assert refreshed.json()["scope"] == "orders:read orders:write"
        assert await status(here, bearer(refreshed), "/customers") == 403


# ------------------------------------------------------------------ roles


@async_test
async def test_customers_are_for_admins_alone_and_products_for_everybody(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        ada = await here.login("ada@example.com")
        _, program = await here.key("customers")
        new = {"name": "Ada", "email": "ada@example.com"}
        for who, code in ((ada, 403), (program, 403), ({}, 401), (here.admin, 200)):
            assert await status(here, who, "/customers") == code
            assert await status(here, who, "/customers/1") == (404 if code == 200 else code)
            assert await status(here, who, "/products") == 200
        for who, code in ((ada, 403), (program, 403), ({}, 401), (here.admin, 201)):
            made = await here.shop.post("/customers", json=new, headers=who)
            assert made.status_code == code
        for method in ("PUT", "PATCH", "DELETE"):
            answer = await here.shop.request(method, "/customers/1", json=new, headers=ada)
            assert answer.status_code == 403
        # Not by a token with the role that was asked to do less.
        grant = await here.app.state.auth_jwt.issue("admin@example.com", scopes=["orders:read"])
        less = {"Authorization": f"Bearer {grant.access_token}"}
        assert await status(here, less, "/customers") == 403


# ------------------------------------------------------------------ the admin of the settings


@async_test
async def test_the_settings_name_an_admin(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **ADMIN, **NOBODY_WORKS) as here:
        boss = await log_in(here, "boss@example.com", ADMIN["ADMIN_PASSWORD"])
        assert boss.json()["scope"] == "customers orders:read orders:write"
        assert await status(here, bearer(boss), "/customers") == 200
        # Whoever signs up with the address changes nothing.
        assert (await sign_up(here, "boss@example.com")).status_code == 201
        assert (await log_in(here, "boss@example.com")).status_code == 401


@async_test
async def test_with_a_new_password_in_the_settings_the_old_one_and_its_sessions_are_over(
    tmp_path: Path,
) -> None:
    kept = {"BACKSTAY_SECRET_KEY": "x9RkT2vYq8LmZ4nWc7Jd5HsPf3GbA6uE"}
    async with shop_alone(tmp_path, **ADMIN, **NOBODY_WORKS, **kept) as here:
        boss = await log_in(here, "boss@example.com", ADMIN["ADMIN_PASSWORD"])
    async with shop_alone(tmp_path, **ADMIN, **NOBODY_WORKS, **kept) as here:
        assert await status(here, bearer(boss), "/customers") == 200  # nothing has changed
    new = {**ADMIN, "ADMIN_PASSWORD": "what the next boss alone knows"}
    async with shop_alone(tmp_path, **new, **NOBODY_WORKS, **kept) as here:
        assert await status(here, bearer(boss), "/customers") == 401
        old = await log_in(here, "boss@example.com", ADMIN["ADMIN_PASSWORD"])
        assert old.status_code == 401
        again = await log_in(here, "boss@example.com", new["ADMIN_PASSWORD"])
        assert await status(here, bearer(again), "/customers") == 200


@async_test
async def test_a_customer_does_not_become_an_admin_by_the_settings(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        await sign_up(here, "boss@example.com")
        accounts = here.app.state.accounts
        with pytest.raises(AdminUnfit, match="as a customer already"):
            await accounts.keep_admin("boss@example.com", ADMIN["ADMIN_PASSWORD"])
        with pytest.raises(AdminUnfit, match="12 are needed") as caught:
            await accounts.keep_admin("chef@example.com", "a55word")
        assert "a55word" not in str(caught.value)
        assert await accounts.role("boss@example.com") == "customer"
        assert await accounts.role("chef@example.com") is None
