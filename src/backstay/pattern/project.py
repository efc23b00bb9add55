"""What the files of a project say about it: its version, and what it is."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from backstay.errors import BadPattern

__all__ = ["description_of", "version_of"]

_LONGEST = 5000
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TITLE = re.compile(r"\A\s*(?:# [^\n]*\n|[^\n]+\n=+[ \t]*\n)")


def version_of(base_dir: Path) -> str | None:
    """The version of the project in a directory.

    From ``version.toml``, else from ``pyproject.toml``: a key ``version`` at the top, in
    ``[project]`` or in ``[tool.poetry]``; in ``version.toml`` in any other table of ``[tool]``, too.
    Where the build decides (``dynamic``, PEP 621), from the installed package.

    Args:
        base_dir: where the files are.

    Returns:
        ``None`` if none of them says.

    Raises:
        BadPattern: a file is no TOML, or what it says is no text.
    """
    found = _version_in(base_dir / "version.toml", any_tool=True)
    if found is not None:
        return found
    found = _version_in(base_dir / "pyproject.toml", any_tool=False)
    if found is not None:
        return found
    project = _table(_read(base_dir / "pyproject.toml"), "project")
    if "version" in project.get("dynamic", ()) and isinstance(project.get("name"), str):
        try:
            return version(project["name"])
        except PackageNotFoundError:
            return None
    return None


def _version_in(file: Path, *, any_tool: bool) -> str | None:
    content = _read(file)
    tool = _table(content, "tool")
    tools = list(tool) if any_tool else ["poetry"]
    for table in (content, _table(content, "project"), *(_table(tool, each) for each in tools)):
        found = table.get("version")
        if isinstance(found, str) and found.strip():
            return found.strip()
        if found is not None and not isinstance(found, dict):
            raise BadPattern(
                f'{file} says version = {found!r}, which is no text; write it in quotes: "1.10"'
            )
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadPattern(f"{file} is no TOML, so it cannot say the version: {error}") from error


def _table(content: dict[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def description_of(base_dir: Path) -> str | None:
    """What the project is: its ``README.md``, for the page of the API's documentation.

    Without its title, which the page has already, and comments; cut at the last paragraph that
    ends within 5000 characters.

    Args:
        base_dir: where the file is.

    Returns:
        ``None`` if there is no such file, or nothing in it.

    Raises:
        BadPattern: it is no UTF-8.
    """
    file = base_dir / "README.md"
    try:
        text = file.read_text("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise BadPattern(f"{file} is no UTF-8, so it cannot be shown: {error}") from error
    text = _TITLE.sub("", _COMMENT.sub("", text).lstrip()).strip()
    if len(text) > _LONGEST:
        whole = text[:_LONGEST].rpartition("\n\n")[0] or text[:_LONGEST]
        text = f"{whole.rstrip()}\n\n…"
    return text or None
