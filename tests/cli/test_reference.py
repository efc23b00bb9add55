"""``shop.app:app``: an application named on a command line."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from backstay.cli.reference import import_app, is_reference
from backstay.cli.refusal import Refusal


@pytest.fixture(autouse=True)
def _clean_imports() -> Iterator[None]:
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("ref_"):
            del sys.modules[name]


def module(here: Path, name: str, code: str) -> None:
    (here / f"{name}.py").write_text(code)


@pytest.mark.parametrize(
    "text", ["shop:app", "shop.app:app", "a.b.c:x.y", "shop:make()", "größe:app"]
)
def test_references_are_recognised(text: str) -> None:
    assert is_reference(text)


@pytest.mark.parametrize(
    "text", ["shop.db", "shop", ":app", "shop:", "C:\\shop.db", "a b:app", "x:f(1)"]
)
def test_other_texts_are_no_references(text: str) -> None:
    assert not is_reference(text)
    with pytest.raises(Refusal, match="no reference to an app"):
        import_app(text)


def test_an_app_is_found_in_the_current_directory(here: Path) -> None:
    module(here, "ref_plain", "from fastapi import FastAPI\napp = FastAPI(title='found')")
    app = import_app("ref_plain:app")
    assert isinstance(app, FastAPI)
    assert app.title == "found"


def test_a_factory_is_called_when_written_with_parentheses(here: Path) -> None:
    module(
        here, "ref_factory", "from fastapi import FastAPI\ndef make(): return FastAPI(title='made')"
    )
    app = import_app("ref_factory:make()")
    assert isinstance(app, FastAPI)
    assert app.title == "made"


def test_a_factory_without_parentheses_is_told_about_them(here: Path) -> None:
    module(here, "ref_factory2", "def make(): ...")
    with pytest.raises(Refusal, match="is no FastAPI app but a function") as caught:
        import_app("ref_factory2:make")
    assert caught.value.hint == 'to call it, write "ref_factory2:make()"'


def test_a_missing_module_is_named_with_where_it_was_looked_for(here: Path) -> None:
    with pytest.raises(Refusal, match="there is no module 'ref_nowhere'") as caught:
        import_app("ref_nowhere.app:app")
    assert str(here) in str(caught.value.hint)


def test_a_missing_attribute_is_named_with_the_apps_there_are(here: Path) -> None:
    module(here, "ref_named", "from fastapi import FastAPI\napplication = FastAPI()")
    with pytest.raises(Refusal, match="has no attribute 'app'") as caught:
        import_app("ref_named:app")
    assert caught.value.hint == "the apps in it: application"


def test_a_module_that_fails_is_one_line_with_its_place(here: Path) -> None:
    module(here, "ref_failing", "x = 1\nraise KeyError('DATABASE_URL')")
    with pytest.raises(Refusal, match=r"raised KeyError: 'DATABASE_URL' at .*ref_failing.py:2"):
        import_app("ref_failing:app")


def test_a_module_that_misses_another_says_which_one(here: Path) -> None:
    module(here, "ref_misses", "import ref_not_installed")
    with pytest.raises(Refusal, match="raised ModuleNotFoundError: No module named 'ref_not_inst"):
        import_app("ref_misses:app")


def test_a_module_that_does_not_parse_says_where(here: Path) -> None:
    module(here, "ref_broken", "x = 1\ndef (:\n")
    with pytest.raises(Refusal, match=r"SyntaxError: .* at .*ref_broken.py:2"):
        import_app("ref_broken:app")


def test_a_script_that_exits_when_imported_does_not_end_the_command(here: Path) -> None:
    module(here, "ref_script", "import sys\nsys.exit(3)")
    with pytest.raises(Refusal, match="raised SystemExit: 3"):
        import_app("ref_script:app")


def test_a_factory_that_fails_is_one_line(here: Path) -> None:
    module(here, "ref_bad_factory", "def make(): raise ValueError('no such tenant')")
    with pytest.raises(Refusal, match="raised ValueError: no such tenant"):
        import_app("ref_bad_factory:make()")


def test_what_is_no_factory_is_not_called(here: Path) -> None:
    module(here, "ref_number", "app = 3")
    with pytest.raises(Refusal, match="cannot be called: it is an int"):
        import_app("ref_number:app()")
