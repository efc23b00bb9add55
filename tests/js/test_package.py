"""The npm package: what it says of itself, and its own tests, with the oldest React it promises."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import backstay
from backstay.widgets.build.toolchain import HOOKS, hooks_folder
from tests.js.toolchain import require_project

JS = Path(__file__).resolve().parents[2] / "js"
PACKAGE = json.loads((JS / "package.json").read_text(encoding="utf-8"))


def test_the_hooks_that_are_built_in_are_the_ones_of_this_repository() -> None:
    assert hooks_folder() == JS
    assert PACKAGE["name"] == HOOKS


def test_the_versions_of_both_packages_move_together() -> None:
    assert PACKAGE["version"] == backstay.__version__


def test_every_hook_is_typed() -> None:
    written = re.findall(r"^export function (\w+)", (JS / "index.js").read_text(), re.MULTILINE)
    typed = re.findall(r"^export function (\w+)", (JS / "index.d.ts").read_text(), re.MULTILINE)
    assert set(written) == set(typed)


def test_the_files_that_are_published_are_there() -> None:
    assert all((JS / name).is_file() for name in PACKAGE["files"])


def test_the_lock_names_no_place_on_the_network() -> None:
    lock = (JS / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in lock
    for name, package in json.loads(lock)["packages"].items():
        assert name == "" or package["integrity"].startswith("sha512-")


def test_its_own_tests_pass_with_the_oldest_react(tmp_path: Path) -> None:
    node, packages = require_project(JS)
    for name in ("index.js", "package.json"):
        shutil.copy(JS / name, tmp_path)
    shutil.copytree(JS / "test", tmp_path / "test")
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    done = subprocess.run(
        [node.program, "--test"],
        cwd=tmp_path,
        env=node.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
