"""``add_telemetry(app)`` and what an operator sees of it."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from backstay.errors import AlreadyInstalled, BadTelemetry, NotAllowed, WeakSecret
from backstay.telemetry import add_metrics, add_telemetry, bearer_token
from backstay.testing import running
from backstay.web import install
from tests.chaos.processes import Program, free_port, wait_until
from tests.support import async_test
from tests.telemetry.seeing import TOKEN, WITH_TOKEN, samples, value


@async_test
async def test_one_line_measures_requests_by_the_templates_of_their_routes() -> None:
    app = FastAPI()
    add_telemetry(app, metrics_guard=bearer_token(TOKEN))
    router = APIRouter(prefix="/orders")

    @router.get("/{order_id}")
    async def order(order_id: int) -> int:
        if order_id == 13:
            raise RuntimeError("unlucky")
        return order_id

    app.include_router(router, prefix="/v1")
    async with running(app, raise_app_exceptions=False) as client:
        for path in ("/v1/orders/1", "/v1/orders/2", "/v1/orders/13", "/v1/orders/x", "/wp-admin"):
            await client.get(path)
        text = (await client.get("/metrics", headers=WITH_TOKEN)).text
    name, by = "backstay_http_requests_total", {"method": "GET", "route": "/v1/orders/{order_id}"}
    for status, count in (("200", 2), ("500", 1), ("422", 1)):
        assert value(text, name, **by, status=status) == count
    assert value(text, name, method="GET", route="(none)", status="404") == 1
    assert value(text, "backstay_http_requests_in_flight") == 1, "the scrape itself"
    assert "/v1/orders/13" not in text
    assert "wp-admin" not in text


def test_by_default_this_machine_may_read_metrics_and_a_stranger_may_not() -> None:
    app = FastAPI()
    add_telemetry(app)
    here = TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1))
    assert here.get("/metrics").status_code == 200
    stranger = TestClient(app, base_url="http://localhost", client=("203.0.113.9", 1))
    answer = stranger.get("/metrics")
    assert answer.status_code == 403
    assert "backstay_" not in answer.text


def test_the_token_of_the_setting_is_wanted_even_from_this_machine() -> None:
    app = FastAPI()
    install(app, settings={"BACKSTAY_METRICS_TOKEN": TOKEN})
    add_telemetry(app)
    here = TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1))
    refusal = here.get("/metrics")
    assert refusal.status_code == 401
    assert refusal.headers["www-authenticate"] == "Bearer"
    assert here.get("/metrics", headers=WITH_TOKEN).status_code == 200


@pytest.mark.parametrize("token", ["", "short"])
def test_a_token_that_protects_nothing_is_refused_where_the_app_is_made(token: str) -> None:
    app = FastAPI()
    install(app, settings={"BACKSTAY_METRICS_TOKEN": token})
    with pytest.raises(WeakSecret):
        add_telemetry(app)


def test_a_guard_of_ones_own_is_a_dependency() -> None:
    async def only_scrapers(request: Request) -> None:
        if request.headers.get("user-agent") != "Prometheus/3":
            raise NotAllowed

    app = FastAPI()
    add_metrics(app, "/internal/metrics", guard=only_scrapers)
    client = TestClient(app)
    assert client.get("/internal/metrics").status_code == 403
    answer = client.get("/internal/metrics", headers={"user-agent": "Prometheus/3"})
    assert answer.status_code == 200
    assert client.get("/metrics").status_code == 404


@pytest.mark.parametrize("in_docs", [True, False])
def test_the_path_is_in_the_docs_for_who_wants_it_there(in_docs: bool) -> None:
    app = FastAPI()
    add_telemetry(app, metrics_in_docs=in_docs)
    assert ("/metrics" in app.openapi()["paths"]) is in_docs


def test_metrics_of_the_apps_own_are_told_too() -> None:
    from prometheus_client import Counter

    app = FastAPI()
    part = add_metrics(app, guard=bearer_token(TOKEN), registry=CollectorRegistry())
    assert part.metrics is not None
    Counter("shop_orders", "Orders.", registry=part.metrics.registry).inc(3)
    text = TestClient(app).get("/metrics", headers=WITH_TOKEN).text
    assert value(text, "shop_orders_total") == 3


def test_without_metrics_there_is_no_path_for_them() -> None:
    app = FastAPI()
    part = add_telemetry(app, metrics=False)
    assert part.metrics is None
    assert TestClient(app).get("/metrics").status_code == 404


def test_an_app_has_one() -> None:
    app = FastAPI()
    add_telemetry(app)
    routes = len(app.routes)
    for again in (add_telemetry, add_metrics):
        with pytest.raises(AlreadyInstalled):
            again(app)
    assert len(app.routes) == routes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics_path": "metrics"}, "begins with '/'"),
        ({"metrics_path": "/{which}/metrics"}, "is fixed"),
        ({"metrics_path": None}, "begins with '/'"),
        ({"metrics_guard": "token"}, "a function"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Any, message: str) -> None:
    app = FastAPI()
    with pytest.raises(BadTelemetry, match=message):
        add_telemetry(app, **options)
    add_telemetry(app)  # nothing was switched on by half


@pytest.mark.parametrize("app", [Starlette(), None, "app"])
def test_what_is_no_fastapi_app_is_refused(app: Any) -> None:
    with pytest.raises(BadTelemetry, match="FastAPI"):
        add_telemetry(app)


@contextmanager
def two_workers(folder: Path) -> Iterator[tuple[Program, str]]:
    port = free_port()
    arguments = ["-m", "uvicorn", "tests.telemetry.served:app", "--port", str(port)]
    arguments += ["--workers", "2", "--timeout-worker-healthcheck", "60"]
    program = Program(
        [sys.executable, "-W", "error", *arguments], {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    )
    try:
        for _ in range(2):
            program.wait_for(r"Application startup complete")
        yield program, f"http://127.0.0.1:{port}"
    finally:
        program.close()


def test_workers_at_one_address_tell_what_all_of_them_did(tmp_path: Path) -> None:
    with two_workers(tmp_path) as (_, url):
        pids: list[int] = []

        def both_have_worked() -> bool:
            pids.append(httpx.get(f"{url}/pid/{len(pids) % 2}").json())
            return len(set(pids)) == 2 and len(pids) >= 20

        wait_until(both_have_worked, "an answer of each worker")

        def scraped() -> dict[str, Any]:
            return samples(httpx.get(f"{url}/metrics").text)

        requests = scraped()["backstay_http_requests_total"]
        by_route = (("method", "GET"), ("route", "/pid/{number}"), ("status", "200"))
        assert requests[by_route] == len(pids)

        # What each has in its own memory is written down every few seconds.
        wait_until(
            lambda: sum(scraped().get("backstay_cache_answers_total", {}).values()) == len(pids),
            "what both caches were asked",
        )
        os.kill(pids[0], signal.SIGKILL)

        def live() -> set[str]:
            httpx.get(f"{url}/metrics")
            return {each.stem.rpartition("_")[2] for each in tmp_path.glob("gauge_live*.db")}

        wait_until(lambda: str(pids[0]) not in live(), "the dead worker's gauges to go")
        assert scraped()["backstay_http_requests_total"][by_route] == len(pids), "counts stay"
