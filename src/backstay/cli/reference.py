"""``shop.app:app``: an application named on a command line."""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from pathlib import Path

from starlette.applications import Starlette

from backstay.cli.refusal import Refusal

__all__ = ["import_app", "is_reference"]

_NAME = r"[^\W\d]\w*"
_REFERENCE = re.compile(rf"({_NAME}(?:\.{_NAME})*):({_NAME}(?:\.{_NAME})*)(\(\))?")


def is_reference(text: str) -> bool:
    """Whether it has the form ``module.name:attribute``, perhaps with ``()`` behind it."""
    return _REFERENCE.fullmatch(text) is not None


def import_app(reference: str) -> Starlette:
    """The FastAPI app that a reference names, imported as uvicorn does: from here first.

    Args:
        reference: ``package.module:app``, or ``package.module:create_app()`` to call it.

    Raises:
        Refusal: there is no such module or attribute, importing it failed, or it is no app.
    """
    parts = _REFERENCE.fullmatch(reference)
    if parts is None:
        raise Refusal(
            f"{reference!r} is no reference to an app",
            hint='write "package.module:app", such as shop.app:app',
        )
    module_name, attribute, call = parts.groups()
    here = os.getcwd()  # as text, which sys.path holds
    if here not in sys.path:
        sys.path.insert(0, here)
    found: object = _import(module_name)
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise Refusal(
                f"the module {module_name!r} has no attribute {attribute!r}",
                hint=_likely_apps(module_name),
            ) from None
    if call:
        found = _call(reference, found)
    if not isinstance(found, Starlette):
        hint = f'to call it, write "{reference}()"' if callable(found) and not call else None
        raise Refusal(
            f"{reference} is no FastAPI app but {_an(type(found).__qualname__)}", hint=hint
        )
    return found


def _import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and (
            name == missing.name or name.startswith(missing.name + ".")
        ):
            raise Refusal(
                f"there is no module {missing.name!r}",
                hint=f"it was looked for in {os.getcwd()} first, then where Python finds modules",
            ) from None
        raise _failed(f"importing {name}", missing) from missing
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit, of a script without a main guard
        raise _failed(f"importing {name}", error) from error


def _call(reference: str, factory: object) -> object:
    if not callable(factory):
        raise Refusal(f"{reference} cannot be called: it is {_an(type(factory).__qualname__)}")
    try:
        made: object = factory()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _failed(f"calling {reference}", error) from error
    return made


def _failed(doing: str, error: BaseException) -> Refusal:
    """One line that says what their code raised and where."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [
        each
        for each in frames
        if not each.filename.startswith("<")
        and Path(each.filename) != Path(__file__)
        and "importlib" not in each.filename
    ]
    where = f" at {theirs[-1].filename}:{theirs[-1].lineno}" if theirs else ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f" at {error.filename}:{error.lineno}"
    said = str(error).strip().splitlines()
    what = type(error).__qualname__ + (f": {said[0]}" if said else "")
    return Refusal(f"{doing} raised {what}{where}", hint="--verbose shows the whole traceback")


def _likely_apps(module_name: str) -> str | None:
    names = [
        name
        for name, value in vars(sys.modules[module_name]).items()
        if isinstance(value, Starlette)
    ]
    return f"the apps in it: {', '.join(names)}" if names else None


def _an(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
