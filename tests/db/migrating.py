"""A project with migrations: what ``alembic init`` makes, and an ``env.py`` for a manager."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from backstay.db import MainDatabaseManager

__all__ = ["FILE_TEMPLATE", "Migrations", "alembic_program", "tables_of"]

FILE_TEMPLATE = "%%(year)d_%%(month).2d_%%(day).2d_%%(hour).2d%%(minute).2d-%%(rev)s_%%(slug)s"
_ENV = """
from alembic import context
from backstay.db.alembic_env import AlembicEnv

found = context.config.attributes
AlembicEnv(found["manager"], **found["options"]).run()
"""
_REVISION = '''
"""{slug}"""
import sqlalchemy as sa
from alembic import op

revision = "{name}"
down_revision = {down!r}


def upgrade():
    {upgrade}


def downgrade():
    {downgrade}
'''


class Migrations:
    """Alembic's commands, run in this process.

    Args:
        folder: where they are made; may have them already.
        database: of a new manager, or one.
        options: of ``AlembicEnv``.
    """

    def __init__(
        self, folder: Path, database: str | MainDatabaseManager, base: Any = None, **options: Any
    ) -> None:
        if isinstance(database, str):
            database = MainDatabaseManager(database, base=base, DEV_STATUS=True)
        self.manager = database
        self.folder = folder / "alembic"
        self._ini = folder / "alembic.ini"
        self._options = options
        self._written: list[str] = []
        if not self._ini.exists():
            with open(os.devnull, "w") as nowhere:
                command.init(Config(str(self._ini), stdout=nowhere), str(self.folder))
            (self.folder / "env.py").write_text(_ENV)

    @property
    def config(self) -> Config:
        found = Config(str(self._ini), attributes={})
        found.attributes.update(manager=self.manager, options=self._options)
        return found

    def write(self, upgrade: str, downgrade: str = "pass") -> str:
        """A revision by hand, after those written before."""
        name = f"r{len(self._written) + 1}"
        down = self._written[-1] if self._written else None
        self._written.append(name)
        text = _REVISION.format(
            slug=name, name=name, down=down, upgrade=upgrade, downgrade=downgrade
        )
        (self.folder / "versions" / f"{name}.py").write_text(text)
        return name

    def revise(self, message: str = "models") -> str | None:
        """Generate one: its text, ``None`` if none was written."""
        config = self.config
        config.attributes["skip_empty_revisions"] = True
        made: Any = command.revision(config, message, autogenerate=True)
        return Path(made.path).read_text() if made else None

    def upgrade(self, to: str = "head") -> None:
        command.upgrade(self.config, to)

    def downgrade(self, to: str = "-1") -> None:
        command.downgrade(self.config, to)

    def check(self) -> None:
        command.check(self.config)

    def execute(self, *statements: str) -> None:
        with self.manager.engine.begin() as connection:
            for each in statements:
                connection.execute(sa.text(each))

    def scalars(self, statement: str) -> list[Any]:
        with self.manager.engine.connect() as connection:
            return list(connection.scalars(sa.text(statement)))

    def __enter__(self) -> Migrations:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.manager.engine.dispose()


def tables_of(manager: MainDatabaseManager, schema: str | None = None) -> set[str]:
    with manager.engine.connect() as connection:
        return set(sa.inspect(connection).get_table_names(schema=schema))


def alembic_program(folder: Path, *args: str, **env: str) -> subprocess.Popen[str]:
    """The plain ``alembic`` command, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *args],
        cwd=folder,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
