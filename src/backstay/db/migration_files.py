"""The files that a project's migrations begin with: ``alembic.ini``, ``env.py``, ``script.py.mako``."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["FILE_TEMPLATE", "write_files"]

FILE_TEMPLATE = "%%(year)d_%%(month).2d_%%(day).2d_%%(hour).2d%%(minute).2d-%%(rev)s_%%(slug)s"
"""Names of revisions' files, which sort by date."""

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_REFERENCE = re.compile(rf"({_NAME}):({_NAME})(\(\))?")

_INI = f"""\
# Alembic's configuration. The database is the manager's, see env.py: no URL is written here.

[alembic]
script_location = %(here)s/@FOLDER@
file_template = {FILE_TEMPLATE}
prepend_sys_path = .
path_separator = os

# For the command "alembic"; "backstay db" has an output of its own.
[loggers]
keys = root,sqlalchemy,alembic

[handlers]
keys = console

[formatters]
keys = generic

[logger_root]
level = WARNING
handlers = console
qualname =

[logger_sqlalchemy]
level = WARNING
handlers =
qualname = sqlalchemy.engine

[logger_alembic]
level = INFO
handlers =
qualname = alembic

[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = generic

[formatter_generic]
format = %(levelname)-5.5s [%(name)s] %(message)s
datefmt = %H:%M:%S
"""

_ENV = '''\
"""What the commands "alembic" and "backstay db" run."""

@IMPORTS@

AlembicEnv(@MANAGER@).run()
'''

_NO_MODELS = """\
# Import the modules that have models, or they are not known here:
# import app.models"""

_SCRIPT = '''\
"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision: str = ${repr(up_revision)}
down_revision: str | Sequence[str] | None = ${repr(down_revision)}
branch_labels: str | Sequence[str] | None = ${repr(branch_labels)}
depends_on: str | Sequence[str] | None = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
'''


def write_files(
    manager: str,
    folder: str | Path = "alembic",
    *,
    config: str | Path = "alembic.ini",
    models: str | None = None,
    replace: bool = False,
) -> list[Path]:
    """Write them, and the empty folder ``versions``.

    Args:
        manager: where the ``MainDatabaseManager`` is: ``app.core.db:DatabaseManager``, or
            ``app.core.db:new_manager()`` to call it. Nothing is imported now.
        folder: of the migrations.
        config: Alembic's configuration.
        models: the module of the models. ``None``: a comment says where it is to be imported.
        replace: whether files that are there already are written anew. Revisions stay.

    Returns:
        The three files.

    Raises:
        ValueError: ``manager`` or ``models`` is not written like that, or the folder is on
            another drive than the configuration.
        FileExistsError: one of the files is there, and nothing was written.
    """
    parts = _REFERENCE.fullmatch(manager)
    if parts is None:
        raise ValueError(
            f'{manager!r} is no reference to a manager; write "package.module:name", such as '
            "app.core.db:DatabaseManager"
        )
    if models is not None and not re.fullmatch(_NAME, models):
        raise ValueError(f"{models!r} is no module; write it as in an import, such as app.models")
    config, folder = Path(config), Path(folder)
    inside = Path(os.path.relpath(folder, config.parent)).as_posix().replace("%", "%%")
    texts = {
        config: _INI.replace("@FOLDER@", inside),
        folder / "env.py": _env(*parts.groups(), models=models),
        folder / "script.py.mako": _SCRIPT,
    }
    there = [str(each) for each in texts if each.exists()]
    if there and not replace:
        raise FileExistsError(
            f"there {'are' if len(there) > 1 else 'is'} {', '.join(there)} already"
        )
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    config.parent.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        file.write_text(text, encoding="utf-8")
    return list(texts)


def _env(module: str, name: str, call: str | None, *, models: str | None) -> str:
    first = name.partition(".")[0]
    ours = ["from backstay.db import AlembicEnv"]
    theirs = [f"from {module} import {first}"]
    if models is not None:
        theirs.append(f"from {models} import *  # noqa: F403  # whose tables are tracked")
    imports = "\n".join([*sorted(theirs), "", *ours])
    if models is None:
        imports += f"\n\n{_NO_MODELS}"
    return _ENV.replace("@IMPORTS@", imports).replace("@MANAGER@", name + (call or ""))
