"""What Alembic looks at when it compares models with a database, and what it writes about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Literal

from backstay.db.enum_types import EnumTypes
from backstay.db.own_tables import OwnTables
from backstay.errors import MissingExtra

try:
    from sqlalchemy import Connection, MetaData
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from alembic.operations.ops import MigrationScript
    from alembic.runtime.migration import MigrationContext

__all__ = ["Autogenerate"]

IncludeName = Callable[[str | None, Any, MutableMapping[Any, str | None]], bool]
RenderItem = Callable[[str, Any, Any], str | Literal[False]]
Rewrite = Callable[["MigrationContext", Any, list["MigrationScript"]], None]

_NO_MODELS = (
    "the manager's Base has no models. Import them in env.py, above AlembicEnv(...), and see that "
    "they derive from the Base of the manager that is given to it"
)


class Autogenerate:
    """The hooks for ``context.configure``. Those of the user's own are asked after ours.

    Args:
        metadata: what there should be.
        connection: to the database.
        skips_empty: whether a revision in which nothing would be written is not made at all.
        include_name: as Alembic takes it; ``None``: the user has none.
        render_item: likewise.
        process_revision_directives: likewise.
    """

    def __init__(
        self,
        metadata: MetaData,
        connection: Connection,
        *,
        skips_empty: bool,
        include_name: IncludeName | None = None,
        render_item: RenderItem | None = None,
        process_revision_directives: Rewrite | None = None,
    ) -> None:
        self._tables = {(each.schema, each.name) for each in metadata.tables.values()}
        self._own = OwnTables(connection)
        self._enums = EnumTypes(metadata, connection)
        self._skips_empty = skips_empty
        self._include_name = include_name
        self._render_item = render_item
        self._rewrite = process_revision_directives

    @property
    def include_schemas(self) -> bool:
        """Whether models live in other schemas than the default one."""
        return any(schema is not None for schema, _ in self._tables)

    def include_name(
        self, name: str | None, type_: str, parents: MutableMapping[Any, str | None]
    ) -> bool:
        """Whether something in the database is compared at all.

        Schemas without models are not; in the others everything is, save backstay's own tables.
        """
        if type_ == "schema" and name is not None and self._include_name is None:
            return name in {schema for schema, _ in self._tables}
        if type_ == "table" and name is not None:
            schema = parents.get("schema_name")
            if (schema, name) not in self._tables and name in self._own.names(schema):
                return False
        return self._include_name is None or self._include_name(name, type_, parents)

    def render_item(
        self, kind: str, item: Any, autogen_context: AutogenContext
    ) -> str | Literal[False]:
        """The user's way of writing a thing; else Alembic's, with the import it forgets.

        A type of one's own, or SQLModel's, is written as ``package.module.Type()``.
        """
        if self._render_item is not None:
            written = self._render_item(kind, item, autogen_context)
            if written is not False:
                return written
        if kind != "type":
            return False
        as_enum = self._enums.rendered(item, autogen_context.imports)
        if as_enum is not None:
            return as_enum
        if not (autogen_context.opts or {}).get("user_module_prefix"):
            module = type(item).__module__
            if not module.startswith("sqlalchemy."):
                autogen_context.imports.add(f"import {module}")
        return False

    def process_revision_directives(
        self, context: MigrationContext, revision: Any, directives: list[MigrationScript]
    ) -> None:
        """Complete a revision; drop one in which there is nothing, and say so.

        Raises:
            alembic.util.CommandError: no model is known, so every table would be dropped.
        """
        is_empty = _are_empty(directives)
        if not self._tables and not is_empty:
            from alembic.util import CommandError

            raise CommandError(f"this would drop every table: {_NO_MODELS}")
        if _compares(context):
            for script in directives:
                self._enums.settle(script)
        if self._rewrite is not None:
            self._rewrite(context, revision, directives)
        if self._skips_empty and directives and _are_empty(directives):
            directives.clear()
            if context.config is not None:
                said = "The models and the database agree" if self._tables else _NO_MODELS
                context.config.print_stdout("%s; no revision was written.", said)


def _compares(context: MigrationContext) -> bool:
    """Not so for ``alembic revision`` without ``--autogenerate``, if its environment is run at all."""
    revision = context.opts.get("revision_context")
    return revision is None or bool(revision.command_args.get("autogenerate", True))


def _are_empty(directives: Iterable[MigrationScript]) -> bool:
    return all(each.is_empty() for script in directives for each in script.upgrade_ops_list)
