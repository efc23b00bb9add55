"""The dashboard and the alerts ask for what is there: every metric and every label."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from fastapi import FastAPI

from backstay.cache import add_cache, cached
from backstay.observation import Kind
from backstay.tasks import add_tasks, task
from backstay.telemetry import METRIC_NAMES, add_telemetry, alert_rules, grafana_dashboard
from backstay.testing import running
from backstay.web import install
from tests.support import async_test
from tests.telemetry.seeing import begun, samples
from tests.telemetry.test_sampling import Database, Part

METRIC = re.compile(r"\b(?:backstay|process|python)_[a-z_]+\b")
SELECTOR = re.compile(r"([a-zA-Z_]+)\s*(?:=~|!~|!=|=)\s*\"")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
LEGEND = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")
FROM_THE_SCRAPER = {"job", "instance"}
SIGHT = re.compile(r"\$__\w+|\"\$\w+\"")


async def exercised() -> dict[str, set[str]]:
    """What an app tells that has done everything: names of series, and their labels."""
    app = FastAPI()
    add_tasks(app, worker=False)
    add_cache(app, "memory://")
    part = add_telemetry(app)
    backstay = install(app)
    backstay.add(Part("db", database=Database()))

    @cached(ttl=60)
    async def made(number: int) -> int:
        return number

    @task(name="invoice")
    async def invoice(order: int) -> None: ...

    @app.get("/made/{number}")
    async def read(number: int) -> int:
        return await made(number)

    async with running(app, database="memory://") as client:
        await client.get("/made/1")
        await client.durable.enqueue(invoice, 1)
        for kind in Kind:
            begun(backstay, kind, "x", queue="mail").end("failed", status=500)
        assert part.metrics is not None
        part.metrics.gauge("backstay_tasks_pending").set(0)
        body, _ = await part.scrape()
    return {
        name: {label for labels in series for label, _ in labels}
        for name, series in samples(body.decode()).items()
    }


def questions() -> Iterator[tuple[str, str, str]]:
    """Every PromQL expression, whose it is, and the words that show its answer."""
    for panel in grafana_dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]
    for group in yaml.safe_load(alert_rules())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"], " ".join(rule["annotations"].values())


@async_test
async def test_every_metric_and_label_that_is_asked_for_is_there() -> None:
    there = await exercised()
    for where, expression, words in questions():
        names = set(METRIC.findall(re.sub(r"\"[^\"]*\"", "", expression)))
        assert names, f"{where} asks for nothing"
        assert names <= there.keys(), f"{where}: {names - there.keys()}"
        labels = set().union(*(there[name] for name in names)) | FROM_THE_SCRAPER
        selected = set(SELECTOR.findall(expression))
        assert selected <= labels, f"{where}: {selected - labels}"
        grouped = {
            each.strip() for group in GROUPING.findall(expression) for each in group.split(",")
        }
        assert grouped <= labels, f"{where}: {grouped - labels}"
        shown = set(LEGEND.findall(words))
        assert shown <= grouped, f"{where} shows {shown - grouped}, which its answer lacks"


@async_test
async def test_every_metric_of_ours_is_told_and_asked_for() -> None:
    there = await exercised()
    asked = {name for _, expression, _ in questions() for name in METRIC.findall(expression)}
    for name in METRIC_NAMES:
        forms = {name, f"{name}_bucket", f"{name}_sum", f"{name}_count"}
        assert forms & there.keys(), f"{name} is told by nobody"
        assert forms & asked, f"{name} is asked for by nobody"


def test_each_selector_is_of_the_chosen_service_and_instance() -> None:
    for panel in grafana_dashboard()["panels"]:
        for target in panel.get("targets", ()):
            selectors = re.findall(r"\b(?:backstay|process)_\w+\{([^}]*)\}", target["expr"])
            bare = re.findall(r"\b(?:backstay|process)_\w+\b(?!\{)", target["expr"])
            assert selectors, panel["title"]
            assert bare == [], panel["title"]
            for each in selectors:
                assert 'job=~"$job"' in each, panel["title"]
                assert 'instance=~"$instance"' in each, panel["title"]


def test_expressions_are_balanced_and_use_only_variables_that_there_are() -> None:
    known = {each["name"] for each in grafana_dashboard()["templating"]["list"]}
    known |= {"__rate_interval"}
    for where, expression, _ in questions():
        for opening, closing in ("()", "{}", "[]"):
            assert expression.count(opening) == expression.count(closing), where
        assert set(re.findall(r"\$(\w+)", expression)) <= known, where
        if "histogram_quantile" in expression:
            assert re.search(r"by \([^)]*\ble\b", expression), where


def test_the_dashboard_has_the_form_that_grafana_imports() -> None:
    dashboard = grafana_dashboard()
    assert dashboard["schemaVersion"] >= 39
    assert dashboard["uid"] == "backstay"
    assert "id" not in dashboard, "that is Grafana's to give"
    panels: list[dict[str, Any]] = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids))
    assert {panel["type"] for panel in panels} <= {"row", "timeseries", "stat"}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert len({each["refId"] for each in panel["targets"]}) == len(panel["targets"])
    assert [each["name"] for each in dashboard["templating"]["list"]] == [
        "datasource",
        "job",
        "instance",
        "route",
    ]
    assert json.loads(json.dumps(dashboard)) == dashboard


def test_rows_are_those_an_operator_looks_for() -> None:
    assert [each["title"] for each in grafana_dashboard()["panels"] if each["type"] == "row"] == [
        "Traffic",
        "Errors",
        "Latency",
        "Tasks and jobs",
        "Widgets and tools",
        "Cache",
        "Outgoing calls",
        "Database pools and process",
    ]


@pytest.mark.parametrize("rule", yaml.safe_load(alert_rules())["groups"][0]["rules"], ids=str)
def test_an_alert_says_how_bad_it_is_and_what_happened(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"Backstay[A-Z]\w+", rule["alert"])
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"]


def test_a_copy_is_the_callers_to_change() -> None:
    grafana_dashboard()["title"] = "mine"
    assert grafana_dashboard()["title"] == "backstay"
