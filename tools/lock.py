"""Write requirements.lock and requirements-bench.lock: ``make lock``.

Pins what pyproject.toml allows, for every supported Python and platform, with hashes. The files
name no package index, so that they hold wherever packages come from.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = [
    "--universal",
    "--generate-hashes",
    "--no-annotate",
    "--no-header",
    "--no-emit-index-url",
    "--python-version",
    "3.11",
    "--quiet",
    "--upgrade",
]


def main() -> None:
    """Resolve with uv, which pip has no equal of for several platforms at once."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *(
            each
            for extra, needed in project["project"]["optional-dependencies"].items()
            if extra != "all"
            for each in needed
        ),
        *project["dependency-groups"]["dev"],
        *project["build-system"]["requires"],
        "editables",  # hatchling needs it for an editable install without build isolation
    ]
    with tempfile.TemporaryDirectory() as folder:
        uv_venv = Path(folder) / "uv"
        subprocess.run([sys.executable, "-m", "venv", uv_venv], check=True)
        subprocess.run([uv_venv / "bin" / "pip", "install", "-q", "uv"], check=True)
        uv = uv_venv / "bin" / "uv"
        lock(uv, wanted, ROOT / "requirements.lock")
        lock(
            uv, project["dependency-groups"]["bench"], ROOT / "requirements-bench.lock", "--no-deps"
        )


def lock(uv: Path, wanted: list[str], target: Path, *more: str) -> None:
    """One lock file."""
    subprocess.run(
        [uv, "pip", "compile", *OPTIONS, *more, "-o", str(target), "-"],
        input="\n".join(wanted),
        text=True,
        check=True,
    )


if __name__ == "__main__":
    main()
