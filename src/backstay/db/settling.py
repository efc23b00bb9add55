"""Which rows drafts are about: children found among their parent's, links looked up, all checked.

Nothing is changed here, so a refusal leaves the session as it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.db.drafts import Draft
from backstay.db.mapping import fixed_names, generates_key, key_names, key_of, read_key
from backstay.db.refusals import (
    BadNested,
    ChangedMeanwhile,
    ForeignChild,
    NestedError,
    UnknownRelated,
)
from backstay.db.relations import Relation, relations_of, standing_of
from backstay.db.rows import named_by, rows_with_keys
from backstay.db.sharing import require_same, same
from backstay.errors import MissingExtra

try:
    from sqlalchemy import ColumnElement, inspect
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Mapper
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["LeftOut", "Linkable", "Settling"]


Linkable = Callable[[type[Any]], "ColumnElement[bool] | None"]
"""From a mapped class to the condition that a row of it may be linked to; ``None`` for any row."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An object that a relation is to lead to no longer."""

    parent: Any
    relation: Relation
    child: Any


class Settling:
    """From drafts to rows. ``new`` or ``changed`` first, then ``look_up``.

    Args:
        linkable: says for a class which of its rows may be linked to anew; ``None`` for all.

    Attributes:
        left_out: what the data leaves out.
        makes: whether anything is to be made.
    """

    def __init__(self, linkable: Linkable | None = None) -> None:
        self._linkable = linkable
        self.left_out: list[LeftOut] = []
        self.makes = False
        self._links: list[tuple[Draft, Relation, Draft]] = []
        self._naturals: list[tuple[Draft, tuple[Any, ...]]] = []

    # ------------------------------------------------------------------ objects

    def new(
        self, draft: Draft, relation: Relation | None = None, parent: Draft | None = None
    ) -> None:
        """The draft is about an object that is to be made, as a child of a parent or by itself.

        Raises:
            NestedError: it cannot be.
        """
        draft.written = self.makes = True
        draft.values = {**draft.defaults, **draft.values}
        discriminator = _discriminator(draft.mapper)
        for name in fixed_names(draft.mapper) & draft.values.keys():
            if name in key_names(draft.mapper):
                if draft.values[name] is None:
                    del draft.values[name]
            elif draft.values.pop(name) is not None and name != discriminator:
                raise BadNested("is filled in by the database; leave it out", (*draft.loc, name))
        if parent is not None and relation is not None:
            _take_parents_part(draft, relation, parent)
        self._settle_related(draft)

    def changed(
        self, draft: Draft, obj: Any, relation: Relation | None = None, parent: Draft | None = None
    ) -> None:
        """The draft is about this object, which has a row and belongs to whoever changes it.

        Raises:
            NestedError: it cannot be changed like that.
            ChangedMeanwhile: the draft is about another version.
        """
        draft.obj, draft.written = obj, True
        if parent is not None and relation is not None:
            _take_parents_part(draft, relation, parent)
        for name in fixed_names(draft.mapper) & draft.values.keys():
            value = draft.values.pop(name)
            if value is not None and not same(getattr(obj, name), value):
                raise _fixed(draft, name, value)
        self._settle_related(draft)

    # ------------------------------------------------------------------ relations

    def _settle_related(self, draft: Draft) -> None:
        relations = relations_of(draft.mapper)
        for name in draft.related:
            relation = relations[name]
            standing = [] if draft.obj is None else standing_of(draft.obj, relation)
            settle = self._settle_owned if relation.owned else self._settle_shared
            kept = settle(draft, relation, standing)
            left_out = [each for each in standing if not any(each is other for other in kept)]
            if relation.kind == "to_one":
                _drop_foreign_key(draft, relation)
            if not relation.optional and _leaves_out(draft, relation, left_out):
                raise _needed(draft, relation, left_out)
            self.left_out.extend(LeftOut(draft.obj, relation, each) for each in left_out)

    def _settle_owned(self, parent: Draft, relation: Relation, standing: list[Any]) -> list[Any]:
        """Children are found among those that the parent has now. Returns them."""
        kept: list[Any] = []
        for draft in parent.behind(relation.name):
            if draft.obj is not None:
                found = _given_child(draft, standing)
            else:
                found = self._child(draft, relation, parent, standing)
            if found is None:
                self._make(draft, relation, parent)
                continue
            _require_once(draft, found, kept)
            kept.append(found)
            self.changed(draft, found, relation, parent)
        return kept

    def _child(self, draft: Draft, relation: Relation, parent: Draft, standing: list[Any]) -> Any:
        """The child that the draft is about, ``None`` if it is a new one."""
        given: Mapping[str, str] = relation.fixed if relation.kind == "to_children" else {}
        parts, names = draft.sent_key(), key_names(draft.mapper)
        own = [name for name in names if name not in given]
        if not any(name in parts for name in own):
            # The only one there can be is meant without a key, too.
            return standing[0] if standing and not relation.many else None
        if not all(name in parts for name in own):
            return None
        key = _key(
            draft,
            tuple(parent.value(given[name]) if name in given else parts[name] for name in names),
        )
        for each in standing:
            if key_of(each) == key:
                return each
        if generates_key(draft.mapper, given=frozenset(given)):
            raise _foreign(draft, relation, key)
        if len(own) == len(names):
            self._naturals.append((draft, key))
        return None

    def _settle_shared(self, parent: Draft, relation: Relation, standing: list[Any]) -> list[Any]:
        """What is only linked to is found by its key, wherever it is. Returns what stays linked."""
        by_key = {key_of(each): each for each in standing}
        kept: list[Any] = []
        seen: set[tuple[Any, ...]] = set()
        for draft in parent.behind(relation.name):
            if draft.obj is not None:
                kept.append(draft.obj)
                continue
            key = _whole_key(draft)
            if key is None:
                self._make(draft, relation, parent)
                continue
            if key in seen:
                raise BadNested("is there twice", draft.loc)
            seen.add(key)
            if key in by_key:
                draft.obj = by_key[key]
                kept.append(draft.obj)
                _require_linkable(draft, relation, parent)
            else:
                self._links.append((draft, relation, parent))
        return kept

    def _make(self, draft: Draft, relation: Relation, parent: Draft) -> None:
        if not relation.saves:
            raise BadNested("has to be there already; say its key", draft.loc)
        self.new(draft, relation, parent)

    # ------------------------------------------------------------------ other rows

    async def look_up(self, session: AsyncSession) -> None:
        """Find what is to be linked to, by one query for each class.

        Raises:
            UnknownRelated: it is not there, or not linkable.
            ForeignChild: it has another parent.
            SharedRow: values beside the key are not its own.
        """
        groups: dict[Mapper[Any], list[tuple[Draft, Relation, Draft]]] = defaultdict(list)
        for link in self._links:
            groups[link[0].mapper].append(link)
        for mapper, links in groups.items():
            keys = [_whole_key(draft) or () for draft, _, _ in links]
            named = named_by(mapper, [draft for draft, _, _ in links])
            among = None if self._linkable is None else self._linkable(mapper.class_)
            found = await rows_with_keys(session, mapper, keys, named.options, among=among)
            for (draft, relation, parent), key in zip(links, keys, strict=True):
                if key not in found:
                    raise UnknownRelated(f"there is no {_named(mapper, key)}", draft.loc)
                draft.obj = found[key]
                _require_linkable(draft, relation, parent)
        await self._require_free(session)

    async def _require_free(self, session: AsyncSession) -> None:
        """No natural key of a new child is that of a row which has another parent."""
        groups: dict[Mapper[Any], list[tuple[Draft, tuple[Any, ...]]]] = defaultdict(list)
        for draft, key in self._naturals:
            groups[draft.mapper].append((draft, key))
        for mapper, naturals in groups.items():
            found = await rows_with_keys(session, mapper, [key for _, key in naturals])
            for draft, key in naturals:
                if key in found:
                    raise ForeignChild(
                        f"{_named(mapper, key)} is there already, and not this one's", draft.loc
                    )


