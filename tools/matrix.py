"""Run the tests against several FastAPI versions: ``make matrix``, or ``... matrix.py 0.128.0``.

Each version gets a virtual environment of its own under .venv-matrix/, with the Starlette that
it resolves to. What is not about FastAPI (typing, layout, the demo) is left to ``make test``.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ["0.128.0", "0.135.0", "0.150.0", "0.165.0"]
TESTS = ["tests/tasks", "tests/web", "tests/recipes", "tests/chaos", "tests/testing"]


def main(versions: list[str]) -> None:
    """Exit 1 if any version fails, all having been tried."""
    failed = [version for version in versions if not passes(version)]
    if failed:
        sys.exit(f"failed with FastAPI {', '.join(failed)}")
    print(f"passed with FastAPI {', '.join(versions)}")


def passes(version: str) -> bool:
    """Whether the tests pass with that FastAPI."""
    print(f"--- FastAPI {version}", flush=True)
    venv = ROOT / ".venv-matrix" / version
    python = venv / "bin" / "python"
    if not (venv / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, f"fastapi=={version}", "-e", f"{ROOT}[testing]", *groups["dev"]], check=True
        )
        (venv / ".ready").touch()
    tests = [test for test in TESTS if (ROOT / test).exists()]
    # Old versions warn about Pythons and libraries newer than they are; that is not ours to fail.
    options = ["-q", "-p", "no:cacheprovider", "-W", "default"]
    command = [python, "-m", "pytest", *options, *tests]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    main(sys.argv[1:] or VERSIONS)
