"""The error tree: complete, drawn as it is, and each message of use to who reads it."""

import builtins
import inspect
import re
from typing import Any

import pytest

import backstay
from backstay import errors
from backstay.errors import BackstayError, MissingExtra, SettingMissing

CLASSES: list[type[BackstayError]] = [getattr(errors, name) for name in errors.__all__]


def drawn_tree() -> dict[str, tuple[str, str | None]]:
    """Each class of the drawing with the class it hangs below and the one in its brackets."""
    tree: dict[str, tuple[str, str | None]] = {}
    above = ["BackstayError"]
    for line in (errors.__doc__ or "").splitlines():
        drawn = re.fullmatch(r" {4}((?:│   |    )*)[├└]── (\w+).*?(?:\((\w+)\))?", line)
        if drawn:
            depth = len(drawn[1]) // 4 + 1
            del above[depth:]
            tree[drawn[2]] = (above[-1], drawn[3])
            above.append(drawn[2])
    return tree


def test_all_names_every_class_of_the_module_in_order() -> None:
    defined = [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    assert errors.__all__ == sorted(defined)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_is_a_backstay_error(cls: type[BackstayError]) -> None:
    assert issubclass(cls, BackstayError)


def test_the_drawing_shows_every_class_where_it_hangs() -> None:
    really = {
        cls.__name__: (
            cls.__bases__[0].__name__,
            cls.__bases__[1].__name__ if cls.__bases__[1:] else None,
        )
        for cls in CLASSES
        if cls is not BackstayError
    }
    assert drawn_tree() == really


def test_second_bases_are_what_the_standard_library_calls_it() -> None:
    for _, second in drawn_tree().values():
        assert second is None or issubclass(getattr(builtins, second), Exception)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_says_what_it_means(cls: type[BackstayError]) -> None:
    assert "__doc__" in vars(cls)
    assert inspect.getdoc(cls)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_can_be_answered(cls: type[BackstayError]) -> None:
    assert 400 <= cls.status <= 599
    assert cls.title
    assert cls.public_detail
    assert cls.retry_after_s is None or cls.retry_after_s > 0


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls.status == 503])
def test_a_503_says_when_to_come_back(cls: type[BackstayError]) -> None:
    assert cls.retry_after_s is not None


def test_a_missing_extra_is_an_import_error_that_names_the_extra() -> None:
    error = MissingExtra("testing", "httpx")
    assert isinstance(error, ImportError)
    assert error.name == "httpx"
    assert 'pip install "backstay[testing]"' in str(error)
    assert "httpx" in str(error)


def test_a_missing_setting_is_a_key_error_that_reads_as_a_sentence() -> None:
    error: Any = SettingMissing("the setting 'X' has no value")
    assert isinstance(error, KeyError)
    assert str(error) == "the setting 'X' has no value"
    assert str(SettingMissing()) == ""


def test_the_root_of_the_tree_is_a_name_of_the_package() -> None:
    assert backstay.BackstayError is BackstayError