# ---------------------------------------------------------------------- checks


def _take_parents_part(draft: Draft, relation: Relation, parent: Draft) -> None:
    """A child's foreign key is its parent's business; said beside it, it has to be the same."""
    if relation.kind != "to_children":
        return
    for name, there in relation.fixed.items():
        said = draft.values.pop(name, None)
        if said is not None and not same(parent.value(there), said):
            raise ForeignChild(
                f"is {said!r}, which is not its parent here; leave it out", (*draft.loc, name)
            )
    _drop_way_back(draft, relation, parent)


def _drop_way_back(draft: Draft, relation: Relation, parent: Draft) -> None:
    """The relation from a child to its parent is the same one, seen from the other end."""
    for back in relations_of(draft.mapper).values():
        if back.name not in draft.related or back.kind != "to_one" or back.fixed != relation.fixed:
            continue
        meant = draft.related.pop(back.name)
        if isinstance(meant, Draft):
            for there in relation.fixed.values():
                said = meant.value(there)
                if said is None or not same(parent.value(there), said):
                    raise ForeignChild("is not its parent here; leave it out", meant.loc)


def _drop_foreign_key(draft: Draft, relation: Relation) -> None:
    """A foreign key and the relation that it belongs to, sent together, have to agree."""
    target = draft.related[relation.name]
    assert not isinstance(target, list)  # it is to one
    for name, there in relation.fixed.items():
        if name not in draft.values:
            continue
        said = draft.values[name]
        meant = None if target is None else target.value(there)
        if not (said is None and meant is None) and not same(meant, said):
            raise BadNested(
                f"does not agree with {relation.name}; leave one out", (*draft.loc, name)
            )
        if name not in key_names(draft.mapper):
            del draft.values[name]


