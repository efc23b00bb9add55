"""The official conformance suite, run against a server: two versions of it.

0.1.16 is the gate: all its active scenarios have to pass. The alpha of 0.2.0 knows the requirements
of each revision, 2026-07-28 included; what it finds is reported.

As a program it prints the report: ``python -m tests.browser.conformance http://127.0.0.1:8000/mcp``.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.browser.bench import node_modules, run_node

__all__ = ["REVISIONS", "Report", "Scenario", "check_active", "check_requirements"]

REVISIONS = ("2025-11-25", "2026-07-28")
"""Revisions whose requirements the alpha knows."""

CONFORMANCE_PATIENCE_S = 240.0


@dataclass
class Scenario:
    """One scenario and what became of its checks.

    Attributes:
        passed: how many checks have succeeded.
        failures: messages of those that have not.
        warnings: messages of what should be otherwise but need not.
        unscored: why it does not count for the revision ("extension", "pending" ...); "": it counts.
    """

    name: str
    passed: int = 0
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unscored: str = ""


@dataclass(frozen=True)
class Report:
    """The scenarios by name, and the totals over all their checks."""

    title: str
    scenarios: dict[str, Scenario]

    @property
    def passed(self) -> int:
        return sum(each.passed for each in self.scenarios.values())

    @property
    def failed(self) -> int:
        return sum(len(each.failures) for each in self.scenarios.values())

    @property
    def failing(self) -> dict[str, list[str]]:
        """Scenarios that count and have failed, with their messages."""
        return {
            each.name: each.failures
            for each in self.scenarios.values()
            if each.failures and not each.unscored
        }

    def __str__(self) -> str:
        """A line for each scenario that is not in order, and the totals."""
        lines = [f"{self.title}: {self.passed} of {self.passed + self.failed} checks passed"]
        for each in self.scenarios.values():
            mark = f" ({each.unscored})" if each.unscored else ""
            lines += [f"  failed {each.name}{mark}: {why}" for why in each.failures]
            lines += [f"  warned {each.name}{mark}: {why}" for why in each.warnings]
        return "\n".join(lines)


def check_active(url: str, *, expected_failures: Path | None = None) -> Report:
    """The suite ``active`` of 0.1.16.

    Args:
        url: the server's endpoint.
        expected_failures: a YAML file naming scenarios that may fail; None: none may.

    Raises:
        AssertionError: the suite itself has broken down.
    """
    options = ["--suite", "active"]
    if expected_failures is not None:
        options += ["--expected-failures", str(expected_failures)]
    return _run("@modelcontextprotocol/conformance", "0.1.16 active", url, options)


def check_requirements(url: str, revision: str) -> Report:
    """What a revision of the protocol requires, by the alpha of 0.2.0.

    Raises:
        AssertionError: the suite itself has broken down.
    """
    title = f"0.2.0-alpha.12 {revision}"
    return _run("conformance-next", title, url, ["--requirements", revision])


def _run(package: str, title: str, url: str, options: Sequence[str]) -> Report:
    program = node_modules() / package / "dist" / "index.js"
    with tempfile.TemporaryDirectory() as folder:
        done = run_node(
            program,
            "server",
            "--url",
            url,
            *options,
            "--output-dir",
            folder,
            timeout_s=CONFORMANCE_PATIENCE_S,
        )
        scenarios = {each.name: each for each in map(_read, sorted(Path(folder).iterdir()))}
    # The summary is the suite's own word: a scenario that broke down before it wrote is in it too.
    counts = re.findall(r"^[✓✗] (\S+): (\d+) passed, (\d+) failed", done.stdout, re.MULTILINE)
    if not counts:
        raise AssertionError(f"no summary from {program}:\n{done.stdout}\n{done.stderr}")
    for name, passed, failed in counts:
        found = scenarios.setdefault(name, Scenario(name, passed=int(passed)))
        missing = int(failed) - len(found.failures)
        found.failures += ["failed without saying why"] * missing
    for name, why in re.findall(r"^  [✓✗] (\S+) \(([\w-]+)\)$", done.stdout, re.MULTILINE):
        scenarios[name].unscored = why
    return Report(title, scenarios)


def _read(folder: Path) -> Scenario:
    match = re.fullmatch(r"server-(.+)-\d{4}-\d\d-\d\dT[\dZ-]+", folder.name)
    assert match, f"conformance wrote {folder.name}, which is no scenario's name"
    found = Scenario(match.group(1))
    checks = folder / "checks.json"
    if not checks.exists():
        found.failures.append("broke down before it had written what it found")
        return found
    for check in json.loads(checks.read_text()):
        told = f"{check['id']}: {check.get('errorMessage') or check['description']}"
        if check["status"] == "SUCCESS":
            found.passed += 1
        elif check["status"] == "FAILURE":
            found.failures.append(told)
        elif check["status"] == "WARNING":
            found.warnings.append(told)
    return found


def main(url: str) -> int:
    """Print what both versions say about a server; the exit status is the gate's."""
    gate = check_active(url)
    print(gate)
    for revision in REVISIONS:
        print(check_requirements(url, revision))
    return 1 if gate.failing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
