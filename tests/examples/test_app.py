"""What operators and reviewers look at: readiness, errors, other sites' pages, and where secrets go."""

from __future__ import annotations

import logging
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from backstay.errors import WeakSecret
from backstay.testing import running
from backstay.web import installed
from examples.shop.app import create_app
from tests.examples.town import Town, shop_alone, wanted
from tests.support import async_test

NOBODY_WORKS = {"WORKER": "0"}
PASSWORD = "a canary in the coal mine"
PROBLEM = "application/problem+json"


def refused(answer: httpx.Response, status: int) -> Any:
    """A problem, as all of them are."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail", "instance", "error_id", "correlation_id"} <= problem.keys()
    assert problem["correlation_id"] == answer.headers["X-Request-ID"]
    assert "traceback" not in problem
    return problem


# ------------------------------------------------------------------ for operators


@async_test
async def test_it_is_ready_without_a_worker_and_says_that_one_is_missing(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        assert (await here.shop.get("/livez")).json() == {"status": "ok"}
        answer = await here.shop.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["status"] == "degraded"
        checks = {name: each["status"] for name, each in answer.json()["checks"].items()}
        assert checks["workers"] == "degraded"
        assert checks["database"] == checks["jobs"] == "ok"
        assert (await here.shop.get("/healthcheck")).json()["status"] is True


@async_test
async def test_with_a_worker_it_is_ready_and_well(tmp_path: Path) -> None:
    async with shop_alone(tmp_path) as here:
        answer = await here.shop.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")


@async_test
async def test_metrics_are_for_this_machine_and_count_orders_by_route(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        refused(await here.shop.get("/metrics"), 403)  # by a name that is not this machine's
        placed = (await here.shop.post("/orders", json=wanted(cup=1))).json()
        headers = {"X-Order-Key": placed["order_key"]}
        await here.shop.get(f"/orders/{placed['id']}", headers=headers)
        text = (await here.shop.get("/metrics", headers={"Host": "localhost"})).text
        assert 'route="/orders/{order_id}"' in text
        assert placed["order_key"] not in text


@async_test
async def test_events_of_a_request_are_found_by_its_id(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS, BACKSTAY_EVENTS="1.0") as here:
        await here.shop.post("/orders", json=wanted(cup=1), headers={"X-Request-ID": "r-7"})
        events = here.shop.ctx.events
        await events.flush()
        names = [event.name for event in await events.trace("r-7")]
        assert "POST /orders" in names


# ------------------------------------------------------------------ errors


@async_test
async def test_whatever_goes_wrong_is_answered_in_one_format(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        shop = here.shop
        refused(await shop.get("/nowhere"), 404)
        refused(await shop.get("/products/nothing"), 404)
        refused(await shop.get("/orders/1"), 404)
        refused(await shop.delete("/orders"), 405)
        refused(await shop.get("/orders"), 401)
        refused(await shop.get("/products?stock__gt=1"), 422)
        refused(await shop.post("/orders", json=wanted(cup=201)), 422)
        refused(await shop.post("/orders", json=wanted(samovar=2)), 409)
        refused(await shop.post("/orders", json=wanted(unicorn=1)), 422)
        refused(await shop.post("/newsletter", content=b"\xff{"), 422)
        too_much = await shop.post("/newsletter", content=b" " * (10 * 2**20 + 1))
        refused(too_much, 413)
        here.app.state.shop = None  # whoever did that
        problem = refused(await shop.post("/orders", json=wanted(cup=1)), 500)
        assert "NoneType" not in str(problem)
        assert "examples" not in str(problem)


@async_test
async def test_problems_tell_the_time_of_the_shop(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, TIMEZONE="Asia/Kathmandu", **NOBODY_WORKS) as here:
        problem = refused(await here.shop.get("/nowhere"), 404)
        at = datetime.fromisoformat(problem["datetime"])
        assert at.utcoffset() == timedelta(hours=5, minutes=45)


# ------------------------------------------------------------------ other sites' pages


@async_test
async def test_pages_of_the_origins_that_are_named_may_read_and_no_others(tmp_path: Path) -> None:
    ours = "https://tea.example"
    async with shop_alone(tmp_path, ORIGINS=ours, **NOBODY_WORKS) as here:

        async def allowed(origin: str, path: str = "/products", **options: Any) -> str | None:
            answer = await here.shop.get(path, headers={"Origin": origin}, **options)
            found: str | None = answer.headers.get("Access-Control-Allow-Origin")
            return found

        assert await allowed(ours) == ours
        assert await allowed(ours, "/nowhere") == ours  # a page is to understand its errors
        for stranger in (
            "https://evil.example",
            "https://tea.example.evil.example",
            "http://tea.example",
            "https://TEA.example",
            "null",
        ):
            assert await allowed(stranger) is None, stranger
        asked = {
            "Origin": ours,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type, x-order-key",
        }
        preflight = await here.shop.options("/orders", headers=asked)
        assert preflight.is_success
        assert preflight.headers["Access-Control-Allow-Origin"] == ours
        asked["Origin"] = "https://evil.example"
        turned_away = await here.shop.options("/orders", headers=asked)
        assert "Access-Control-Allow-Origin" not in turned_away.headers


@async_test
async def test_without_origins_no_page_of_another_site_may_read(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        answer = await here.shop.get("/products", headers={"Origin": "https://tea.example"})
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


# ------------------------------------------------------------------ secrets


@async_test
async def test_no_password_token_key_or_card_is_in_logs_answers_metrics_or_the_file(
    tmp_path: Path,
) -> None:
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(f"{self.format(record)} {vars(record)}")

    keep = Keep()
    root = logging.getLogger()
    before = root.level
    root.addHandler(keep)
    root.setLevel(logging.DEBUG)
    try:
        on = {"BACKSTAY_EVENTS": "1.0", "ADMIN_EMAIL": "boss@example.com"}
        boss = secrets.token_urlsafe(12)
        async with shop_alone(tmp_path, **on, ADMIN_PASSWORD=boss, **NOBODY_WORKS) as here:
            canaries, answers = await _use(here)
            await here.shop.ctx.events.flush()
            answers.append((await here.shop.get("/metrics", headers={"Host": "localhost"})).text)
            answers.append((await here.shop.get("/openapi.json")).text)
            secret = installed(here.app).settings.require("BACKSTAY_SECRET_KEY")
    finally:
        root.removeHandler(keep)
        root.setLevel(before)
    canaries = {**canaries, "the admin's password": boss, "the secret key": secret}
    files = [each for each in tmp_path.glob("shop*") if each.is_file()]
    assert len(files) >= 2
    for what, canary in canaries.items():
        assert not [each for each in said if canary in each], what
        assert not any(canary in each for each in answers), what
        for file in files:
            assert canary.encode() not in file.read_bytes(), (what, file.name)


async def _use(here: Town) -> tuple[dict[str, str], list[str]]:
    """Do all that secrets are for, and get as much wrong. The secrets, and other answers."""
    shop = here.shop
    wrong = secrets.token_urlsafe(12)
    short = secrets.token_urlsafe(8)[:11]
    card = f"tok_{secrets.token_hex(8)}"
    account = {"email": "ada@example.com", "password": PASSWORD}
    answers = [await shop.post("/accounts", json=account) for _ in range(2)]
    answers.append(await shop.post("/accounts", json={**account, "email": "no address"}))
    answers.append(await shop.post("/accounts", json={**account, "password": short}))
    login = {"username": "ada@example.com", "password": PASSWORD}
    granted = (await shop.post("/token", data=login)).json()
    refresh = {"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]}
    renewed = (await shop.post("/token", data=refresh)).json()
    bearer = {"Authorization": f"Bearer {renewed['access_token']}"}
    _, key = await here.key("warehouse")
    guest = (await shop.post("/orders", json=wanted(card=card, cup=1))).json()
    answers += [
        await shop.post("/token", data={**login, "password": wrong}),
        await shop.post("/token", json=login),
        await shop.post("/token", data={**login, "grant_type": PASSWORD}),
        await shop.get(f"/orders/{guest['id']}", headers={"X-Order-Key": guest["order_key"]}),
        await shop.post("/orders", json=wanted(card=card, samovar=2)),
        await shop.post("/orders", json={"card": card}),
        await shop.post("/orders", json={**wanted(cup=1), "card": {card: card}}),
        await shop.post("/orders", json=wanted(card=card, cup=1), headers=bearer),
        await shop.get("/orders", headers=bearer),
        await shop.get("/warehouse/orders", headers=key),
        await shop.get("/customers", headers=key),
        await shop.post("/warehouse/stock/cup", json={"number": "DN-1"}, headers=key),
        await shop.get("/orders", headers={"Authorization": f"Basic {wrong}"}),
        await shop.get("/orders", headers={"Authorization": f"Bearer {wrong}"}),
        await shop.post("/token", data=refresh),  # once more: somebody has a copy
        await shop.get("/orders", headers=bearer),
        await shop.post("/logout", headers=bearer),
    ]
    # What a client sends twice may come back; these never do.
    canaries = {
        "the password": PASSWORD,
        "a wrong password": wrong,
        "a password that is too short": short,
        "the first access token": granted["access_token"],
        "the access token": renewed["access_token"],
        "the first refresh token": granted["refresh_token"],
        "the refresh token": renewed["refresh_token"],
        "the API key": key["X-API-Key"],
        "the card": card,
        "the order's key": guest["order_key"],
    }
    return canaries, [f"{answer.headers} {answer.text}" for answer in answers]


def test_a_secret_that_could_be_guessed_is_refused_outside_of_debug(tmp_path: Path) -> None:
    settings = {"DATABASE": str(tmp_path / "shop.db"), "BACKSTAY_SECRET_KEY": "changeme"}
    with pytest.raises(WeakSecret):
        create_app(settings)
    create_app({**settings, "DEBUG": "1"})


@async_test
async def test_without_a_secret_it_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BACKSTAY_SECRET_KEY", raising=False)
    monkeypatch.chdir(tmp_path)  # where there is no .env
    app = create_app({"DATABASE": str(tmp_path / "shop.db")})
    with pytest.raises(RuntimeError, match="BACKSTAY_SECRET_KEY"):
        async with running(app):
            raise AssertionError("it has started")


# ------------------------------------------------------------------ for whoever asks what is asked


@async_test
async def test_admins_see_what_the_shop_asks_of_whom_and_nobody_else_does(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        refused(await here.shop.get("/docintegration"), 401)
        refused(await here.shop.get("/docintegration.json"), 401)
        customer = await here.login("grace@example.com")
        refused(await here.shop.get("/docintegration.json", headers=customer), 403)
        answer = await here.shop.get("/docintegration.json", headers=here.admin)
        assert answer.status_code == 200
        labels = {
            f"{each['name']}.{endpoint['name']}"
            for each in answer.json()["integrations"]
            for endpoint in each["endpoints"]
        }
        assert labels == {
            *("Payment gateway.charge", "Payment gateway.refund", "Mail.send", "Mail.welcome"),
            *("Parcel service.ship", "Analytics.track"),
        }
        page = await here.shop.get("/docintegration", headers=here.admin)
        assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("setting", ["OPEN_DOCS", "DEBUG"])
@async_test
async def test_a_setting_shows_it_to_everybody(tmp_path: Path, setting: str) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS, **{setting: "1"}) as here:
        assert (await here.shop.get("/docintegration")).status_code == 200