def _leaves_out(draft: Draft, relation: Relation, left_out: Sequence[Any]) -> bool:
    """Whether something is left alone by that, or a foreign key without a value."""
    if relation.kind == "to_one":
        return draft.related[relation.name] is None
    return bool(left_out)


def _require_linkable(draft: Draft, relation: Relation, parent: Draft) -> None:
    if relation.kind == "to_children":
        for name, there in relation.fixed.items():
            now, wanted = getattr(draft.obj, name), parent.value(there)
            if now is not None and (wanted is None or not same(now, wanted)):
                raise ForeignChild("belongs to another one; change it there", draft.loc)
            if name in draft.values and same(wanted, draft.values[name]):
                del draft.values[name]
        _drop_way_back(draft, relation, parent)
    require_same(draft, draft.obj)


def _given_child(draft: Draft, standing: Sequence[Any]) -> Any:
    if any(draft.obj is each for each in standing):
        return draft.obj
    if inspect(draft.obj).has_identity:
        raise ForeignChild("is not this one's", draft.loc)
    return None


def _require_once(draft: Draft, obj: Any, kept: Iterable[Any]) -> None:
    if any(obj is each for each in kept):
        raise BadNested("is there twice", draft.loc)


def _whole_key(draft: Draft) -> tuple[Any, ...] | None:
    """The primary key that the data says, ``None`` if it says nothing of it.

    Raises:
        BadNested: it says a part of it.
    """
    parts, names = draft.sent_key(), key_names(draft.mapper)
    if not parts:
        return None
    if len(parts) < len(names):
        raise BadNested(f"says a part of its key: all of it is {', '.join(names)}", draft.loc)
    return _key(draft, tuple(parts[name] for name in names))


def _key(draft: Draft, values: tuple[Any, ...]) -> tuple[Any, ...]:
    try:
        return read_key(draft.mapper, values)
    except LookupError:
        raise UnknownRelated(f"there is no {_named(draft.mapper, values)}", draft.loc) from None


def _discriminator(mapper: Mapper[Any]) -> str | None:
    if mapper.polymorphic_on is None:
        return None
    return next(
        (
            each.key
            for each in mapper.column_attrs
            if any(column is mapper.polymorphic_on for column in each.columns)
        ),
        None,
    )


# ---------------------------------------------------------------------- refusals


def _named(mapper: Mapper[Any], key: tuple[Any, ...]) -> str:
    said = ", ".join(
        f"{name}={value!r}" for name, value in zip(key_names(mapper), key, strict=True)
    )
    return f"{mapper.class_.__name__} with {said}"


def _foreign(draft: Draft, relation: Relation, key: tuple[Any, ...]) -> ForeignChild:
    return ForeignChild(
        f"{_named(draft.mapper, key)} is not among the {relation.name} here; leave the key out to "
        "make a new one",
        draft.loc,
    )


def _fixed(draft: Draft, name: str, said: Any) -> Exception:
    version = draft.mapper.version_id_col
    if version is not None and draft.mapper.get_property_by_column(version).key == name:
        return ChangedMeanwhile(
            f"{'.'.join(map(str, draft.loc)) or draft.mapper.class_.__name__} is not in version "
            f"{said!r} any more: read it again and repeat the change"
        )
    return BadNested("cannot be changed", (*draft.loc, name))


def _needed(draft: Draft, relation: Relation, left_out: Sequence[Any]) -> NestedError:
    loc = (*draft.loc, relation.name)
    if relation.kind == "to_one":
        return BadNested("cannot be null", loc)
    keys = ", ".join(_named(relation.target, key_of(each)) for each in left_out)
    return BadNested(
        f"leaves out {keys}, which cannot be without a parent; send all of them",
        loc,
        hint="To have them deleted, declare cascade='all, delete-orphan'",
    )
