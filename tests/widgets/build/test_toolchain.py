"""Installing the packages that build: once, whole or not at all, and said if it cannot be done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backstay.errors import BadWidget
from backstay.widgets.build.node import Node
from backstay.widgets.build.toolchain import PROJECT, cache_folder, install_project

NPM = """
import pathlib, sys
here = pathlib.Path.cwd()
(here / "node_modules").mkdir()
(here / "node_modules" / "told.txt").write_text(" ".join(sys.argv[1:]))
"""


def fake(folder: Path, script: str = NPM) -> Node:
    """A Node that is Python, with an npm that is a script of ours."""
    import sys

    npm = folder / "npm-cli.py"
    npm.write_text(script)
    return Node(Path(sys.executable), npm, (24, 0, 0))


def test_packages_are_installed_by_the_lock_without_their_scripts(tmp_path: Path) -> None:
    made = install_project(fake(tmp_path), cache=tmp_path / "cache")
    told = (made / "node_modules" / "told.txt").read_text()
    assert told.startswith("ci --ignore-scripts")
    assert (made / "package-lock.json").read_bytes() == (PROJECT / "package-lock.json").read_bytes()


def test_what_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    first = install_project(fake(tmp_path), cache=tmp_path / "cache")
    again = install_project(fake(tmp_path, "raise SystemExit(3)"), cache=tmp_path / "cache")
    assert first == again
    assert [each.name for each in (tmp_path / "cache").iterdir()] == [first.name]


def test_another_lock_has_another_place(tmp_path: Path) -> None:
    project = tmp_path / "other"
    project.mkdir()
    (project / "package.json").write_text("{}")
    places = set()
    for version in (1, 2):
        (project / "package-lock.json").write_text(json.dumps({"version": version}))
        places.add(install_project(fake(tmp_path), project, cache=tmp_path / "cache"))
    assert len(places) == 2


def test_a_failed_install_leaves_nothing_and_says_what_npm_said(tmp_path: Path) -> None:
    failing = fake(tmp_path, 'print("npm error network unreachable"); raise SystemExit(1)')
    with pytest.raises(BadWidget, match="npm error network unreachable"):
        install_project(failing, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadWidget, match="BACKSTAY_CACHE names another folder"):
        install_project(fake(tmp_path), cache=tmp_path / "file" / "cache")


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTAY_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("BACKSTAY_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "backstay"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "backstay"


def test_the_lock_pins_all_with_hashes_and_names_no_place_on_the_network() -> None:
    lock = (PROJECT / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in lock
    for name, package in json.loads(lock)["packages"].items():
        assert name == "" or package["integrity"].startswith("sha512-")
    pinned = json.loads((PROJECT / "package.json").read_text())["dependencies"]
    assert all(version[0].isdecimal() for version in pinned.values())
