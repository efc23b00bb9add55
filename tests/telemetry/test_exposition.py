"""The text of metrics: the format that is asked for, and what several processes have together."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backstay.telemetry import Metrics
from backstay.telemetry.exposition import forget_process, written
from tests.telemetry.seeing import observed, request, samples

ONE_PROCESS = """
import os
import sys

from backstay.telemetry import Metrics
from backstay.telemetry.exposition import forget_process, written
from tests.telemetry.seeing import begun, observed, request
from backstay.observation import Kind

metrics = Metrics()
backstay = observed(metrics)
request(backstay, "GET", "/")
begun(backstay, Kind.JOB, "never ends")
metrics.gauge("backstay_tasks_pending").set(2)
if sys.argv[1] == "politely":
    forget_process(metrics)
elif sys.argv[1] == "read":
    print(written(metrics, accept="", accept_encoding="")[0].decode())
sys.stdout.flush()
os._exit(0)
"""


def filled() -> Metrics:
    metrics = Metrics()
    request(observed(metrics), "GET", "/")
    return metrics


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0"),
        ("application/openmetrics-text;version=rubbish", ""),
        ("application/openmetrics-text;version=..;escaping=x", ""),
        ("text/plain;version=" + "9" * 10_000, "text/plain"),
        (";;;,,,=;", "text/plain"),
        ("application/openmetrics-text;version", "application/openmetrics-text"),
    ],
)
def test_the_format_is_the_one_asked_for_and_rubbish_is_answered_all_the_same(
    accept: str, expected: str
) -> None:
    body, headers = written(filled(), accept=accept, accept_encoding="")
    assert headers["Content-Type"].startswith(expected)
    assert b"backstay_http_requests" in body
    assert body.endswith(b"# EOF\n") is headers["Content-Type"].startswith("application/openm")


def test_a_body_is_compressed_for_who_can_read_it() -> None:
    body, headers = written(filled(), accept="", accept_encoding="deflate, gzip;q=0.9")
    assert headers["Content-Encoding"] == "gzip"
    assert b"backstay_http_requests_total" in gzip.decompress(body)
    assert "Content-Encoding" not in written(filled(), accept="", accept_encoding="br")[1]


def test_nobody_keeps_metrics_on_the_way() -> None:
    assert written(filled(), accept="", accept_encoding="")[1]["Cache-Control"] == "no-store"


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
def test_series_have_no_second_one_for_their_birthday(accept: str) -> None:
    body, _ = written(filled(), accept=accept, accept_encoding="")
    assert b"_created" not in body


def process(folder: Path, how: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ONE_PROCESS, how],
        env={
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(folder),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_counts_of_ended_processes_stay_and_what_they_ran_goes(tmp_path: Path) -> None:
    process(tmp_path, "politely")
    process(tmp_path, "killed")
    found = samples(process(tmp_path, "read"))
    assert list(found["backstay_http_requests_total"].values()) == [3]
    assert list(found["backstay_http_request_duration_seconds_count"].values()) == [3]
    assert list(found["backstay_jobs_running"].values()) == [1], "the one that is asked"
    assert list(found["backstay_tasks_pending"].values()) == [2]
    assert list(found["backstay_info"].values()) == [1]


def test_a_process_that_is_alone_has_nothing_to_forget() -> None:
    forget_process(filled())
