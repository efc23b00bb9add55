"""The conformance suites run here, and tell what passes from what does not."""

import pytest

from tests.browser.bench import free_ports
from tests.browser.conformance import REVISIONS, check_active, check_requirements, main


def test_the_gate_has_thirty_scenarios_and_tells_what_a_tiny_server_lacks(tiny_url: str) -> None:
    report = check_active(tiny_url)
    assert len(report.scenarios) == 30
    assert report.scenarios["ping"].passed == 1
    assert "ping" not in report.failing
    assert report.failing["tools-call-image"] == ["tools-call-image: No image content found"]
    assert "failed tools-call-image" in str(report)


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_alpha_tells_what_each_revision_requires(tiny_url: str, revision: str) -> None:
    report = check_requirements(tiny_url, revision)
    assert "ping" in report.scenarios or revision == "2026-07-28"
    assert report.scenarios["tools-list"].passed > 0
    assert "tools-call-image" in report.failing
    assert report.scenarios["json-schema-2020-12"].unscored == "pending"
    assert "json-schema-2020-12" not in report.failing


def test_as_a_program_it_prints_the_report_and_its_status_is_the_gates(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (nobody,) = free_ports(1)
    assert main(f"http://127.0.0.1:{nobody}/mcp") == 1
    said = capsys.readouterr().out
    assert "0.1.16 active: 0 of " in said
    assert "failed ping: " in said
    for revision in REVISIONS:
        assert f"0.2.0-alpha.12 {revision}: " in said
