"""The official conformance suites find nothing wrong with a server made of public names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.conformance import check_active, check_requirements
from tests.browser.serving import serving_app
from tests.widgets.conformance.app import new_app

NEED_A_CONNECTION = {
    "elicitation-sep1034-defaults",
    "elicitation-sep1330-enums",
    "resources-subscribe",
    "resources-unsubscribe",
    "tools-call-elicitation",
    "tools-call-sampling",
}
"""What a client of the handshake era can be asked or told on an open connection alone."""


@pytest.fixture(scope="module")
def with_sessions() -> Iterator[str]:
    with serving_app(new_app(stateless=False)) as url:
        yield f"{url}/mcp"


@pytest.fixture(scope="module")
def by_default() -> Iterator[str]:
    with serving_app(new_app(stateless=True)) as url:
        yield f"{url}/mcp"


def test_every_active_scenario_passes_with_sessions(with_sessions: str) -> None:
    report = check_active(with_sessions)
    assert report.failed == 0, str(report)
    assert len(report.scenarios) == 30
    assert report.passed >= 40


@pytest.mark.parametrize(("revision", "least"), [("2025-11-25", 84), ("2026-07-28", 196)])
def test_the_alpha_finds_nothing_wrong_with_sessions_either(
    with_sessions: str, revision: str, least: int
) -> None:
    report = check_requirements(with_sessions, revision)
    # What does not count for the revision (extensions, tasks among them) has to pass as well.
    assert report.failed == 0, str(report)
    assert report.passed >= least, str(report)


def test_without_sessions_only_what_needs_a_connection_fails(by_default: str) -> None:
    report = check_active(by_default)
    assert set(report.failing) == NEED_A_CONNECTION, str(report)
    assert len(report.scenarios) == 30


def test_without_sessions_all_of_the_latest_revision_works(by_default: str) -> None:
    report = check_requirements(by_default, "2026-07-28")
    assert report.failed == 0, str(report)
    assert report.passed >= 196, str(report)
