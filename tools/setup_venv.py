"""Make the virtual environment: ``python3 tools/setup_venv.py .venv``.

Runs on the bare interpreter of the machine, so it uses the standard library only and says in
plain words what is missing.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(folder: str) -> None:
    """Create the environment, install the locked packages and this project into it."""
    if sys.version_info < (3, 11):  # noqa: UP036  # this file runs on whatever python3 is
        sys.exit(
            f"backstay needs Python 3.11 or newer; {sys.executable} is "
            f"{sys.version.split()[0]}. Choose another: make PYTHON=python3.12 test"
        )
    venv = Path(folder)
    python = venv / "bin" / "python"
    if not works(python):
        shutil.rmtree(venv, ignore_errors=True)
        create(venv)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--require-hashes", "--no-deps", "-r", str(ROOT / "requirements.lock")])
    run([*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def works(python: Path) -> bool:
    """Whether a usable environment is there already."""
    return python.exists() and (
        subprocess.run(
            [python, "-m", "pip", "--version"], capture_output=True, check=False
        ).returncode
        == 0
    )


def create(venv: Path) -> None:
    """``python -m venv``, with Debian's separate package for it installed if that is what lacks."""
    command = [sys.executable, "-m", "venv", str(venv)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    shutil.rmtree(venv, ignore_errors=True)
    package = f"python3.{sys.version_info.minor}-venv"
    if shutil.which("apt-get"):
        print(f"python3 has no working venv module; installing Debian's {package}", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", package], check=False)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    sys.exit(
        f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}\n"
        f"Install {package} (Debian: apt-get install {package}) or choose another interpreter: "
        "make PYTHON=/path/to/python3.12 test"
    )


def run(command: list[str]) -> None:
    """Run one step; end with its own message if it fails."""
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(f"setting up failed (exit {code}) at: {' '.join(command)}")


if __name__ == "__main__":
    main(sys.argv[1])
