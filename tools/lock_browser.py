"""Write the lock files of tests/browser and of the npm packages: ``make lock``.

uv and npm resolve. What names a place on the network is taken out of npm's lock, so that it holds
wherever packages come from; versions and integrity hashes stay, and ``npm ci`` goes by them.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "browser"
PACKAGES = [FOLDER, ROOT / "js", ROOT / "src" / "backstay" / "widgets" / "build" / "project"]
PLACES = {"resolved", "funding"}
SHARED = ["greenlet"]
"""What Playwright needs and the main lock pins already."""


def main() -> None:
    """Every one of them."""
    lock_python(FOLDER / "requirements.in", FOLDER / "requirements.lock")
    for folder in PACKAGES:
        lock_npm(folder)


def lock_python(wanted: Path, target: Path) -> None:
    """Pin Playwright, for every supported Python and platform, with hashes."""
    with tempfile.TemporaryDirectory() as folder:
        venv = Path(folder)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "-q", "uv"], check=True)
        options = ["--universal", "--generate-hashes", "--no-annotate", "--no-header", "--quiet"]
        options += ["--no-emit-index-url", "--python-version", "3.11", "--upgrade"]
        for name in SHARED:
            options += ["--no-emit-package", name]
        pins = ROOT / "requirements.lock"
        subprocess.run(
            [venv / "bin" / "uv", "pip", "compile", *options, "-c", pins, "-o", target, wanted],
            check=True,
        )


def lock_npm(folder: Path) -> None:
    """Resolve package.json anew, and take the places out."""
    npm = Path(sys.executable).parent / "npm"
    options = ["--package-lock-only", "--ignore-scripts", "--no-fund", "--no-audit"]
    # Elsewhere: from packages that are installed already npm would take no integrity hashes.
    with tempfile.TemporaryDirectory() as elsewhere:
        shutil.copy(folder / "package.json", elsewhere)
        shutil.copy(FOLDER / ".npmrc", elsewhere)
        subprocess.run([npm, "install", *options], cwd=elsewhere, check=True)
        lock = without_places(json.loads((Path(elsewhere) / "package-lock.json").read_text()))
    text = json.dumps(lock, indent=2) + "\n"
    if "://" in text:
        place = next(line.strip() for line in text.splitlines() if "://" in line)
        sys.exit(f"npm's lock still names a place on the network: {place}")
    for name, package in lock["packages"].items():
        if name and "integrity" not in package:
            sys.exit(f"npm's lock has no integrity hash for {name}")
    (folder / "package-lock.json").write_text(text)


def without_places(value: Any) -> Any:
    """The same lock without the keys that say where something lies or who is paid for it."""
    if isinstance(value, dict):
        return {key: without_places(each) for key, each in value.items() if key not in PLACES}
    if isinstance(value, list):
        return [without_places(each) for each in value]
    return value


if __name__ == "__main__":
    main()
