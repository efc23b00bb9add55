"""What importing a door loads, and what it says when a package is not there."""

import subprocess
import sys
import textwrap

import pytest

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def run_python(code: str, *, blocked: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh interpreter where importing what is ``blocked`` fails."""
    program = BLOCKED.format(blocked=blocked) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def loaded_by(statement: str) -> set[str]:
    """The top-level names of the modules that a statement loads in a fresh interpreter."""
    done = run_python(
        f"""
        before = set(sys.modules)
        {statement}
        print(*(set(sys.modules) - before))
        """
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_backstay_loads_the_standard_library_only() -> None:
    loaded = loaded_by("import backstay")
    assert "backstay" in loaded
    assert loaded - sys.stdlib_module_names == {"backstay"}


def test_importing_backstay_opens_no_door() -> None:
    done = run_python(
        """
        import backstay
        print(*sorted(name for name in sys.modules if name.startswith("backstay.")))
        """
    )
    assert done.stdout.split() == [
        "backstay.app",
        "backstay.clock",
        "backstay.context",
        "backstay.errors",
        "backstay.log",
        "backstay.observation",
        "backstay.part",
        "backstay.settings",
    ]


def test_catching_an_error_opens_no_door() -> None:
    assert loaded_by("import backstay.errors") - sys.stdlib_module_names == {"backstay"}


@pytest.mark.parametrize("door", ["backstay.tasks", "backstay.web"])
def test_the_doors_of_a_service_need_no_extra(door: str) -> None:
    done = run_python(f"import {door}", blocked=("httpx", "httpx2", "pydantic_settings", "pytest"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("door", ["backstay.tasks", "backstay.web"])
def test_the_doors_of_a_service_know_nothing_of_tests(door: str) -> None:
    done = run_python(f"import {door}\nprint('backstay.testing' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_the_door_for_tests_names_its_extra_when_that_is_missing() -> None:
    done = run_python(
        """
        from backstay.errors import MissingExtra
        try:
            import backstay.testing
        except MissingExtra as error:
            print(error.name, error)
        """,
        blocked=("httpx",),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("httpx ")
    assert 'pip install "backstay[testing]"' in done.stdout


def test_a_missing_extra_ends_a_program_with_the_command_that_helps() -> None:
    done = run_python("import backstay.testing", blocked=("httpx",))
    assert done.returncode == 1
    assert 'pip install "backstay[testing]"' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("package", "blocked"), [("mcp", "mcp"), ("mcp_types", "mcp_types")])
def test_the_server_for_widgets_names_its_extra_when_that_is_missing(
    package: str, blocked: str
) -> None:
    done = run_python(
        """
        from backstay.errors import MissingExtra
        import backstay.widgets
        try:
            backstay.widgets.WidgetMCPServer
        except MissingExtra as error:
            print(error)
        """,
        blocked=(blocked,),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith('pip install "backstay[widgets]"'), package


def test_writing_widgets_does_not_load_what_serves_them() -> None:
    loaded = loaded_by("from backstay.widgets import BaseWidget, WidgetContext, auth_required")
    assert "pydantic" in loaded
    assert loaded.isdisjoint({"mcp", "mcp_types", "joserfc", "httpx2", "jsonschema", "puremagic"})


def test_an_unknown_name_behind_the_door_of_widgets_is_an_attribute_error() -> None:
    done = run_python(
        """
        import backstay.widgets
        assert "WidgetMCPServer" in dir(backstay.widgets)
        try:
            backstay.widgets.WidgetServer
        except AttributeError as error:
            print(error)
        """
    )
    assert done.stdout.strip() == "module 'backstay.widgets' has no attribute 'WidgetServer'"


@pytest.mark.parametrize("door", ["backstay.auth", "backstay.state"])
def test_the_doors_of_auth_and_state_load_no_driver(door: str) -> None:
    loaded = loaded_by(f"import {door}")
    assert loaded.isdisjoint({"joserfc", "httpx2", "redis", "psycopg", "asyncpg", "mcp"})
