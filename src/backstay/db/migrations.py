"""``Migrations``: Alembic's commands for programs, with outcomes for values and errors of ours."""

from __future__ import annotations

import contextlib
import io
import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from backstay.db.differences import described
from backstay.errors import BackstayError, DatabaseUnavailable, DataError, MissingExtra

try:
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

__all__ = ["MigrationFailed", "Migrations", "Revision", "Step"]


class MigrationFailed(DataError):
    """Alembic did not do what it was asked for: a revision is not there, or a migration failed."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One migration that a project has.

    Attributes:
        id: its name.
        follows: those before it: none for the first, several where branches are merged.
        message: its first line.
        path: its file.
        is_head: whether none follows.
    """

    id: str
    follows: tuple[str, ...]
    message: str
    path: Path
    is_head: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One migration that was run.

    Attributes:
        direction: which way.
        revision: whose ``upgrade()`` or ``downgrade()`` it was; for ``"stamp"`` where that led.
        message: that revision's first line.
    """

    direction: Literal["upgrade", "downgrade", "stamp"]
    revision: str
    message: str


class Migrations:
    """The migrations of a project, by its ``alembic.ini``.

    Every method blocks; in async code call it by ``asyncio.to_thread``. Alembic keeps what it is
    doing in its modules, so one thing at a time is done in a process.

    Args:
        config: Alembic's configuration. What it says about logging is not done.

    Raises:
        MissingExtra: Alembic is not installed.
        FileNotFoundError: there is no such file.
    """

    def __init__(self, config: str | Path = "alembic.ini") -> None:
        _require_alembic()
        self._file = Path(config)
        if not self._file.is_file():
            raise FileNotFoundError(f"there is no {self._file}, seen from {Path.cwd()}")

    def upgrade(
        self, revision: str = "head", *, on_step: Callable[[Step], object] | None = None
    ) -> list[Step]:
        """Run what is missing up to a revision.

        Args:
            revision: ``"head"``, a revision's id or its beginning, ``"+1"``.
            on_step: called with each migration before it is run.

        Raises:
            MigrationFailed: there is no such revision, or a migration failed.
            DatabaseUnavailable: the database cannot be reached.
        """
        from alembic import command

        return self._run(command.upgrade, revision, on_step=on_step)

    def downgrade(
        self, revision: str, *, on_step: Callable[[Step], object] | None = None
    ) -> list[Step]:
        """Undo what was run after a revision: ``"-1"``, an id, ``"base"``. As ``upgrade``."""
        from alembic import command

        return self._run(command.downgrade, revision, on_step=on_step)

    def stamp(
        self,
        revision: str,
        *,
        purge: bool = False,
        on_step: Callable[[Step], object] | None = None,
    ) -> list[Step]:
        """Say that the database is at a revision, without running anything.

        Args:
            revision: as for ``upgrade``.
            purge: forget first what the database was said to be at, as an id that is gone.
            on_step: as for ``upgrade``.
        """
        from alembic import command

        return self._run(command.stamp, revision, purge=purge, on_step=on_step)

    def statements(self, revision: str = "head", *, down: bool = False) -> str:
        """What ``upgrade``, or ``downgrade``, would execute, as SQL; connects to nothing.

        Args:
            revision: for ``upgrade`` as there, or ``"from:to"``. For ``downgrade`` ``"from:to"``.
            down: whether it is about ``downgrade``.
        """
        from alembic import command

        written = io.StringIO()
        config = self._config(output_buffer=written)
        with self._told([]):
            (command.downgrade if down else command.upgrade)(config, revision, sql=True)
        return written.getvalue()

    def revise(self, message: str | None = None, *, autogenerate: bool = True) -> Path | None:
        """Write a new revision.

        Args:
            message: its first line, and part of its file's name.
            autogenerate: with what models and database differ by; else empty.

        Returns:
            Its file. ``None``: models and database agree, so there is nothing to write.

        Raises:
            MigrationFailed: the database is not at the newest revision, or models are missing.
        """
        from alembic import command

        config = self._config()
        config.attributes["skip_empty_revisions"] = autogenerate
        with self._told([]), contextlib.redirect_stdout(io.StringIO()):
            made: Any = command.revision(config, message, autogenerate=autogenerate)
        return Path(made.path) if made else None

    def differences(self) -> list[str]:
        """By what models and database differ, one line for each; none if they agree."""
        from alembic import command
        from alembic.util import AutogenerateDiffsDetected

        with self._told([]):
            try:
                command.check(self._config())
            except AutogenerateDiffsDetected as found:
                return described(found.diffs)
        return []

    def current(self) -> tuple[str, ...]:
        """The revisions that the database is at: one, or none, or one of each branch."""
        from alembic.runtime.environment import EnvironmentContext

        found: list[str] = []

        def look(heads: Any, _: Any) -> list[Any]:
            found.extend(heads if isinstance(heads, tuple | list) else filter(None, [heads]))
            return []

        config = self._config()
        script = self._script(config)
        with self._told([]), EnvironmentContext(config, script, fn=look, dont_mutate=True):
            script.run_env()
        return tuple(sorted(found))

    def history(self) -> list[Revision]:
        """All revisions, the newest first. Asks no database."""
        with self._told([]):
            return [
                Revision(
                    id=each.revision,
                    follows=_several(each.down_revision),
                    message=each.doc,
                    path=Path(each.path),
                    is_head=each.is_head,
                )
                for each in self._script(self._config()).walk_revisions()
            ]

    # ------------------------------------------------------------------ inside

    def _config(self, **options: Any) -> Config:
        from alembic.config import Config

        return Config(str(self._file), stdout=io.StringIO(), attributes={}, **options)

    def _script(self, config: Config) -> ScriptDirectory:
        from alembic.script import ScriptDirectory

        return ScriptDirectory.from_config(config)

    def _run(
        self,
        command: Callable[..., object],
        revision: str,
        *,
        on_step: Callable[[Step], object] | None = None,
        **options: Any,
    ) -> list[Step]:
        steps: list[Step] = []
        with _listening(steps, on_step), self._told(steps):
            command(self._config(), revision, **options)
        return steps

    @contextlib.contextmanager
    def _told(self, steps: list[Step]) -> Iterator[None]:
        """Errors as ours, which say what was going on."""
        from alembic.util import CommandError

        try:
            yield
        except BackstayError:
            raise
        except CommandError as error:
            raise MigrationFailed(str(error)) from error
        except (SQLAlchemyError, OSError) as error:
            self._raise_of_database(error, steps)
        except Exception as error:
            doing = _named(steps) or f"what {self._file} leads to"
            raise MigrationFailed(f"{doing} raised {_said(error)}{_place(error)}") from error

    def _raise_of_database(self, error: Exception, steps: list[Step]) -> NoReturn:
        said = _said(getattr(error, "orig", None) or error)
        unreached = isinstance(error, OperationalError | InterfaceError | ConnectionError)
        if unreached and not steps:
            raise DatabaseUnavailable(f"the database cannot be reached: {said}") from error
        statement = ""
        if isinstance(error, DBAPIError) and error.statement:
            statement = f", at: {' '.join(error.statement.split())}"
        raise MigrationFailed(
            f"{_named(steps) or 'the database'} raised {said}{statement}"
        ) from error


def _require_alembic() -> None:
    try:
        import alembic  # noqa: F401  # whether it is there
    except ImportError as missing:
        raise MissingExtra("migrations", "alembic") from missing


def _several(found: Any) -> tuple[str, ...]:
    if found is None:
        return ()
    return (found,) if isinstance(found, str) else tuple(found)


def _named(steps: list[Step]) -> str:
    return f"the {steps[-1].direction} of {steps[-1].revision}" if steps else ""


def _said(error: BaseException) -> str:
    first = next(iter(str(error).strip().splitlines()), "")
    return type(error).__qualname__ + (f": {first}" if first else "")


def _place(error: BaseException) -> str:
    """Where in the user's files it was raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {error.filename}:{error.lineno}"
    frames = [
        each
        for each in traceback.extract_tb(error.__traceback__)
        if not each.filename.startswith("<") and "site-packages" not in Path(each.filename).parts
    ]
    return f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


@contextlib.contextmanager
def _listening(steps: list[Step], on_step: Callable[[Step], object] | None) -> Iterator[None]:
    """Note each migration before it is run: Alembic says so in a log line, and nowhere else."""
    logger = logging.getLogger("alembic.runtime.migration")
    handler = _StepHandler(steps, on_step)
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
        logger.propagate = False  # nobody else asked for these lines
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


class _StepHandler(logging.Handler):
    def __init__(self, steps: list[Step], on_step: Callable[[Step], object] | None) -> None:
        super().__init__(logging.INFO)
        self._steps = steps
        self._on_step = on_step

    def emit(self, record: logging.LogRecord) -> None:
        step: Any = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if not record.msg.startswith("Running") or not hasattr(step, "is_upgrade"):
            return
        direction: Literal["upgrade", "downgrade", "stamp"] = (
            "stamp" if hasattr(step, "to_") else "upgrade" if step.is_upgrade else "downgrade"
        )
        revision = getattr(step, "revision", None)
        name = revision.revision if revision is not None else ", ".join(step.to_revisions) or "base"
        taken = Step(direction, name, step.doc or "")
        self._steps.append(taken)
        if self._on_step is not None:
            self._on_step(taken)
