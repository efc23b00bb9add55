"""The house as the README and the packaging describe it is the house that stands."""

import os
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "backstay"
FILES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))

# Files without a test file of their own, and where they are tested.
ELSEWHERE = {
    "__init__.py": "test_public_names.py",
    "__main__.py": "cli/test_program.py",
    "cli/__init__.py": "cli/test_program.py",
    "auth/__init__.py": "test_public_names.py",
    "auth/port.py": "auth/test_conformance.py",  # a Protocol; both stores are behind it there
    "cache/__init__.py": "test_public_names.py",
    "db/__init__.py": "test_public_names.py",
    "db/autogenerate.py": "db/test_alembic_env.py",  # hooks, seen at work by Alembic itself
    "events/__init__.py": "test_public_names.py",
    "integration/__init__.py": "test_public_names.py",
    "integration/http/__init__.py": "test_public_names.py",
    "integration/http/auth/__init__.py": "test_public_names.py",
    "integration/http/caching/__init__.py": "test_public_names.py",
    "integration/http/files/__init__.py": "test_public_names.py",
    "integration/http/paging/__init__.py": "test_public_names.py",
    "integration/http/stand_in.py": "testing/integrations/test_patch.py",  # a Protocol
    "integration/page/__init__.py": "test_public_names.py",
    "integration/sample_models/__init__.py": "test_public_names.py",
    "integration/stability/__init__.py": "test_public_names.py",
    "integration/stability/shared/__init__.py": "test_public_names.py",
    "jobs/__init__.py": "test_public_names.py",
    "ledger/__init__.py": "test_public_names.py",
    "limits/__init__.py": "test_public_names.py",
    "pattern/__init__.py": "test_public_names.py",
    "state/__init__.py": "test_public_names.py",
    "tasks/__init__.py": "test_public_names.py",
    "telemetry/__init__.py": "test_public_names.py",
    "testing/__init__.py": "test_public_names.py",
    "testing/integrations/__init__.py": "test_public_names.py",
    "testing/ledger_conformance/__init__.py": "testing/test_ledger_conformance.py",
    "viewset/__init__.py": "test_public_names.py",
    "viewset/changes.py": "viewset/test_updating.py",  # one change of one item, by its verbs
    "viewset/declaration.py": "viewset/test_generic.py",  # what view sets' classes say
    "viewset/full.py": "viewset/test_generic.py",  # the five verbs together
    "web/__init__.py": "test_public_names.py",
    "widgets/__init__.py": "test_public_names.py",
    "widgets/background/__init__.py": "test_public_names.py",
    "widgets/build/__init__.py": "test_public_names.py",
    "widgets/dev/__init__.py": "test_public_names.py",
    "widgets/office.py": "widgets/test_endpoint.py",  # a Protocol; a server is behind it there
    "widgets/face/__init__.py": "test_public_names.py",
    "web/users.py": "web/test_dependencies.py",  # a Protocol; verifiers are put behind it there
}


@pytest.mark.parametrize("source", FILES, ids=str)
def test_every_source_file_has_a_test_file_in_the_same_place(source: Path) -> None:
    mirror = ELSEWHERE.get(source.as_posix(), source.parent / f"test_{source.name}")
    assert (ROOT / "tests" / mirror).is_file()


def test_the_list_of_exceptions_is_not_longer_than_needed() -> None:
    for source in map(Path, ELSEWHERE):
        assert source in FILES
        assert not (ROOT / "tests" / source.parent / f"test_{source.name}").exists()


def make_targets() -> set[str]:
    return set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_ci_runs_the_tests_and_the_linters() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert {"make lint", "make test"} <= set(script.read_text().splitlines())


def test_the_makefile_has_every_target_that_the_readme_names() -> None:
    named = set(re.findall(r"\bmake (\w+)", (ROOT / "README.md").read_text()))
    assert {"test", "demo"} <= named, "the first two commands a reader needs"
    assert named <= make_targets()


def test_the_makefile_has_the_targets_people_expect() -> None:
    assert {"test", "demo", "lint", "bench"} <= make_targets()


@pytest.mark.parametrize(
    "lock",
    ["requirements.lock", "requirements-bench.lock", "tests/browser/requirements.lock"],
)
def test_locks_name_no_index_and_pin_everything_with_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index-url" not in text
    for requirement in re.findall(r"^[a-z0-9].*?(?:(?<!\\)\n|\Z)", text, re.MULTILINE | re.DOTALL):
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


def test_every_locked_package_is_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["testing"],
        *project["dependency-groups"]["dev"],
    ]
    names = {re.split(r"[\[<>=!~; ]", each)[0].lower() for each in wanted}
    locked = set(
        re.findall(r"^([a-z0-9._-]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    )
    assert names <= locked


def test_type_checkers_of_users_are_told_that_the_package_is_typed() -> None:
    assert (SOURCE / "py.typed").is_file()
