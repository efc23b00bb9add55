"""Finding widgets in packages, modules, classes and instances."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BadWidget
from backstay.widgets import BaseWidget
from backstay.widgets.discovery import find_widgets

WIDGET = """
from backstay.widgets import BaseWidget

class {name}(BaseWidget):
    identifier = "{name}"
    title = "{name}"
    async def execute(self, inputs, ctx): ...
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with widgets at several depths."""
    name = f"discovered_{tmp_path.name.replace('-', '_')}"
    files = {
        "__init__.py": f"from {name}.bees import Bee\n",
        "bees.py": WIDGET.format(name="Bee") + "\nAlias = Bee\n\nclass Abstract(BaseWidget): ...\n",
        "ants.py": WIDGET.format(name="Ant") + f"from {name}.bees import Bee\n",
        "deep/__init__.py": "",
        "deep/worms.py": WIDGET.format(name="Worm"),
        "_private.py": "raise RuntimeError('imported')\n",
        "_hidden/__init__.py": "",
        "_hidden/moles.py": WIDGET.format(name="Mole"),
    }
    for path, text in files.items():
        (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / path).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield name
    for loaded in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[loaded]


def names(found: list[BaseWidget]) -> list[str]:
    return [each.identifier for each in found]


def test_a_package_gives_every_widget_written_in_it_once_and_private_modules_none(
    package: str,
) -> None:
    assert names(find_widgets(package)) == ["Ant", "Bee", "Worm"]
    assert names(find_widgets(sys.modules[package])) == ["Ant", "Bee", "Worm"]


def test_a_module_gives_its_own(package: str) -> None:
    assert names(find_widgets(f"{package}.ants")) == ["Ant"]
    assert names(find_widgets([f"{package}.deep", f"{package}.bees"])) == ["Worm", "Bee"]


def test_a_package_without_widgets_says_what_it_looked_for() -> None:
    with pytest.raises(
        BadWidget, match=r"no widgets in 'tests\.support': classes below BaseWidget"
    ):
        find_widgets("tests.support")


def test_a_package_that_is_not_there_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="no_such_package"):
        find_widgets("no_such_package.widgets")


class Simple(BaseWidget):
    identifier = "simple"
    title = "Simple"


class Needing(BaseWidget):
    identifier = "needing"
    title = "Needing"

    def __init__(self, price: int) -> None:
        self.price = price


def test_classes_and_instances_are_taken_alone_or_several() -> None:
    needing = Needing(3)
    assert find_widgets(needing) == [needing]
    assert [type(each) for each in find_widgets((Simple, [needing, Simple]))] == [
        Simple,
        Needing,
        Simple,
    ]
    assert find_widgets(()) == []


def test_a_class_that_needs_arguments_says_so() -> None:
    with pytest.raises(
        BadWidget, match=r"Needing cannot be made without arguments.*pass an instance"
    ):
        find_widgets(Needing)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (int, r"<class 'int'> is no widget; write a class below BaseWidget"),
        (3, r"takes classes, instances or the name of a package; got 3"),
        ([None], r"got None"),
    ],
)
def test_what_is_no_widget_is_refused(given: Any, told: str) -> None:
    with pytest.raises(BadWidget, match=told):
        find_widgets(given)
